"""The input: what a client has sent and nobody has read yet, taken as command lines or as mail data.

Command lines end with CR LF (RFC 5321 section 2.3.8) and have their sizes (section 4.5.3.1.4). Refuses to know
what they say. Whatever comes without a line's end, no more of it is kept than a line may have.
"""

from relayd.smtp.command import MAXIMUM_LINE, MAXIMUM_MAIL_LINE
from relayd.smtp.reply import Reply
from relayd.smtp.wording import BARE_LF, LINE_TOO_LONG


class Input:
    """Octets in the order they came; `len` of it is how many."""

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

    def next_line(self) -> bytes | Reply | None:
        """Take the next line, without its CR LF; the refusal of what is no line; None until more comes."""
        end = self._octets.find(b"\n") + 1
        if not end:
            if len(self._octets) > MAXIMUM_MAIL_LINE:
                self._octets.clear()
                self._overlong = True
            return None
        begins_long, self._overlong = self._overlong, False
        allowed = MAXIMUM_MAIL_LINE if self._octets[:4].upper() == b"MAIL" else MAXIMUM_LINE
        if begins_long or end > allowed:
            del self._octets[:end]
            return LINE_TOO_LONG
        line = bytes(self._octets[:end])
        del self._octets[:end]
        return line[:-2] if line.endswith(b"\r\n") else BARE_LF

    def peek(self, most: int) -> bytes:
        """The first octets, `most` at most; they stay."""
        return bytes(self._octets[:most])

    def skip(self, count: int) -> None:
        """Take as many octets as were understood."""
        del self._octets[:count]
