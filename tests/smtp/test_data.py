"""Mail data: both directions, line endings, the end of data, limits; and no way to smuggle a message."""

import re
import tracemalloc
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.smtp.data import (
    BARE_CR,
    BARE_LF,
    END,
    HAS_NUL,
    MAXIMUM_HOPS,
    TOO_LARGE,
    TOO_MANY_HOPS,
    Decoder,
    Encoder,
)
from relayd.smtp.reply import Reply

RECEIVED = b"Received: from a.example by b.example; Thu, 1 Jan 2026 00:00:00 +0000\r\n"

# Mail data made of what matters.
octets = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\0", b"a", b"\r\n", b"\r\n.\r\n"]), max_size=12).map(
    b"".join
)
sound = st.lists(st.sampled_from([b".", b"a", b"\r\n", b"\xff"]), max_size=14).map(b"".join)
cut_places = st.lists(st.integers(0, 100), max_size=5)

# The message, its fault, and what followed the end (None when there is none).
Decoded = tuple[bytes, Reply | None, bytes | None]


def pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    """The octets cut at these places."""
    places = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    return [wire[a:b] for a, b in pairwise(places)]


def decode(
    *chunks: bytes, limit: int = 10_000, normalize: bool = False
) -> tuple[bytes, Reply | None, bytes | None]:
    """The message, its fault, and what followed the end (None when there is none)."""
    decoder = Decoder(limit=limit, normalize=normalize)
    message, rest = b"", None
    for chunk in chunks:
        if rest is not None:
            rest += chunk
            continue
        found, rest = decoder.feed(chunk)
        message += found
    return message, decoder.fault, rest


def encode(*chunks: bytes) -> bytes:
    """The wire form of a message in chunks, with its end."""
    encoder = Encoder()
    return b"".join(map(encoder.feed, chunks)) + encoder.finish()


def each_octet(wire: bytes) -> list[bytes]:
    """One octet a chunk."""
    return [wire[index : index + 1] for index in range(len(wire))]


# The way there and back.


@given(sound, cut_places, cut_places)
def test_what_is_encoded_is_decoded_to_the_same_however_it_is_cut(
    message: bytes, cuts: list[int], other_cuts: list[int]
) -> None:
    """Section 4.5.2. A message without CR LF at its end gets one (section 4.1.1.4)."""
    message = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    wire = encode(*pieces(message, cuts))
    complete = message if not message or message.endswith(b"\r\n") else message + b"\r\n"
    assert decode(*pieces(wire, other_cuts)) == (complete, None, b"")


@given(octets, cut_places)
def test_nothing_that_is_sent_has_a_bare_line_ending_a_nul_or_a_second_end(
    message: bytes, cuts: list[int]
) -> None:
    """Section 2.3.8, whatever the file holds, and wherever it was cut."""
    wire = encode(*pieces(message, cuts))
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", wire)
    assert (b"\r\n" + wire).find(END) == len(b"\r\n" + wire) - len(END)
    assert wire == encode(message)
    *before, last = pieces(message, cuts) or [b""]
    encoder = Encoder()
    assert wire == b"".join(map(encoder.feed, before)) + encoder.finish(last)


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n.\r\n", b"..\r\n..\r\n.\r\n"),
        (b"a.b\r\n..c\r\n", b"a.b\r\n...c\r\n.\r\n"),
        (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r.\rb\r", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\0\n.\r\nb\0\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"\0", b".\r\n"),
        (b"a\r\r\n", b"a\r\n\r\n.\r\n"),
    ],
)
def test_dots_are_doubled_at_the_beginning_of_lines(message: bytes, wire: bytes) -> None:
    """Also after a line ending that had to be mended."""
    assert encode(message) == wire
    assert encode(*each_octet(message)) == wire


# The end of data, and what is not.


@given(octets, octets, cut_places, st.booleans(), st.integers(0, 12))
def test_the_decoder_does_not_see_where_chunks_are_cut(
    data: bytes, more: bytes, cuts: list[int], normalize: bool, limit: int
) -> None:
    """Message, fault and rest are those of the whole."""
    wire = data + END + more
    whole = decode(wire, limit=limit, normalize=normalize)
    assert whole[2] is not None
    for chunks in (pieces(wire, cuts), each_octet(wire)):
        message, fault, rest = decode(*chunks, limit=limit, normalize=normalize)
        assert (fault, rest) == whole[1:]
        assert fault is not None or message == whole[0]


