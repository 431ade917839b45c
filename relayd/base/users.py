"""The users: who may prove to be whom with a password, as a file of scrypt hashes (RFC 7914).

One user a line, `name:$scrypt$n=16384,r=8,p=1$SALT$HASH` with base64; empty lines and those that begin with "#"
are skipped on reading and not kept on writing. A file that is not so is a `UsersError` of one line, which shows
no hash; OSError passes through. Refuses to know sessions: it is slow on purpose, and belongs in a thread.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# OWASP's and RFC 7914's order of size for interactive use: 16 MiB and some 50 ms a verification.
_N, _R, _P = 16_384, 8, 1
_SALT_OCTETS = 16
_HASH_OCTETS = 32
# A hash that another tool has written may cost more than ours, but not the machine.
_MOST_MEMORY = 128 << 20
_MOST_P = 16

LONGEST_NAME = 255
LONGEST_PASSWORD = 1024

_LINE = re.compile(
    r"\$scrypt\$n=([0-9]{1,8}),r=([0-9]{1,3}),p=([0-9]{1,3})\$([A-Za-z0-9+/=]{8,88})\$([A-Za-z0-9+/=]{20,128})",
    re.ASCII,
)


class UsersError(ValueError):
    """One line: the file or the name, and what is wrong with it."""


@dataclass(frozen=True, slots=True, repr=False)
class Hash:
    """One password's: the parameters of scrypt, the salt, and what it comes to."""

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> "Hash":
        """A new one with a salt of its own; raises UsersError for a password that cannot be."""
        octets = _prepared(password)
        if octets is None:
            raise UsersError(f"a password has 1 to {LONGEST_PASSWORD} octets and no control characters")
        salt = secrets.token_bytes(_SALT_OCTETS)
        return cls(_N, _R, _P, salt, _scrypt(octets, _N, _R, _P, salt, _HASH_OCTETS))

    @classmethod
    def read(cls, text: str) -> "Hash":
        """From its written form; raises UsersError."""
        match = _LINE.fullmatch(text)
        if match is None:
            raise UsersError("not a hash of the form $scrypt$n=...,r=...,p=...$salt$hash")
        n, r, p = (int(match[group]) for group in (1, 2, 3))
        # RFC 7914 section 2 has N below 2^(16 r).
        is_sound = n >= 2 and n.bit_count() == 1 and n.bit_length() <= 16 * r
        if not is_sound or not 1 <= p <= _MOST_P or 128 * n * r > _MOST_MEMORY:
            raise UsersError(f"n={n},r={r},p={p} are no parameters of scrypt that this version computes")
        try:
            salt, digest = (base64.b64decode(match[group], validate=True) for group in (4, 5))
        except binascii.Error:
            raise UsersError("its salt or hash is not base64") from None
        return cls(n, r, p, salt, digest)

    def fits(self, password: str) -> bool:
        """Whether it is the password's; takes its time, always the same."""
        octets = _prepared(password)
        found = _scrypt(octets or b"\0", self.n, self.r, self.p, self.salt, len(self.digest))
        return hmac.compare_digest(found, self.digest) and octets is not None

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(octets).decode() for octets in (self.salt, self.digest))
        return f"$scrypt$n={self.n},r={self.r},p={self.p}${salt}${digest}"


# For names that nobody has, so that the time tells nothing; no password fits it.
_NOBODY = Hash(_N, _R, _P, secrets.token_bytes(_SALT_OCTETS), secrets.token_bytes(_HASH_OCTETS))


def check_name(name: str) -> str:
    """The name as it is kept; raises UsersError for one that cannot be a user's."""
    name = unicodedata.normalize("NFKC", name)
    if not 1 <= len(name) <= LONGEST_NAME:
        raise UsersError(f"a user's name has 1 to {LONGEST_NAME} characters")
    if not name.isprintable() or ":" in name or name.startswith("#") or any(map(str.isspace, name)):
        raise UsersError(f"{name!a} is no user's name: printable, without blanks and colons, no # first")
    return name


class Users:
    """All users of a file. Adding and removing give new values; nothing is written before `write`."""

    __slots__ = ("_hashes",)

    def __init__(self, hashes: Mapping[str, Hash]) -> None:
        self._hashes = dict(hashes)

    @classmethod
    def load(cls, path: Path) -> "Users":
        """Read the file; raise OSError or UsersError."""
        try:
            return cls.read(path.read_bytes().decode("utf-8"))
        except UnicodeDecodeError as error:
            raise UsersError(f"{path}: not UTF-8 at octet {error.start}") from None
        except UsersError as error:
            raise UsersError(f"{path}: {error}") from None

    @classmethod
    def read(cls, text: str) -> "Users":
        """From the text of a file; raise UsersError."""
        hashes: dict[str, Hash] = {}
        for number, line in enumerate(text.split("\n"), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            name, _, written = line.partition(":")
            try:
                name = check_name(name)
                if name in hashes:
                    raise UsersError(f"the user {name} is there twice")
                hashes[name] = Hash.read(written)
            except UsersError as error:
                raise UsersError(f"line {number}: {error}") from None
        return cls(hashes)

    def __contains__(self, name: object) -> bool:
        return name in self._hashes

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._hashes)

    def verify(self, name: str, password: str) -> bool:
        """Whether the user has this password. Takes as long for a name that nobody has.

        A name counts as it is kept only: in other letters that mean the same it would be a second one wherever
        users are counted.
        """
        found = self._hashes.get(name, _NOBODY)
        return found.fits(password) and found is not _NOBODY

    def added(self, name: str, password: str) -> "Users":
        """With this user, whose password replaces an older one; raises UsersError."""
        return Users({**self._hashes, check_name(name): Hash.of(password)})

    def removed(self, name: str) -> "Users":
        """Without this user; raises UsersError when there is none of the name."""
        name = check_name(name)
        if name not in self._hashes:
            raise UsersError(f"there is no user {name}")
        return Users({each: hash_ for each, hash_ in self._hashes.items() if each != name})

    def __str__(self) -> str:
        """The text of the file."""
        return "".join(f"{name}:{self._hashes[name]}\n" for name in self.names)

    def write(self, path: Path, owner: tuple[int, int] | None = None) -> None:
        """Replace the file as a whole, mode 0600, durable when done; raise OSError, and then the old one is there.

        `owner` is uid and gid that it is given to; None keeps it with whoever writes.
        """
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                if owner is not None:
                    os.fchown(fd, *owner)
                file.write(str(self).encode())
                file.flush()
                os.fsync(fd)
            os.replace(draft, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _prepared(password: str) -> bytes | None:
    """The octets that are hashed: after RFC 4616 section 2 in one form (as SASLprep's NFKC), bounded, or None."""
    if not 1 <= len(password) <= LONGEST_PASSWORD:
        return None
    try:
        octets = unicodedata.normalize("NFKC", password).encode()
    except UnicodeEncodeError:
        return None
    if len(octets) > LONGEST_PASSWORD or any(octet < 0x20 or octet == 0x7F for octet in octets):
        return None
    return octets


def _scrypt(octets: bytes, n: int, r: int, p: int, salt: bytes, length: int) -> bytes:
    # OpenSSL's own bound of 32 MiB is too near; it counts a little more than the table.
    return hashlib.scrypt(octets, salt=salt, n=n, r=r, p=p, maxmem=128 * r * (n + p + 2) + (1 << 20), dklen=length)
