"""Credentials: the files of [tls], [auth] and [routes], looked at as the user that will read them.

A trouble keeps the relay from starting; a warning does not. Each is one line that names table, key and file, and
shows nothing of a key, a hash or a password. Refuses to change anything.
"""

import os
import re
import ssl
import stat
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import msgspec

from relayd.base.mistake import shown_key
from relayd.base.sections import Auth, Config, Tls
from relayd.base.tls import server_context
from relayd.base.users import Users, UsersError
from relayd.deliver.password import PasswordError, read_password

_SOON_SECONDS = timedelta(days=14).total_seconds()
_DAY_SECONDS = timedelta(days=1).total_seconds()
# No chain and no list of users comes near it; a file without end must not fill the memory.
_LARGEST = 16_000_000
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\r?\n.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
# OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
_NOT_YET_VALID, _EXPIRED = 9, 10


class Findings(msgspec.Struct, frozen=True):
    """What was found, as lines."""

    troubles: list[str] = []
    warnings: list[str] = []


class _Trouble(Exception):
    pass


def look(config: Config, user: str, now: float) -> Findings:
    """Look at all of them. `user` is who this process is, for people; `now` is in seconds since 1970."""
    troubles: list[str] = []
    warnings: list[str] = []
    try:
        if config.tls is not None:
            warnings += _certificate(config.tls, user, now)
    except _Trouble as error:
        troubles.append(f"[tls] {error}")
    try:
        if config.auth is not None:
            warnings += _users(config.auth, user)
    except _Trouble as error:
        troubles.append(f"[auth] {error}")
    for key, route in config.routes.items():
        try:
            if route.password_file is not None:
                read_password(route.password_file)
        except PasswordError as error:
            troubles.append(f"[routes.{shown_key(key)}] password_file: {error} (as user {user})")
    return Findings(troubles, warnings)


def _certificate(tls: Tls, user: str, now: float) -> list[str]:
    chain = _CERTIFICATE.findall(_read("certificate", tls.certificate, user))
    if not chain:
        raise _Trouble(f"certificate: {tls.certificate} holds no certificate in PEM form")
    if not _KEY.search(_read("key", tls.key, user)):
        raise _Trouble(f"key: {tls.key} holds no key in PEM form")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key, password=_nobody_there)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _Trouble(f"key: {tls.key} does not belong to the certificate {tls.certificate}") from None
        why = error.reason or error.strerror or "no reason given"
        raise _Trouble(f"certificate: {tls.certificate} and {tls.key} cannot be used: {why}") from None
    except PermissionError:
        raise _Trouble(f"key: {tls.key} is locked with a passphrase, which nobody can say at a start") from None
    except OSError as error:
        raise _Trouble(f"key: {tls.key}: {error.strerror or error}") from None
    seen = _as_a_client_sees_it(server_context(tls), chain[0].decode("latin-1"), now)
    warnings = [f"[tls] certificate: {tls.certificate} {why}" for why in seen]
    return warnings + _too_open("[tls] key", tls.key)


def _nobody_there() -> NoReturn:
    raise PermissionError


def _as_a_client_sees_it(server: ssl.SSLContext, leaf: str, now: float) -> list[str]:
    """Shake hands with a client that trusts the certificate itself, and so judges only its time and its use."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=leaf)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        while not _steps(near):
            _steps(far)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            return ["has expired; clients that verify it refuse it"]
        if error.verify_code == _NOT_YET_VALID:
            return ["is not valid yet; clients that verify it refuse it"]
        return [f"is refused by clients that verify it: {error.verify_message}"]
    except ssl.SSLError as error:
        return [f"does not work: {error.reason or error}"]
    shown = near.getpeercert() or {}
    left = ssl.cert_time_to_seconds(str(shown["notAfter"])) - now
    if left >= _SOON_SECONDS:
        return []
    return [f"ends on {shown['notAfter']}, in {max(0, int(left // _DAY_SECONDS))} days; renew it"]


def _steps(side: ssl.SSLObject) -> bool:
    """One side's next part of the handshake; give whether it was its last."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _users(auth: Auth, user: str) -> list[str]:
    path = auth.users
    octets = _read("users", path, user, " (bin/relayd user add NAME makes it)")
    try:
        found = Users.read(octets.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _Trouble(f"users: {path} is not UTF-8 at octet {error.start}") from None
    except UsersError as error:
        raise _Trouble(f"users: {path}: {error}") from None
    warnings = _too_open("[auth] users", path)
    if not found.names:
        warnings.append(f"[auth] users: {path} is empty; bin/relayd user add NAME adds one")
    return warnings


def _read(key: str, path: Path, user: str, remedy: str = "") -> bytes:
    """A file's octets; a FIFO or a device of that name is refused without waiting for it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise _Trouble(f"{key}: {path} is not a regular file")
            octets = os.read(fd, _LARGEST + 1)
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise _Trouble(f"{key}: {path} is not there{remedy}") from None
    except PermissionError:
        raise _Trouble(f"{key}: {path} is not readable for user {user}") from None
    except OSError as error:
        raise _Trouble(f"{key}: {path}: {error.strerror or error}") from None
    # A part of it would be judged by where it is cut.
    if len(octets) > _LARGEST:
        raise _Trouble(f"{key}: {path} is larger than {_LARGEST // 1_000_000} MB")
    return octets


def _too_open(place: str, path: Path) -> list[str]:
    if path.stat().st_mode & stat.S_IROTH:
        return [f"{place}: {path} is readable for everybody on this host; chmod o-r {path}"]
    return []