def model(wire: bytes, *, normalize: bool) -> tuple[list[bytes], Reply | None]:
    """Line by line and octet by octet, what the first message of the wire is, and its first fault."""
    end = (b"\r\n" + wire).find(END)
    assert end >= 0
    lines = wire[:end].split(b"\r\n")
    data = b"\r\n".join(line.removeprefix(b".") for line in lines)
    for index, octet in enumerate(data):
        if octet == 0:
            return [], HAS_NUL
        if octet == 13 and data[index + 1 : index + 2] != b"\n":
            return [], BARE_CR
        if octet == 10 and data[index - 1 : index] != b"\r" and not normalize:
            return [], BARE_LF
    return [data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")], None


SMUGGLED = [b"".join(parts) for parts in product([b"\r", b"\n", b"\0", b"."], repeat=5)]


@pytest.mark.parametrize("normalize", [False, True], ids=["reject", "normalize"])
def test_no_sequence_around_a_dot_makes_two_messages_of_one(normalize: bool) -> None:
    """CVE-2023-51764 to 51766: all 1,024 sequences of CR, LF, NUL and dot, whole, byte by byte, cut everywhere.

    Either the sequence holds CR LF . CR LF, and the message ends there; or it holds none, and the message goes
    on to the real end. The fault is the first that a line-by-line reading finds.
    """
    for sequence in SMUGGLED:
        wire = b"a" + sequence + b"MAIL FROM:<x@y>\r\n.\r\n"
        (messages, fault) = model(wire, normalize=normalize)
        end = wire.find(END) + len(END)
        ways = [[wire], each_octet(wire), *([wire[:cut], wire[cut:]] for cut in range(1, 8))]
        for chunks in ways:
            message, found, rest = decode(*chunks, normalize=normalize)
            assert (found, rest) == (fault, wire[end:]), (sequence, chunks)
            assert found is not None or [message] == messages, (sequence, chunks)


@pytest.mark.parametrize(
    "ending", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n"]
)
def test_only_cr_lf_dot_cr_lf_ends_the_data(ending: bytes) -> None:
    """Section 4.1.1.4: none of the others does, in either mode."""
    for normalize in (False, True):
        assert decode(b"a" + ending + b"b", normalize=normalize)[2] is None
        assert decode(*each_octet(b"a" + ending + b"b"), normalize=normalize)[2] is None


def test_an_end_at_the_very_beginning_is_an_empty_message() -> None:
    """Section 4.1.1.4: the first CR LF is then that of the DATA command."""
    assert decode(b".\r\nNOOP\r\n") == (b"", None, b"NOOP\r\n")
    assert decode(*each_octet(b".\r\n")) == (b"", None, b"")
    assert decode(b"\r\n.\r\n") == (b"\r\n", None, b"")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"a\rb", BARE_CR),
        (b"a\r\r\nb", BARE_CR),
        (b"a\n\rb", BARE_LF),
        (b"a\nb\0\r", BARE_LF),
        (b"a\0b\n", HAS_NUL),
        (b"a\xff\x80\x1b\x7fb", None),
        (b"a" * 5000, None),
    ],
)
def test_the_first_thing_that_is_wrong_is_the_fault(data: bytes, fault: Reply | None) -> None:
    """Section 2.3.8; 8-bit octets and long lines are nothing wrong."""
    assert decode(data + END)[1] == fault
    assert decode(*each_octet(data + END))[1] == fault


def test_a_bare_lf_is_mended_for_those_who_may_relay() -> None:
    """And nothing else is: a bare CR and a NUL stay faults. The dot after a bare LF is the mail's."""
    wire = b"a\n.\nb\r\n\n..\n" + END
    for chunks in ([wire], each_octet(wire)):
        assert decode(*chunks, normalize=True) == (b"a\r\n.\r\nb\r\n\r\n..\r\n\r\n", None, b"")
    assert decode(b"a\rb" + END, normalize=True)[1] == BARE_CR
    assert decode(b"a\nb\0" + END, normalize=True)[1] == HAS_NUL


