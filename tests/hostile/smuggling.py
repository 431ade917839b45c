"""Smuggling: sequences that some server somewhere takes for the end of data, and what RFC 5321 makes of them.

The model reads octet by octet and shares no code with relayd, so that the two can only agree by both being right.
"""

from itertools import product

END = b"\r\n.\r\n"
ALPHABET = (b"\r", b"\n", b"\0", b".")


def sequences(longest: int) -> list[bytes]:
    """Every sequence of CR, LF, NUL and dot up to this length that has a dot."""
    return [
        b"".join(each)
        for length in range(1, longest + 1)
        for each in product(ALPHABET, repeat=length)
        if b"." in each
    ]


def first_message(wire: bytes, *, normalize: bool) -> bytes | None:
    """The message that ends at the first CR LF . CR LF of mail data, or None where it is no sound one.

    Sections 2.3.8 and 4.5.2: no CR without LF and no NUL; an LF without CR is a line's end for those who may
    relay, and a fault for others.
    """
    message = bytearray()
    at_line_start = True
    index = 0
    while True:
        if at_line_start and wire[index : index + 3] == b".\r\n":
            return bytes(message)
        if at_line_start and wire[index : index + 1] == b".":
            index += 1
        at_line_start = False
        octet = wire[index : index + 1]
        assert octet, "the mail data has no end"
        if octet == b"\r" and wire[index + 1 : index + 2] == b"\n":
            message += b"\r\n"
            at_line_start = True
            index += 2
        elif octet == b"\n" and normalize:
            # A line ends for the message, and not for the search after the end of data.
            message += b"\r\n"
            index += 1
        elif octet in (b"\r", b"\n", b"\0"):
            return None
        else:
            message += octet
            index += 1
