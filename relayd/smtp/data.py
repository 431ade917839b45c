"""Mail data: transparency, line endings and the end of data (RFC 5321 sections 2.3.8, 4.1.1.4 and 4.5.2).

`Decoder` turns what a client sends after DATA into the message and `Chunks` what it sends by BDAT (RFC 3030),
`Encoder` turns a message into what goes to a server. They work on whole chunks, never line by line, and what they
make of an octet does not depend on where chunks are cut. After DATA, CR LF . CR LF is the end and nothing else
is: a lone CR, a lone LF and a NUL are found, never understood. None raises.
"""

import re

from relayd.smtp.reply import Reply, reply

END = b"\r\n.\r\n"
# Section 6.3: a loop shows as a large count of Received lines; the usual bound is 100.
MAXIMUM_HOPS = 100
_HOP = b"\r\nreceived:"

TOO_LARGE = reply(552, "5.3.4", "Error: message size exceeds the fixed limit")
TOO_MANY_HOPS = reply(554, "5.4.6", f"Error: too many hops (more than {MAXIMUM_HOPS} Received lines)")
BARE_CR = reply(550, "5.6.0", "Error: the message has a bare <CR>; lines end with <CR><LF>")
BARE_LF = reply(550, "5.6.0", "Error: the message has a bare <LF>; lines end with <CR><LF>")
HAS_NUL = reply(550, "5.6.0", "Error: the message has a NUL octet")

_FAULTS = {b"\r": BARE_CR, b"\n": BARE_LF, b"\0": HAS_NUL}
_FORBIDDEN = re.compile(rb"\r(?!\n)|\0")
_FORBIDDEN_OR_BARE_LF = re.compile(rb"\r(?!\n)|\0|(?<!\r)\n")
_BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class _Checked:
    """What there is to check in one message's data, however it comes.

    `normalize` turns bare LF into CR LF (for clients that may relay); otherwise a bare LF is a fault. `limit`
    is in octets of the message as stored. A fault does not end the data: the rest is read and dropped, and
    `fault` holds the reply for its end, which is about the first thing in the message that is wrong.
    """

    __slots__ = ("_held", "_hops", "_in_header", "_limit", "_normalize", "_tail", "fault", "size")

    def __init__(self, *, limit: int, normalize: bool) -> None:
        self._limit = limit
        self._normalize = normalize
        self._held = b""
        # With a virtual CR LF before the first line. What is kept is too short to be counted twice.
        self._tail = b"\r\n"
        self._in_header = True
        self._hops = 0
        self.size = 0
        self.fault: Reply | None = None

    def _check(self, piece: bytes) -> bytes:
        """Find the first thing that is wrong. A held-back CR never ends a piece, so that pairs stay whole."""
        found = None
        if not _is_lines(piece) or b"\0" in piece:
            found = (_FORBIDDEN if self._normalize else _FORBIDDEN_OR_BARE_LF).search(piece)
            if found is not None:
                piece = piece[: found.start()]
            if self._normalize:
                piece = piece.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        fits = piece[: self._limit - self.size]
        self.size += len(fits)
        if self._in_header:
            self._count_hops(fits)
        if self._hops > MAXIMUM_HOPS:
            self.fault = TOO_MANY_HOPS
        elif len(fits) < len(piece):
            self.fault = TOO_LARGE
        elif found is not None:
            self.fault = _FAULTS[found[0]]
        return fits if self.fault is None else b""

    def _count_hops(self, octets: bytes) -> None:
        """Count the Received lines of the header while its octets pass by (section 6.3)."""
        header = self._tail + octets
        end = header.find(b"\r\n\r\n")
        if end >= 0:
            self._in_header = False
            header = header[:end]
        self._hops += header.lower().count(_HOP)
        self._tail = header[1 - len(_HOP) :]


