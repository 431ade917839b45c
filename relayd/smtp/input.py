"""The input: what a client has sent and nobody has read yet, taken as command lines or as mail data.

Command lines end with CR LF (RFC 5321 section 2.3.8) and have their sizes (section 4.5.3.1.4). Refuses to know
what they say. Whatever comes without a line's end, no more of it is kept than a line may have.
"""

from relayd.smtp.reply import Reply
from relayd.smtp.wording import BAD_CHUNK, BARE_LF, LINE_TOO_LONG

# RFC 5321 section 4.5.3.1.4: a command line's octets, with its CR LF. Extensions lengthen some: MAIL by SIZE 26
# (RFC 1870), BODY 17 (RFC 6152), SMTPUTF8 10 (RFC 6531), RET 9 and ENVID 107 (RFC 3461) and AUTH 500 (RFC 4954),
# RCPT by NOTIFY 29 and ORCPT 507 (RFC 3461), VRFY by SMTPUTF8 10.
MAXIMUM_LINE = 512
# RFC 4954 section 4: a line of the exchange, and so that of an initial response.
MAXIMUM_AUTH_LINE = 12_288
_LINES = {
    b"MAIL": MAXIMUM_LINE + 26 + 17 + 10 + 9 + 107 + 500,
    b"RCPT": MAXIMUM_LINE + 29 + 507,
    b"VRFY": MAXIMUM_LINE + 10,
    b"AUTH": MAXIMUM_AUTH_LINE,
}


def announces_chunk(line: bytes) -> bool:
    """Whether a line that is none by the grammar says BDAT all the same.

    A server before this one may have understood it; then its chunk follows, which must not be read as commands.
    However long it is, no more of it decides than is there before it is too long.
    """
    return line[:MAXIMUM_LINE].lstrip()[:4].upper() == b"BDAT"


class Input:
    """Octets in the order they came; `len` of it is how many are left."""

    __slots__ = ("_octets", "_overlong", "_taken")

    def __init__(self) -> None:
        # As a rule one read of the socket is one command, so it is kept as it came and never moved: what is taken
        # of it is a number.
        self._octets = b""
        self._taken = 0
        self._overlong = False

    def __len__(self) -> int:
        return len(self._octets) - self._taken

    def feed(self, data: bytes) -> None:
        """Add what the client sent."""
        left = self._octets[self._taken :]
        self._octets = left + data if left else data
        self._taken = 0

    def clear(self) -> None:
        """Forget all of it."""
        self._octets = b""
        self._taken = 0
        self._overlong = False

    def next_line(self, longest: int | None = None) -> bytes | Reply | None:
        """Take the next line, without its CR LF; the refusal of what is no line; None until more comes.

        `longest` is how many octets it may have, where it is no command. BAD_CHUNK is the last that is to be said.
        """
        octets, start = self._octets, self._taken
        if not octets:
            return None
        end = octets.find(b"\n", start) + 1
        if not end:
            return self._begun(longest)
        if end < len(octets):
            self._taken = end
        else:
            self._octets = b""
            self._taken = 0
        if end - start > MAXIMUM_LINE or self._overlong or not octets.endswith(b"\r\n", start, end):
            refusal = self._refusal(octets[start:end], longest)
            if refusal is not None:
                return refusal
        return octets[start : end - 2]

    def _begun(self, longest: int | None) -> Reply | None:
        """The line has no end yet: no more of it is kept than it may have."""
        if self._taken:
            # Nor of what came before it.
            self._octets = self._octets[self._taken :]
            self._taken = 0
        if len(self._octets) > MAXIMUM_LINE and len(self._octets) > (longest or _allowed(self._octets)):
            if longest is None and not self._overlong and announces_chunk(self._octets):
                return BAD_CHUNK
            self._octets = b""
            self._overlong = True
        return None

    def _refusal(self, line: bytes, longest: int | None) -> Reply | None:
        """Why it is no line, or None where it may be so long."""
        if self._overlong:
            # Its beginning was looked at when it was dropped.
            self._overlong = False
            return LINE_TOO_LONG
        if len(line) > MAXIMUM_LINE and len(line) > (longest or _allowed(line)):
            refusal = LINE_TOO_LONG
        elif not line.endswith(b"\r\n"):
            refusal = BARE_LF
        else:
            return None
        return BAD_CHUNK if longest is None and announces_chunk(line) else refusal

    def peek(self, most: int) -> bytes:
        """The first octets, `most` at most; they stay."""
        return self._octets[self._taken : self._taken + most]

    def skip(self, count: int) -> None:
        """Take as many octets as were understood."""
        self._taken += count
        if self._taken == len(self._octets):
            # A client may let us wait long for the rest of its mail data.
            self._octets = b""
            self._taken = 0


def _allowed(line: bytes) -> int:
    """How many octets such a command may have."""
    return _LINES.get(line[:4].upper(), MAXIMUM_LINE)
