"""The input: the same lines come of the same octets, however they were cut, and nothing that was taken is kept."""

from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.smtp.input import MAXIMUM_LINE, Input
from relayd.smtp.reply import Reply
from relayd.smtp.wording import BAD_CHUNK, BARE_LF, LINE_TOO_LONG

PIECES = st.sampled_from(
    [b"NOOP", b"BDAT 3", b"MAIL FROM:<", b"\r\n", b"\r\n", b"\n", b"\r", b" ", b"x" * 300, b"x" * MAXIMUM_LINE]
)


def lines(*feeds: bytes) -> list[bytes | Reply]:
    """All that comes of these reads, up to what no session survives."""
    source = Input()
    found: list[bytes | Reply] = []
    for octets in feeds:
        source.feed(octets)
        while (line := source.next_line()) is not None:
            found.append(line)
            if line is BAD_CHUNK:
                return found
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=12).map(b"".join), st.integers(1, 700))
def test_lines_do_not_depend_on_how_they_were_cut(octets: bytes, length: int) -> None:
    """In one read, in pieces, and octet by octet."""
    whole = lines(octets)
    assert lines(*(octets[place : place + length] for place in range(0, len(octets), length))) == whole
    assert lines(*(octets[place : place + 1] for place in range(len(octets)))) == whole


def test_what_is_no_line_is_refused_and_the_next_one_read() -> None:
    """A CR before the line's own LF only: one that ended a chunk is none of its octets."""
    assert lines(b"a\n\r\nb\r\n") == [BARE_LF, b"", b"b"]
    assert lines(b"x" * 600, b"x\r\n" + b"b\r\n") == [LINE_TOO_LONG, b"b"]
    source = Input()
    source.feed(b"a\r\nb\r\n")
    assert source.next_line() == b"a"
    source.skip(2)
    assert source.next_line() is BARE_LF


def test_what_was_taken_is_not_kept() -> None:
    """Thousands of sessions may wait for the rest of a line, or of mail data, behind a large read."""
    source = Input()
    source.feed(b"NOOP\r\n" * 10_000 + b"NO")
    while source.next_line() is not None:
        pass
    assert (len(source), len(source._octets)) == (2, 2)
    source.feed(b"x" * 100_000)
    source.skip(len(source))
    assert source._octets == b""
