"""BDAT (RFC 3030) against a client that means its chunks to be read as commands, or its commands as chunks.

The octets of a chunk are never a command, whether the chunk is wanted or not; judged by events and messages.
"""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.hostile.machine import EHLO, FACTS, MAIL, RCPT, Machine, cut, each_octet, lines
from tests.hostile.smuggling import sequences

SMUGGLED = b"\r\nRSET\r\n" + MAIL + RCPT + b"DATA\r\nsecond\r\n.\r\n"
# Where a chunk is not wanted, by what comes before it.
UNWANTED = {
    "before EHLO": [],
    "before MAIL": [EHLO],
    "before RCPT": [EHLO, MAIL],
    "when every RCPT is refused": [EHLO, MAIL, b"RCPT TO:<c d>\r\n"],
    "after the last one": [EHLO, MAIL, RCPT, b"BDAT 3 LAST\r\nx\r\n"],
    "after RSET": [EHLO, MAIL, RCPT, b"BDAT 3\r\nx\r\n", b"RSET\r\n"],
}


def chunk(octets: bytes, *, last: bool = False) -> bytes:
    """A BDAT command and its octets."""
    return b"BDAT %d%s\r\n%s" % (len(octets), b" LAST" if last else b"", octets)


def ended(body: bytes) -> bytes:
    """The message that a sound body makes: a last line without its end gets one."""
    return body if not body or body.endswith(b"\r\n") else body + b"\r\n"


def begun() -> Machine:
    """A machine with a recipient."""
    machine = Machine()
    machine.says(EHLO, MAIL, RCPT)
    return machine


def ways(wire: bytes) -> Iterator[list[bytes]]:
    """One write, octet by octet, cut once at each of the first offsets and the last."""
    yield [wire]
    yield each_octet(wire)
    for place in (*range(1, min(40, len(wire))), len(wire) - 1):
        yield cut(wire, [place])


@pytest.mark.parametrize("before", UNWANTED.values(), ids=UNWANTED)
@pytest.mark.parametrize("last", [False, True])
def test_the_octets_of_an_unwanted_chunk_are_no_commands(before: list[bytes], last: bool) -> None:
    """They are read and dropped; then the next command is read."""
    for writes in ways(chunk(SMUGGLED, last=last) + b"NOOP\r\n"):
        machine = Machine()
        machine.says(*before)
        events, messages = len(machine.events), len(machine.messages)
        machine.says(*writes)
        assert (len(machine.events), len(machine.messages)) == (events, messages), writes
        assert machine.is_closed or machine.codes[-1] == 250
        assert b"\r\n503 " in machine.replies


def test_the_octets_of_a_wanted_chunk_are_the_message() -> None:
    """Commands, ends of data and dots: all of it is mail data, as it is."""
    for body in (SMUGGLED, b".\r\n", b"..\r\n.\r\n", b"\r\n.\r\nQUIT\r\n", b"BDAT 5 LAST\r\n", b""):
        for writes in ways(chunk(body, last=True) + b"NOOP\r\n"):
            machine = begun()
            machine.says(*writes)
            assert machine.messages == [ended(body)]
            assert machine.codes[-1] == 250


def test_no_sequence_gives_more_than_one_message() -> None:
    """CR, LF, NUL and dot, in one chunk, and with the edge of two chunks at each offset inside."""
    for sequence in sequences(4):
        body = b"a" + sequence + b"\r\n"
        for edge in range(1, len(body)):
            machine = begun()
            machine.says(chunk(body[:edge]) + chunk(body[edge:], last=True))
            faulty = body.replace(b"\r\n", b"")
            is_sound = not any(octet in faulty for octet in b"\r\n\0")
            assert machine.messages == ([body] if is_sound else []), (sequence, edge)


def test_a_chunk_that_is_wrong_ends_the_transaction_and_its_rest() -> None:
    """What is pipelined behind it is dropped chunk by chunk, and never becomes a message of its own."""
    for wrong in (b"a\rb", b"a\nb", b"a\0b"):
        for writes in ways(chunk(wrong) + chunk(SMUGGLED) + chunk(SMUGGLED, last=True) + b"NOOP\r\n"):
            machine = begun()
            machine.says(*writes)
            assert machine.messages == []
            assert len(machine.mail) == 1
            assert machine.codes[-1] == 250


