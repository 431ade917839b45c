"""The exchanger's wire: what scripts do on it is what a client meets."""

import socket
import ssl
import threading
from pathlib import Path
from smtplib import SMTP

import pytest

from .authority import certify
from .exchanger import Exchanger


def test_starttls_is_offered_done_and_offered_no_more(tmp_path: Path) -> None:
    """What was said before it is forgotten, and mail goes under TLS."""
    papers = certify(tmp_path, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.certificate, papers.key)
    with Exchanger(tls=context) as exchanger, SMTP("127.0.0.1", exchanger.port, timeout=10) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        client.starttls(context=ssl.create_default_context(cafile=str(papers.authority)))
        assert client.mail("a@example.org")[0] == 503
        client.ehlo()
        assert not client.has_extn("starttls")
        client.sendmail("a@example.org", ["b@example.net"], b"text\r\n")
        assert exchanger.sessions[0].tls.startswith("TLSv1.")
        assert exchanger.messages[0].data == b"text\r\n"


def test_an_action_speaks_instead_of_the_reply() -> None:
    """The session goes on where it returns."""
    with (
        Exchanger(actions={"NOOP": lambda wire: wire.send(b"299 odd\r\n")}) as exchanger,
        SMTP("127.0.0.1", exchanger.port, timeout=10) as client,
    ):
        assert client.noop() == (299, b"odd")
        assert client.rset()[0] == 250


def test_a_reset_is_one() -> None:
    """The client does not take it for an ordinary end."""
    with (
        Exchanger(actions={"HELO": lambda wire: wire.reset()}) as exchanger,
        socket.create_connection(exchanger.address, timeout=10) as client,
    ):
        client.recv(100)
        client.sendall(b"HELO x\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(100)


@pytest.mark.parametrize("action", ["wait", "be_deaf", "send_endlessly", "dribble"])
def test_a_stop_ends_what_would_last(action: str) -> None:
    """A silent peer, a deaf one, and ones that talk."""
    arguments = {"send_endlessly": (b"x" * 1000,), "dribble": (b"x" * 1000, 1.0)}.get(action, ())
    begun = threading.Event()

    def act(wire: object) -> None:
        begun.set()
        getattr(wire, action)(*arguments)

    with Exchanger(actions={"CONNECT": act}) as exchanger, socket.create_connection(exchanger.address, timeout=10):
        assert begun.wait(10)
        exchanger.stop()
        exchanger.start()
