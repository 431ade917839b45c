"""Grep: the lines of a large file that have a word in them, found without looking at all the others one by one.

Refuses to know what a line means. What is longer than any line of ours is passed over. It raises what its
source does.
"""

from collections.abc import Iterable, Iterator

# Beyond this it is no text: it need not be kept until its end comes.
_LONGEST = 1 << 20


def lines_with(portions: Iterable[bytes], word: bytes) -> Iterator[bytes]:
    """Each line of the portions together that has the word, without its end; the last one may have none."""
    rest = b""
    for portion in portions:
        whole, newline, tail = portion.rpartition(b"\n")
        if not newline:
            rest = rest + tail if len(rest) < _LONGEST else b""
            continue
        yield from _of(rest + whole, word)
        rest = tail
    yield from _of(rest, word)


def _of(text: bytes, word: bytes) -> Iterator[bytes]:
    place = text.find(word)
    while place >= 0:
        begin = text.rfind(b"\n", 0, place) + 1
        end = text.find(b"\n", place)
        if end < 0:
            end = len(text)
        yield text[begin:end]
        place = text.find(word, end)
