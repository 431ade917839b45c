"""STARTTLS against a client, or somebody between, who speaks too early (CVE-2011-0411; RFC 3207 section 4).

What was said in the clear is worth nothing afterwards: no command, no name, no user, no transaction.
"""

import pytest
from msgspec.structs import replace

from relayd.smtp.facts import State
from tests.hostile.machine import EHLO, FACTS, HELO, MAIL, RCPT, Machine, cut, each_octet

OFFERED = replace(FACTS, starttls=True, auth="offered", auth_in_clear=True)
PLAIN = b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n"
INJECTED = [
    EHLO + MAIL + RCPT + b"DATA\r\n",
    b"NOOP\r\n",
    b"\r\n",
    b"\n",
    b"\0",
    b"M",
    b"RSET",
    PLAIN,
    b"STARTTLS\r\n",
    b"QUIT\r\n",
    b"\x16\x03\x01\x00\x05hello",
]


def offered(*before: bytes) -> Machine:
    """A machine that offers STARTTLS, after EHLO and these."""
    machine = Machine(OFFERED)
    machine.says(EHLO, *before)
    return machine


@pytest.mark.parametrize("injected", INJECTED)
def test_what_comes_with_starttls_is_never_obeyed(injected: bytes) -> None:
    """In the same write: neither before the handshake nor after it."""
    for writes in (
        [b"STARTTLS\r\n" + injected],
        cut(b"STARTTLS\r\n" + injected, [9]),
        cut(b"STARTTLS\r\n" + injected, [11]),
    ):
        machine = offered()
        machine.says(*writes)
        count, said = len(machine.events), len(machine.codes)
        if not machine.is_closed:
            assert machine.session.state is State.TLS
            machine.secures()
        assert len(machine.events) == count <= 1
        assert len(machine.codes) == said
        assert [*machine.mail, *machine.auths] == []
        machine.says(b"\r\nNOOP\r\n")
        assert machine.mail == []


@pytest.mark.parametrize("injected", INJECTED)
def test_what_comes_after_the_220_in_the_clear_is_thrown_away(injected: bytes) -> None:
    """The machine reads nothing more until TLS is there, however much is fed."""
    machine = offered(b"STARTTLS\r\n")
    assert machine.codes[-1] == 220
    assert machine.says(*each_octet(injected)) == b""
    machine.secures()
    assert machine.session.backlog == 0
    assert [*machine.mail, *machine.auths] == []
    # A new line, and not the end of one that was begun in the clear.
    assert machine.says(EHLO).startswith(b"250-")


def test_a_megabyte_in_the_clear_is_not_kept() -> None:
    """Between the 220 and the handshake."""
    machine = offered(b"STARTTLS\r\n")
    for _ in range(16):
        machine.says(b"x" * 65_536)
    assert machine.session.backlog == 0


@pytest.mark.parametrize("before", [b"", MAIL + RCPT + b"RSET\r\n", PLAIN, PLAIN + MAIL + RCPT + HELO])
def test_all_that_was_said_in_the_clear_is_forgotten(before: bytes) -> None:
    """The name, the user and the transaction; mail needs a new EHLO, and there is no second banner."""
    machine = offered(before) if before else offered()
    machine.says(b"STARTTLS\r\n")
    said = len(machine.replies)
    machine.secures()
    session = machine.session
    assert (session.client_name, session.user, session.transaction) == ("", "", None)
    assert not session.is_trusted
    for command in (MAIL, RCPT, b"DATA\r\n", b"BDAT 1 LAST\r\nx"):
        machine.says(command)
        assert machine.codes[-1] == 503
    assert not machine.replies[said:].startswith(b"220")
    assert b"STARTTLS" not in machine.says(EHLO)
    machine.says(MAIL, RCPT)
    assert machine.codes[-2:] == [250, 250]


@pytest.mark.parametrize("before", [[MAIL], [MAIL, RCPT], [MAIL, RCPT, b"BDAT 1\r\nx"]])
def test_inside_a_transaction_it_is_refused(before: list[bytes]) -> None:
    """What was said of the transaction in the clear could not go on, and nothing is half forgotten."""
    machine = offered(*before)
    machine.says(b"STARTTLS\r\n")
    assert machine.codes[-1] == 503
    assert machine.session.transaction is not None


def test_a_second_one_is_out_of_order() -> None:
    """503, and the session goes on under TLS."""
    machine = offered(b"STARTTLS\r\n")
    machine.secures()
    machine.says(b"STARTTLS\r\n", EHLO, b"STARTTLS\r\n")
    assert machine.codes[-3:] == [503, 250, 503]


@pytest.mark.parametrize("line", [b"STARTTLS x\r\n", b"STARTTLS TLSv1\r\n", b"STARTTLS =\r\n", b"starttls \0\r\n"])
def test_parameters_are_a_mistake(line: bytes) -> None:
    """501, and what is pipelined behind it is still read in the clear."""
    machine = offered()
    machine.says(line)
    assert machine.codes[-1] == 501
    assert machine.events == []
    machine.says(b"NOOP\r\n")
    assert machine.codes[-1] == 250


@pytest.mark.parametrize("greeting", [b"", HELO, EHLO])
def test_where_it_is_not_offered_there_is_none(greeting: bytes) -> None:
    """It is not named, and a client that insists is refused in the clear."""
    machine = Machine()
    assert b"STARTTLS" not in machine.says(greeting)
    machine.says(b"STARTTLS\r\n")
    assert machine.codes[-1] in (500, 502, 503)
    assert machine.session.state is not State.TLS


def test_it_is_mail_data_inside_mail_data() -> None:
    """And no event."""
    machine = offered(MAIL, RCPT, b"DATA\r\n", b"STARTTLS\r\n.\r\n")
    assert machine.messages == [b"STARTTLS\r\n"]
    assert machine.session.state is State.READY
