"""The end of data: CR LF . CR LF and nothing else, however it is cut (CVE-2023-51764, 51765, 51766).

Judged by the messages that are left, and by their octets; what is replied proves nothing.
"""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.hostile.machine import FACTS, MAIL, RCPT, TRANSACTION, Machine, cut, each_octet
from tests.hostile.smuggling import END, first_message, sequences

# What a smuggler puts behind what he hopes is an end of data.
SECOND = MAIL + RCPT + b"DATA\r\nSubject: smuggled\r\n\r\nsecond"
LONGEST = 6
SHORT = 4
MODES = pytest.mark.parametrize("normalize", [False, True], ids=["reject", "normalize"])

octets = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\0", b"a", b"\r\n", b"\r\n."]), max_size=16).map(b"".join)


def ways(wire: bytes, around: range) -> Iterator[list[bytes]]:
    """In one write, in two with each cut that matters, octet by octet."""
    yield [wire]
    for place in around:
        yield cut(wire, [place])
    yield each_octet(wire)


def machine(*, normalize: bool) -> Machine:
    """A machine that has said 354."""
    begun = Machine(replace(FACTS, normalize=normalize, trusted=True))
    begun.says(TRANSACTION)
    assert begun.codes[-1] == 354
    return begun


def judge(sequence: bytes, prefix: bytes, *, normalize: bool) -> None:
    """The sequence in the middle of a message whose second half is a whole transaction, in all ways."""
    wire = prefix + sequence + SECOND
    is_end = END in b"\r\n" + prefix + sequence
    expected = first_message(wire + END, normalize=normalize)
    around = range(max(1, len(prefix) - 1), len(prefix + sequence) + 2)
    for writes in ways(wire, around):
        begun = machine(normalize=normalize)
        begun.says(*writes, END)
        first, others = next(iter(begun.messages), None), begun.messages[1:]
        if is_end:
            # The first message ended, and the second is the client's own; the machine may also close for it.
            assert expected is None or first == expected, (sequence, writes)
            assert len(others) <= 1, (sequence, writes)
        else:
            assert (first, others) == (expected, []), (sequence, writes)


@MODES
def test_no_sequence_gives_a_second_message(normalize: bool) -> None:
    """Every sequence of CR, LF, NUL and dot up to four octets in a line, and up to three at its beginning."""
    for sequence in sequences(SHORT):
        judge(sequence, b"a", normalize=normalize)
    for sequence in sequences(SHORT - 1):
        judge(sequence, b"", normalize=normalize)
        judge(sequence, b"a\r\n", normalize=normalize)


@pytest.mark.long
@MODES
def test_no_sequence_at_the_beginning_of_a_line_does(normalize: bool) -> None:
    """The first line among them: the CR LF of DATA is the first of an end there (section 4.1.1.4)."""
    for sequence in sequences(LONGEST - 1):
        judge(sequence, b"", normalize=normalize)
        judge(sequence, b"a\r\n", normalize=normalize)


@pytest.mark.long
@MODES
def test_no_longer_sequence_does_either(normalize: bool) -> None:
    """Up to six octets, which is one more than the end itself has."""
    for sequence in sequences(LONGEST):
        judge(sequence, b"a", normalize=normalize)


@settings(max_examples=150, deadline=None)
@given(octets, st.lists(st.integers(0, 200), max_size=6), st.booleans())
def test_any_mail_data_is_what_a_reader_octet_by_octet_says(
    data: bytes, places: list[int], normalize: bool
) -> None:
    """One message or none, with the same octets, wherever it is cut."""
    wire = data + END
    expected = first_message(wire, normalize=normalize)
    # The first end counts; what follows are commands.
    begun = machine(normalize=normalize)
    begun.says(*cut(wire, places))
    assert begun.messages[:1] == ([] if expected is None else [expected])
    assert len(begun.messages) <= 1


@MODES
@pytest.mark.parametrize("sequence", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n\0.\r\n"])
def test_a_sequence_over_the_edge_of_a_piece_is_no_end(sequence: bytes, normalize: bool) -> None:
    """Mail data is decoded in pieces of 64 KiB; each octet of the sequence comes to lie on the edge."""
    for shift in range(-len(sequence) - 1, 2):
        body = b"x" * (65_536 + shift)
        wire = body + sequence + SECOND + END
        begun = machine(normalize=normalize)
        begun.says(wire)
        expected = first_message(wire, normalize=normalize)
        assert begun.messages == ([] if expected is None else [expected])


def test_the_end_over_the_edge_of_a_piece_is_the_end() -> None:
    """And the commands behind it are read."""
    for shift in range(-len(END) - 1, 2):
        body = b"x" * (65_536 + shift)
        begun = machine(normalize=False)
        begun.says(body + END + b"NOOP\r\nQUIT\r\n")
        assert begun.messages == [body + b"\r\n"]
        assert begun.codes[-3:] == [250, 250, 221]


def test_commands_inside_mail_data_are_mail_data() -> None:
    """QUIT, RSET, DATA and STARTTLS at the beginning of a line mean nothing there."""
    data = b"QUIT\r\nRSET\r\nDATA\r\nSTARTTLS\r\nBDAT 0 LAST\r\nEHLO x\r\n"
    for writes in ways(data + b".\r\n", range(1, 12)):
        begun = machine(normalize=False)
        begun.says(*writes)
        assert begun.messages == [data]
        assert not begun.is_closed
