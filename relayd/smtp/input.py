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


# Enough of a line to know its verb.
_START = 64


def announces_chunk(line: bytes | bytearray) -> bool:
    """Whether a line that is none by the grammar says BDAT all the same.

    A server before this one may have understood it; then its chunk follows, which must not be read as commands.
    """
    return line.lstrip()[:4].upper() == b"BDAT"


class Input:
    """Octets in the order they came; `len` of it is how many."""

    __slots__ = ("_octets", "_overlong")

    def __init__(self) -> None:
        self._octets = bytearray()
        self._overlong = False

    def __len__(self) -> int:
        return len(self._octets)

    def feed(self, data: bytes) -> None:
        """Add what the client sent."""
        self._octets += data

    def clear(self) -> None:
        """Forget all of it."""
        self._octets.clear()
        self._overlong = False

    def next_line(self, longest: int | None = None) -> bytes | Reply | None:
        """Take the next line, without its CR LF; the refusal of what is no line; None until more comes.

        `longest` is how many octets it may have, where it is no command. BAD_CHUNK is the last that is to be said.
        """
        end = self._octets.find(b"\n") + 1
        is_command = longest is None
        if not end:
            if len(self._octets) > MAXIMUM_LINE and len(self._octets) > (longest or self._allowed()):
                if is_command and announces_chunk(self._octets[:_START]):
                    return BAD_CHUNK
                self._octets.clear()
                self._overlong = True
            return None
        line = bytes(self._octets[:end])
        refusal = None
        if self._overlong or (end > MAXIMUM_LINE and end > (longest or self._allowed())):
            refusal = LINE_TOO_LONG
        elif not line.endswith(b"\r\n"):
            refusal = BARE_LF
        self._overlong = False
        del self._octets[:end]
        if refusal is None:
            return line[:-2]
        return BAD_CHUNK if is_command and announces_chunk(line) else refusal

    def _allowed(self) -> int:
        return _LINES.get(bytes(self._octets[:4]).upper(), MAXIMUM_LINE)

    def peek(self, most: int) -> bytes:
        """The first octets, `most` at most; they stay."""
        return bytes(self._octets[:most])

    def skip(self, count: int) -> None:
        """Take as many octets as were understood."""
        del self._octets[:count]
