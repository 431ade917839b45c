"""A body: what a client sends as octets and not as lines, read from the input until it is over.

It is mail data after DATA, one chunk of it after BDAT (RFC 3030), or a chunk that nobody wants. Refuses to know
what is said when it is over. Whatever it is, no more than a piece of it is held at once.
"""

from relayd.smtp.data import Chunks, Decoder
from relayd.smtp.input import Input
from relayd.smtp.reply import Reply

# Octets are decoded in pieces of this many, so that a message in a long pipelined input does not make copies of
# all that follows it.
_PIECE = 65_536


class Dotted:
    """Mail data up to the final dot."""

    __slots__ = ("data", "is_over")

    def __init__(self, data: Decoder) -> None:
        self.data = data
        self.is_over = False

    def read(self, source: Input) -> bytes:
        """The next octets of the message; none until more come, and none when it is over."""
        octets = b""
        while not octets and not self.is_over and (piece := source.peek(_PIECE)):
            octets, rest = self.data.feed(piece)
            source.skip(len(piece) - len(rest or b""))
            self.is_over = rest is not None
        return octets


class Chunk:
    """One chunk of `size` octets; the last one ends the message."""

    __slots__ = ("_left", "data", "is_last", "is_over", "size")

    def __init__(self, data: Chunks, size: int, *, is_last: bool) -> None:
        self.data = data
        self.size = size
        self.is_last = is_last
        self.is_over = False
        self._left = size

    def read(self, source: Input) -> bytes:
        """As that of `Dotted`."""
        octets = b""
        while not octets and self._left and (piece := source.peek(min(_PIECE, self._left))):
            source.skip(len(piece))
            self._left -= len(piece)
            octets = self.data.feed(piece)
        if not octets and not self._left and not self.is_over:
            self.is_over = True
            if self.is_last:
                octets = self.data.finish()
        return octets


class Unwanted:
    """A chunk that is refused: its octets come all the same, and only then the refusal is said (section 2)."""

    __slots__ = ("_left", "refusal")

    def __init__(self, size: int, refusal: Reply) -> None:
        self._left = size
        self.refusal = refusal

    @property
    def is_over(self) -> bool:
        """Whether all of it has come."""
        return not self._left

    def read(self, source: Input) -> bytes:
        """Drop what has come."""
        dropped = min(len(source), self._left)
        source.skip(dropped)
        self._left -= dropped
        return b""


Body = Dotted | Chunk | Unwanted