@pytest.mark.parametrize(
    "size",
    [
        b"",
        b"x",
        b"-1",
        b"+3",
        b"0x3",
        b"3.0",
        b"3 3",
        b"3 LAST LAST",
        b"3 FIRST",
        b"\xb3",
        "\u0663".encode(),
        b"3_0",
    ],
)
def test_after_a_size_that_is_none_nothing_is_obeyed(size: bytes) -> None:
    """Nobody knows where the commands begin again: what follows may be the chunk."""
    machine = begun()
    machine.says(b"BDAT " + size + SMUGGLED)
    assert machine.messages == []
    assert len(machine.mail) == 1
    lines(machine.replies)


@pytest.mark.parametrize(
    "line",
    [
        b"BDAT 5 LAST\n",
        b"BDAT 5\n",
        b"BDAT 5 LAST\r\0\n",
        b"BDAT 5 LAST" + b" " * 600 + b"\r\n",
        b"BDAT " + b"0" * 600 + b"5 LAST\r\n",
        b"BDAT 5 L\xffAST\r\n",
        "BDAT 5 LA\u017fT\r\n".encode(),
        b"BDAT 5 LAST\0\r\n",
        b"BDAT\r\n",
        b"BDAT 5 LAST\r\r\n",
    ],
)
def test_a_chunk_whose_command_is_no_line_is_not_read_as_commands(line: bytes) -> None:
    """A server before this one may have understood it, and then what follows is its chunk, and not commands."""
    for writes in ([line + SMUGGLED[2:]], cut(line + SMUGGLED[2:], [len(line)]), each_octet(line + SMUGGLED[2:])):
        machine = begun()
        machine.says(*writes)
        assert machine.messages == []
        assert len(machine.mail) == 1, writes


def test_empty_chunks_without_end_come_to_one() -> None:
    """They bring no mail, however many come."""
    machine = begun()
    for _ in range(3000):
        machine.says(b"BDAT 0\r\n")
    assert machine.is_closed
    assert machine.messages == []


@pytest.mark.parametrize("size", [50_000_001, 2**31, 2**32 + 3, 2**63, 2**64 + 3, 10**40])
def test_a_size_beyond_all_bounds_is_neither_kept_nor_wrapped(size: int) -> None:
    """What follows is no command, wherever a number of so many bits would be cut."""
    machine = begun()
    machine.says(b"BDAT %d LAST\r\n" % size + SMUGGLED)
    for _ in range(32):
        machine.says(b"x" * 65_536)
        assert machine.session.backlog <= 131_072
    assert machine.messages == []
    assert len(machine.mail) == 1


@pytest.mark.parametrize("first", [b"BDAT 3\r\nx\r\n", b"BDAT 0\r\n"])
def test_data_and_chunks_do_not_mix(first: bytes) -> None:
    """Section 2: DATA behind a chunk is refused, and gives no message."""
    machine = begun()
    machine.says(first, b"DATA\r\n")
    assert 354 not in machine.codes
    machine.says(b"x\r\n.\r\n")
    assert machine.messages == []


def test_binarymime_is_not_there() -> None:
    """Not named, and refused."""
    machine = Machine()
    assert b"BINARYMIME" not in machine.says(EHLO)
    machine.says(b"MAIL FROM:<a@b> BODY=BINARYMIME\r\n")
    assert machine.mail == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b".", b"\0", b"\r\n.\r\n"]), max_size=10).map(b"".join),
    st.lists(st.integers(0, 12), max_size=4),
    st.lists(st.integers(0, 80), max_size=5),
    st.booleans(),
)
def test_the_edges_of_chunks_and_writes_change_nothing(
    body: bytes, edges: list[int], places: list[int], normalize: bool
) -> None:
    """A sound message is the same octets however it is cut; another is none. Bare LF is mended where it may be."""
    parts = cut(body, edges) or [b""]
    wire = b"".join(chunk(part, last=number == len(parts) - 1) for number, part in enumerate(parts))
    machine = Machine(replace(FACTS, normalize=normalize, trusted=True))
    machine.says(EHLO, MAIL, RCPT, *cut(wire + b"NOOP\r\n", places))
    rest = body.replace(b"\r\n", b"")
    is_sound = not any(octet in rest for octet in (b"\r\0" if normalize else b"\r\n\0"))
    mended = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert machine.messages == ([ended(mended)] if is_sound else [])
    assert machine.codes[-1] == 250
    assert len(machine.mail) == 1
