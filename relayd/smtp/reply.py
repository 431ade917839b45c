"""A reply: the one currency of success and failure, from a server's answer to a failed look-up.

What goes wrong on the way to a server (a refused connection, an unknown domain, a timeout) is said as a reply
too, with the enhanced code of RFC 3463 that names it, so that everything after sees one kind of value.
`Parser` reads a server's replies (RFC 5321 section 4.2.1) and raises `NotAReply` for what is none.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +|$)")

# In octets. Section 4.5.3.1.5 allows 512 a line; real servers send longer ones, and many. Beyond this bound a peer
# is not talking to us but filling our memory.
MAXIMUM_REPLY = 16_384
_TOO_LONG = f"a reply longer than {MAXIMUM_REPLY} octets"
# Reads up to so many octets are remembered, since the same ones come again and again.
_SHORT = 512


class NotAReply(ValueError):
    """What the server sent is no reply; the message says `how`, and quotes the line where there is one."""

    def __init__(self, how: str, line: str | None = None) -> None:
        super().__init__(how if line is None else f"{how}: {line}")
        self.how = how


class Reply(msgspec.Struct, frozen=True):
    """A code, the enhanced status code (RFC 2034) where there is one, and at least one line of text."""

    code: int
    enhanced: str | None
    lines: tuple[str, ...]

    @property
    def is_positive(self) -> bool:
        """2yz and 3yz: the command did what it says or waits for more (section 4.2.1)."""
        return self.code < 400

    @property
    def is_transient(self) -> bool:
        """4yz: not now; the same may work later."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz: not like this."""
        return self.code >= 500

    @property
    def status(self) -> str:
        """The enhanced code, or the general one of the class where the server gave none (RFC 3463)."""
        return self.enhanced or f"{self.code // 100}.0.0"

    def __bytes__(self) -> bytes:
        """The wire form, one line or several, each ended by CR LF."""
        prefix = f"{self.enhanced} " if self.enhanced else ""
        if len(self.lines) == 1:
            return f"{self.code} {prefix}{self.lines[0]}\r\n".encode("ascii", "replace")
        last = len(self.lines) - 1
        return "".join(
            f"{self.code}{' ' if index == last else '-'}{prefix}{line}\r\n"
            for index, line in enumerate(self.lines)
        ).encode("ascii", "replace")

    def __str__(self) -> str:
        """One line for people."""
        return " ".join(filter(None, (str(self.code), self.enhanced, *self.lines)))


def reply(code: int, enhanced: str | None, *lines: str) -> Reply:
    """A Reply from its parts, with control characters escaped so that it stays one protocol line each."""
    return Reply(code, enhanced, tuple(map(printable, lines)) or ("",))


def printable(text: str) -> str:
    """The text with an escape for each character that is no glyph or space.

    Those are control characters and line separators, and what turns the direction of a terminal's line.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class Parser:
    """Collects the lines of one reply after another from a server's bytes.

    A line may end with LF alone, as some servers have it: a reply cannot be taken for anything else by that.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._code = 0
        self._lines: list[str] = []
        self._octets = 0

    @property
    def is_between(self) -> bool:
        """Whether nothing has come after the last whole reply."""
        return not self._buffer and not self._lines

    def read(self, data: bytes) -> Iterable[Reply]:
        """The whole replies up to the end of what the server sent now; going through them may raise NotAReply."""
        if len(data) <= _SHORT and not self._buffer and not self._lines:
            known = _read_at_once(data)
            if known:
                return known
        self._buffer += data
        return iter(self._next, None)

    def _next(self) -> Reply | None:
        """The next whole reply, or None until more bytes come; raise NotAReply."""
        while (end := self._buffer.find(b"\n")) >= 0:
            self._octets += end + 1
            if self._octets > MAXIMUM_REPLY:
                raise NotAReply(_TOO_LONG)
            code, is_last, text = _parsed(bytes(self._buffer[:end]).removesuffix(b"\r"))
            del self._buffer[: end + 1]
            if self._lines and code != self._code:
                raise NotAReply(f"a reply that begins with {self._code} and goes on with {code}")
            self._code = code
            self._lines.append(text)
            if is_last:
                lines, self._lines, self._octets = self._lines, [], 0
                return _assemble(code, lines)
        if self._octets + len(self._buffer) > MAXIMUM_REPLY:
            raise NotAReply(_TOO_LONG)
        return None


def _parsed(line: bytes) -> tuple[int, bool, str]:
    """A line's code, whether it is the reply's last, and its text."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise NotAReply("not a reply", printable(line[:80].decode("utf-8", "replace")))
    return int(match[1]), match[2] != b"-", printable((match[3] or b"").decode("utf-8", "replace"))


# A server says the same to MAIL, RCPT and DATA for each message: a third of what a message costs here.
@lru_cache(maxsize=256)
def _read_at_once(data: bytes) -> tuple[Reply, ...]:
    """The replies that this is, or none where it is not one whole reply after another."""
    parser = Parser()
    parser._buffer += data
    try:
        replies = tuple(iter(parser._next, None))
    except NotAReply:
        return ()
    return replies if parser.is_between else ()


def _assemble(code: int, lines: list[str]) -> Reply:
    """Take the enhanced code off the lines when the first one has one of the reply's own class (RFC 2034)."""
    first = _ENHANCED.match(lines[0])
    if first is None or int(first[1][0]) != code // 100:
        return Reply(code, None, tuple(lines))
    rest = [_without(first[1], line) for line in lines[1:]] if len(lines) > 1 else ()
    return Reply(code, first[1], (lines[0][first.end() :], *rest))


def _without(enhanced: str, line: str) -> str:
    """The line without the code that every line of a reply should begin with, and not all do."""
    found = _ENHANCED.match(line)
    return line[found.end() :] if found is not None and found[1] == enhanced else line