class Decoder(_Checked):
    """The receiving side of one message's data, from DATA to the final dot."""

    __slots__ = ("_skip",)

    def __init__(self, *, limit: int, normalize: bool) -> None:
        super().__init__(limit=limit, normalize=normalize)
        # A virtual CR LF before the first line lets one search find both ".CRLF" at the very start and
        # CR LF . CR LF anywhere later; `_skip` takes it out of the output again.
        self._held = b"\r\n"
        self._skip = 2

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Give the message's next octets, and what followed the end of data, or None before the end."""
        if self._held:
            data = self._held + data
        # As a rule the first line that begins with a dot is the end, and there is nothing to undo.
        dot = data.find(b"\r\n.")
        end = data.find(END, dot) if dot >= 0 else -1
        if end >= 0:
            return self._decode(data, end + 2, has_dots=dot < end), data[end + len(END) :]
        keep = len(data) - _unfinished(data)
        self._held = data[keep:]
        return self._decode(data, keep, has_dots=dot >= 0), None

    def _decode(self, data: bytes, end: int, *, has_dots: bool) -> bytes:
        if self.fault is not None or not end:
            return b""
        start, self._skip = self._skip, 0
        if has_dots:
            return self._check(data[:end].replace(b"\r\n.", b"\r\n")[start:])
        return self._check(data[start:end])


class Chunks(_Checked):
    """The receiving side of one message's data in chunks: as it is, without transparency and without an end.

    Where chunks end means nothing: a CR LF may lie across it. After the last octet `finish` gives what is left.
    """

    __slots__ = ("_ends_line",)

    def __init__(self, *, limit: int, normalize: bool) -> None:
        super().__init__(limit=limit, normalize=normalize)
        self._ends_line = True

    def feed(self, data: bytes) -> bytes:
        """Give the message's next octets."""
        if self._held:
            data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        return self._take(data.removesuffix(b"\r"))

    def finish(self) -> bytes:
        """The end: a CR may have been the last octet, and a last line without its CR LF gets one.

        Mail data is lines (RFC 5321 section 2.3.1), and every way on from here ends the last one so.
        """
        held, self._held = self._held, b""
        return self._take(held or (b"" if self._ends_line else b"\r\n"))

    def _take(self, piece: bytes) -> bytes:
        if self.fault is not None or not piece:
            return b""
        octets = self._check(piece)
        self._ends_line = octets.endswith(b"\n")
        return octets


class Encoder:
    """The sending side of one message's data: chunks of the message in, wire octets out.

    A sound message passes unchanged but for its dots. A file that was damaged, or mended by hand, may hold a
    bare CR or LF or a NUL, which must not be sent (section 2.3.8), since a server may take them for the end of
    data: a bare one becomes CR LF, a NUL is left out.
    """

    def __init__(self) -> None:
        self._begins_line = True
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """The wire form of the next chunk, with a dot before each line that begins with one."""
        chunk = self._held + chunk.replace(b"\0", b"")
        # Only what follows tells whether a CR at the end is half of a line's end.
        self._held = b"\r" if chunk.endswith(b"\r") else b""
        return self._encode(chunk.removesuffix(b"\r"))

    def finish(self, last: bytes = b"") -> bytes:
        """That of the last chunk and the end of data, with a CR LF where the message lacks its last one.

        See section 4.1.1.4.
        """
        rest = self._encode(self._held + last.replace(b"\0", b""))
        return rest + (b".\r\n" if self._begins_line else END)

    def _encode(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        if not _is_lines(octets):
            octets = _BARE_LINE_END.sub(b"\r\n", octets)
        wire = octets.replace(b"\r\n.", b"\r\n..")
        if self._begins_line and wire.startswith(b"."):
            wire = b"." + wire
        self._begins_line = wire.endswith(b"\r\n")
        return wire


def _is_lines(octets: bytes) -> bool:
    """Whether each CR is before an LF and each LF behind a CR."""
    # Much cheaper than to count the three: an octet that is frequent is slow to count. What is put in their place
    # is as long, so that it is done in one pass.
    rest = octets.replace(b"\r\n", b"  ")
    return b"\r" not in rest and b"\n" not in rest


def _unfinished(data: bytes) -> int:
    """How many octets at the end could be the beginning of the end of data: 0 to 4."""
    for length in range(min(len(END) - 1, len(data)), 0, -1):
        if END.startswith(data[-length:]):
            return length
    return 0