def test_what_was_mended_is_sent_with_its_dots_doubled() -> None:
    """A bare LF and a dot on the way in are no end of data on the way out."""
    message, _, _ = decode(b"a\n.\nMAIL FROM:<x@y>" + END, normalize=True)
    assert encode(message) == b"a\r\n..\r\nMAIL FROM:<x@y>\r\n.\r\n"


# Limits.


def test_a_message_may_be_as_long_as_the_limit() -> None:
    """Counted as stored: without transparency dots, with the CR LF of the last line."""
    for chunks in ([b"..345678" + END], each_octet(b"..345678" + END)):
        assert decode(*chunks, limit=9) == (b".345678\r\n", None, b"")
        assert decode(*chunks, limit=8)[1:] == (TOO_LARGE, b"")
    assert decode(b"1\n2\n" + END, limit=8, normalize=True) == (b"1\r\n2\r\n\r\n", None, b"")
    assert decode(b"1\n2\n" + END, limit=7, normalize=True)[1] == TOO_LARGE


def test_after_a_fault_nothing_more_of_the_message_is_given_out() -> None:
    """It is read to its end, and dropped."""
    decoder = Decoder(limit=10, normalize=False)
    assert decoder.feed(b"123456") == (b"123456", None)
    assert decoder.feed(b"78901") == (b"", None)
    assert decoder.feed(b"2345\0\r\n.\r\nQUIT\r\n") == (b"", b"QUIT\r\n")
    assert (decoder.fault, decoder.size) == (TOO_LARGE, 10)


def test_the_decoder_keeps_nothing_of_what_it_has_given_out() -> None:
    """Memory does not grow with the message, in large chunks or small, in the header or after it."""
    line = b"X: " + b"x" * 75 + b"\r\n"
    tracemalloc.start()
    try:
        for chunk, count in ((line * 800, 100), (b"x", 20_000), (b"\r\n", 20_000)):
            decoder = Decoder(limit=10**9, normalize=True)
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(count):
                decoder.feed(chunk)
            assert tracemalloc.get_traced_memory()[0] - before < 2_000
            assert decoder.size >= count * len(chunk) - len(END)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("hops", [MAXIMUM_HOPS, MAXIMUM_HOPS + 1])
def test_more_than_a_hundred_received_lines_are_a_loop(hops: int) -> None:
    """Section 6.3; in any case, between others, and wherever the chunks are cut."""
    message = (
        RECEIVED * (hops - 2) + b"Subject: x\r\n Received: folded\r\nrEcEiVeD:\r\nX-Received: y\r\n" + RECEIVED
    )
    wire = message + RECEIVED[2:] + b"\r\n" + RECEIVED * 200 + b".\r\n"
    fault = None if hops <= MAXIMUM_HOPS else TOO_MANY_HOPS
    for chunks in ([wire], each_octet(wire), pieces(wire, list(range(0, len(wire), 7)))):
        assert decode(*chunks, limit=10**6)[1:] == (fault, b"")


def test_received_lines_of_the_body_are_no_hops() -> None:
    """An empty line at the very beginning ends an empty header."""
    for chunks in ([b"\r\n" + RECEIVED * 200 + b".\r\n"], [b"\r", b"\n", RECEIVED * 200, b".\r\n"]):
        assert decode(*chunks, limit=10**6)[1] is None


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from([RECEIVED, b"X: y\r\n", b"Received", b":", b"\r\n", b"received:\r\n"]), max_size=300)
)
def test_hops_are_counted_as_a_reader_of_the_whole_would(parts: list[bytes]) -> None:
    """Piece by piece as in one."""
    message = b"".join(parts)
    header = (b"\r\n" + message).split(b"\r\n\r\n")[0]
    hops = len(re.findall(rb"\r\nreceived:", header, re.IGNORECASE))
    wire = message + END
    fault = TOO_MANY_HOPS if hops > MAXIMUM_HOPS else None
    assert decode(wire, limit=10**6)[1] == fault
    assert decode(*parts, END, limit=10**6)[1] == fault
