"""The question after a start: does the port answer?"""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relayd.cli.start import greeting_of
from relayd.master.report import Listening
from tests.world.authority import certify


@contextmanager
def saying(words: bytes, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A place where one client hears these words."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted if context is None else context.wrap_socket(accepted, server_side=True) as connection:
                connection.sendall(words)
                connection.recv(512)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_the_greeting_of_a_plain_port() -> None:
    """Its first line."""
    with saying(b"220 relay.example.org ESMTP relayd\r\n") as place:
        assert greeting_of(Listening(place, tls="starttls")) == "220 relay.example.org ESMTP relayd"


def test_the_greeting_of_a_port_with_implicit_tls(tmp_path: Path) -> None:
    """Encrypted; whose certificate it is does not matter here."""
    papers = certify(tmp_path, "relay.example.org")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.certificate, papers.key)
    with saying(b"220 relay.example.org ESMTP relayd\r\n", context) as place:
        assert greeting_of(Listening(place, tls="implicit")) == "220 relay.example.org ESMTP relayd"


def test_anything_but_220_is_no_greeting() -> None:
    """It is shown, escaped."""
    with saying(b"421 4.3.2 \x1b busy\r\n") as place, pytest.raises(OSError, match=r"it says b'421 4\.3\.2 \\x1b"):
        greeting_of(Listening(place))
