"""Command lines that are none: too long, without an end, with a lone CR or LF, a NUL, octets beyond ASCII.

None of it is ever two commands where the client's proxy saw one, and none of it grows memory.
"""

import re
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from relayd.smtp.command import Mail, Rcpt
from tests.hostile.machine import EHLO, FACTS, HELO, MAIL, RCPT, Machine, cut, each_octet, lines

MEBIBYTE = 1 << 20
VERBS = [b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"VRFY", b"EXPN", b"HELP", b"QUIT"]
# What ends no line, in front of what a smuggler wants to be one.
NO_LINE_ENDS = [
    b"\r",
    b"\n",
    b"\r\r",
    b"\n\n",
    b"\n\r",
    b"\0",
    b"\r\0\n",
    b"\x85",
    b"\x0b",
    b"\x0c",
    b"\x1c",
    b"\x1e",
]
NO_LINE_ENDS += ["\u2028".encode(), "\u2029".encode(), "\u0085".encode()]


def ways(octets: bytes) -> Iterator[list[bytes]]:
    """In one write, cut once anywhere around its middle, octet by octet."""
    yield [octets]
    for place in range(max(1, len(octets) // 2 - 3), len(octets) // 2 + 3):
        yield cut(octets, [place])
    yield each_octet(octets)


@pytest.mark.parametrize(
    ("length", "is_taken"), [(511, True), (512, True), (513, False), (514, False), (2000, False)]
)
def test_a_line_has_512_octets_with_its_end(length: int, is_taken: bool) -> None:
    """Section 4.5.3.1.4; what is too long is refused once, and the next line is read."""
    line = b"NOOP " + b"x" * (length - 7) + b"\r\n"
    assert len(line) == length
    for writes in ways(line + b"NOOP\r\n"):
        machine = Machine()
        machine.says(*writes)
        assert machine.codes[1:] == [250 if is_taken else 500, 250]


def test_the_end_of_an_overlong_line_is_no_command() -> None:
    """Wherever the limit falls inside it, and however it is cut: one refusal, and no transaction."""
    for length in (*range(490, 530), 600, 1030, 4096, 12_300, 70_000):
        line = b"NOOP " + b"x" * length + MAIL
        for writes in ([line], cut(line, [512]), cut(line, [length]), cut(line, range(0, len(line), 100))):
            machine = Machine()
            machine.says(HELO)
            machine.says(*writes)
            assert machine.mail == [], length
            machine.says(b"NOOP\r\n")
            assert machine.codes[-1] == 250, length


@pytest.mark.parametrize(
    "beginning", [b"", b"MAIL FROM:<", b"RCPT TO:<", b"AUTH PLAIN ", b"BDAT ", b"XYZ ", b"\0"]
)
@pytest.mark.parametrize("size", [1, 1000, 65_536], ids=["small writes", "writes", "large writes"])
def test_a_megabyte_without_a_line_end_is_not_kept(beginning: bytes, size: int) -> None:
    """Nothing but what a line may have, and one refusal when it ends at last."""
    machine = Machine()
    machine.says(EHLO, beginning)
    chunk = b"x" * size
    tracemalloc.start()
    try:
        before, most = tracemalloc.get_traced_memory()[0], 0
        for _ in range(min(MEBIBYTE // size, 20_000)):
            machine.says(chunk)
            most = max(most, machine.session.backlog)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert most <= 16_384
    assert grown < 32_768
    said = len(machine.codes)
    machine.says(b"\r\nNOOP\r\n")
    # Behind a chunk of nobody knows how many octets, nobody knows where the next command is.
    is_lost = beginning == b"BDAT "
    assert machine.codes[said - is_lost] // 100 == 5
    assert machine.is_closed is is_lost
    assert machine.codes[-1] == 250 or is_lost


@pytest.mark.parametrize("between", NO_LINE_ENDS)
def test_only_cr_lf_ends_a_command(between: bytes) -> None:
    """What another server may take for two commands is none here: no transaction begins or gets a recipient."""
    for writes in ways(b"NOOP" + between + MAIL):
        machine = Machine()
        machine.says(HELO, *writes)
        # After a bare LF the rest of the line stands alone, as a client that ends all its lines so would have it.
        if b"\n" not in between:
            assert machine.mail == [], writes
        else:
            assert b"500" in machine.replies
    for writes in ways(MAIL[:-2] + between + RCPT):
        machine = Machine()
        machine.says(HELO, *writes)
        assert len(machine.mail) == 0, writes
    for writes in ways(b"DATA" + between + b"x\r\n"):
        machine = Machine()
        machine.says(HELO, MAIL, RCPT, *writes)
        assert 354 not in machine.codes, writes


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\n\r", b"\0\r\n", b"\r\0\n", b"\r\r\n"])
def test_a_whole_session_with_other_line_ends_leaves_nothing(end: bytes) -> None:
    """Bare LF throughout, for one; the mail data of another is not read as commands either."""
    said = (HELO + MAIL + RCPT + b"DATA\r\nx\r\n.\r\nQUIT\r\n").replace(b"\r\n", end)
    for writes in ([said], each_octet(said)):
        machine = Machine()
        machine.says(*writes)
        assert machine.events == []
        assert machine.messages == []
        lines(machine.replies)


@pytest.mark.parametrize("verb", VERBS)
def test_an_octet_that_no_command_has_makes_it_none(verb: bytes) -> None:
    """NUL, control characters, 0x7F to 0xFF: before, in and behind the verb, and in its argument."""
    argument = {b"MAIL": b" FROM:<a@b>", b"RCPT": b" TO:<c@d>"}.get(verb, b" x")
    for octet in (*range(0x20), *range(0x7F, 0x100)):
        wrong = bytes((octet,))
        if wrong in b"\t\r\n":
            continue
        for line in (wrong + verb + argument, verb[:2] + wrong + verb[2:] + argument, verb + wrong + argument[1:]):
            machine = Machine()
            machine.says(HELO, *([MAIL] if verb != b"MAIL" else []))
            count = len(machine.events)
            machine.says(line + b"\r\n")
            assert len(machine.events) == count, line
            assert machine.codes[-1] // 100 == 5, line
            assert not machine.is_closed
            lines(machine.replies)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(VERBS), st.binary(max_size=60), st.lists(st.integers(0, 80), max_size=3))
def test_any_argument_is_understood_or_refused(verb: bytes, argument: bytes, places: list[int]) -> None:
    """By a printable reply; an event's addresses are printable too."""
    machine = Machine()
    machine.says(EHLO, MAIL, *cut(verb + b" " + argument + b"\r\n", places))
    lines(machine.replies)
    for event in machine.events:
        match event:
            case Mail():
                assert event.reverse_path is None or str(event.reverse_path).isprintable()
            case Rcpt():
                assert str(event.forward_path).isprintable()


def test_twenty_errors_are_enough() -> None:
    """What is pipelined behind the last one is not read, a whole transaction least of all."""
    for error in (b"FOO\r\n", b"MAIL\r\n", b"x" * 600 + b"\r\n", b"\0\r\n", b"NOOP\n", b"RCPT TO:<c@d>\r\n"):
        machine = Machine()
        machine.says(error * 25 + HELO + MAIL + RCPT + b"DATA\r\n", b"x\r\n.\r\n")
        assert machine.is_closed, error
        assert machine.messages == []
        assert machine.events == []
        assert machine.codes[-1] == 421
        assert len(machine.codes) <= 1 + 20 + 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=8))
def test_where_writes_end_changes_nothing(places: list[int]) -> None:
    """A session of good and bad lines, cut anywhere: the same events and the same replies."""
    said = b"".join(
        [
            HELO,
            b"NOOP\n" + b"x" * 600 + b"\r\n",
            b"\0\r\n",
            MAIL,
            b"RCPT TO:<\xff@d>\r\n",
            RCPT,
            b"RCPT TO:<c@d>\rRCPT TO:<e@f>\r\n",
            b"RSET\r\n" + b"HELP\r\n" * 3,
        ]
    )
    whole, parts = Machine(), Machine()
    whole.says(said)
    parts.says(*cut(said, places))
    assert parts.replies == whole.replies
    assert parts.events == whole.events
    assert re.search(rb"(?m)^250 2.1.5", whole.replies)


@pytest.mark.parametrize(
    "line",
    [
        "R\u017fET",
        "\u017fTARTTL\u017f",
        "QU\u0131T",
        "DATA\u00a0",
        "\ufeffNOOP",
        "\uff2e\uff2f\uff2f\uff30",
        "VRFY\u3000a",
        "MAIL FROM:<a@b> BODY=8B\u0131TMIME",
        "MAIL FROM:<a@b> SMTPUTF8 BODY=8B\u0131TMIME",
        "MAIL FROM:<a@b> RET=HDR\u017f",
        "MAIL FROM:<a@b> \u017fIZE=5",
        "MAIL FROM:<a@b> SIZE=\u0665",
        "MAIL FROM:<a@b> SIZE=\u00b2",
        "MAIL FROM:<a@b>\u00a0SIZE=5",
        "MAIL FROM:\u00a0<a@b>",
        "MAIL FR\u00d6M:<a@b>",
    ],
)
def test_what_only_looks_like_ascii_is_no_command(line: str) -> None:
    """Long s and dotless i become ASCII in capitals, and some digits are none: who reads octets sees neither."""
    machine = Machine(replace(FACTS, starttls=True))
    machine.says(EHLO, line.encode() + b"\r\n")
    assert machine.events == []
    assert machine.codes[-1] // 100 == 5
    assert not machine.is_closed
