"""The receiving servers do what the live tests believe: a plain socket and smtp-source are the clients."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from .exchanger import Exchanger, Script
from .network import free_port
from .postfix import Sink, available, sink, source
from .session import Session

needs_postfix = pytest.mark.skipif(not available(), reason="Postfix's smtp-source and smtp-sink are missing")


class Client:
    """A client's side of a dialogue, written out line by line."""

    def __init__(self, lines: BinaryIO) -> None:
        self._lines = lines

    def hears(self, *replies: bytes) -> None:
        """The next lines are exactly these."""
        for reply in replies:
            assert self._lines.readline() == reply + b"\r\n"

    def hears_the_end(self) -> None:
        """The server has closed the connection."""
        assert self._lines.read() == b""

    def says(self, *lines: bytes) -> None:
        """Send these lines in one go."""
        self._lines.write(b"".join(line + b"\r\n" for line in lines))
        self._lines.flush()

    def begins(self) -> None:
        """Greeting, HELO, and a transaction up to the 354."""
        self.says(b"HELO client.test", b"MAIL FROM:<a@client.test>", b"RCPT TO:<b@example.test>", b"DATA")
        for code in (b"220", b"250", b"250", b"250", b"354"):
            assert self._lines.readline().startswith(code)


@contextmanager
def client(server: Exchanger | Sink) -> Iterator[Client]:
    """A connection to the server."""
    with socket.create_connection(server.address, 5) as connection, connection.makefile("rwb") as lines:
        yield Client(cast(BinaryIO, lines))


def test_an_exchanger_keeps_what_it_received_byte_for_byte() -> None:
    """Envelope lines as sent, mail data without transparency, only CR LF . CR LF ends it."""
    with Exchanger() as exchanger, client(exchanger) as peer:
        peer.hears(b"220 exchanger.test ESMTP")
        peer.says(b"EHLO client.test")
        peer.hears(b"250-exchanger.test", b"250-PIPELINING", b"250-8BITMIME", b"250-SIZE 10000000")
        peer.hears(b"250 ENHANCEDSTATUSCODES")
        peer.says(b"mail FROM:<a@client.test> SIZE=40")
        peer.says(b"RCPT TO:<b@example.test>", b"RCPT TO:<c@example.test>")
        peer.hears(b"250 2.1.0 Ok", b"250 2.1.5 Ok", b"250 2.1.5 Ok")
        peer.says(b"DATA")
        peer.hears(b"354 End data with <CR><LF>.<CR><LF>")
        peer.says(b"Subject: \xff", b"", b"..", b"...x", b"bare\n.", b"and\r.", b".")
        peer.hears(b"250 2.0.0 Ok")
        peer.says(b"QUIT")
        peer.hears(b"221 2.0.0 Bye")
        peer.hears_the_end()
    (message,) = exchanger.messages
    assert message.helo == b"EHLO client.test"
    assert message.reverse_path == b"mail FROM:<a@client.test> SIZE=40"
    assert message.recipients == (b"RCPT TO:<b@example.test>", b"RCPT TO:<c@example.test>")
    assert message.data == b"Subject: \xff\r\n\r\n.\r\n..x\r\nbare\n.\r\nand\r.\r\n"
    assert message.reply == b"250 2.0.0 Ok\r\n"
    assert exchanger.connections == 1
    assert exchanger.commands == {"EHLO": 1, "MAIL": 1, "RCPT": 2, "DATA": 1, "QUIT": 1}
    assert exchanger.sessions[0].lines[-1] == b"QUIT"


def test_an_exchanger_holds_a_client_to_the_protocol() -> None:
    """Commands out of order, unknown ones and a bare LF are refused."""
    with Exchanger(ehlo=False) as exchanger, client(exchanger) as peer:
        peer.hears(b"220 exchanger.test ESMTP")
        peer.says(b"EHLO c", b"MAIL FROM:<>", b"HELO c", b"RCPT TO:<b@example.test>", b"DATA")
        peer.hears(b"502 5.5.1 Not implemented", b"503 5.5.1 HELO or EHLO first", b"250 exchanger.test")
        peer.hears(b"503 5.5.1 MAIL first", b"503 5.5.1 MAIL first")
        peer.says(b"MAIL FROM:<>", b"MAIL FROM:<>", b"DATA", b"RSET", b"MAIL FROM:<>", b"NOOP\nNOOP")
        peer.hears(b"250 2.1.0 Ok", b"503 5.5.1 A transaction is open", b"554 5.5.1 No valid recipients")
        peer.hears(b"250 2.0.0 Ok", b"250 2.1.0 Ok")
        peer.hears(b"500 5.5.2 The line does not end in CR LF", b"250 2.0.0 Ok")


def test_replies_can_be_scripted_for_each_line() -> None:
    """Fixed ones and one that depends on the line; a refused recipient is not recorded."""

    def only_b(session: Session, line: bytes) -> bytes | None:
        return None if b"<b@" in line else b"550 5.1.1 No such user\r\n"

    replies: dict[str, Script] = {"RCPT": only_b, ".": b"452 4.3.1 Full\r\n"}
    with Exchanger(replies=replies) as exchanger, client(exchanger) as peer:
        peer.says(b"HELO c", b"MAIL FROM:<>", b"RCPT TO:<x@a.test>", b"RCPT TO:<b@a.test>", b"DATA")
        peer.hears(b"220 exchanger.test ESMTP", b"250 exchanger.test", b"250 2.1.0 Ok")
        peer.hears(b"550 5.1.1 No such user", b"250 2.1.5 Ok", b"354 End data with <CR><LF>.<CR><LF>")
        peer.says(b".")
        peer.hears(b"452 4.3.1 Full")
        exchanger.replies["MAIL"] = b"421 4.3.2 Closing\r\n"
        peer.says(b"MAIL FROM:<>")
        peer.hears(b"421 4.3.2 Closing")
        peer.hears_the_end()
        (message,) = exchanger.messages
        assert message.recipients == (b"RCPT TO:<b@a.test>",)
        assert message.data == b""
        assert message.reply == b"452 4.3.1 Full\r\n"


def test_a_greeting_can_be_late_or_refused() -> None:
    """The delay may change between connections; CONNECT is the greeting's name."""
    with Exchanger(replies={"CONNECT": b"554 5.3.2 No mail here\r\n"}) as exchanger:
        with client(exchanger) as peer:
            peer.hears(b"554 5.3.2 No mail here")
        exchanger.greeting_delay = 0.1
        began = time.monotonic()
        with client(exchanger) as peer:
            peer.hears(b"554 5.3.2 No mail here")
        assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize("verb", ["CONNECT", "HELO", "MAIL", "RCPT", "DATA"])
def test_a_connection_can_be_dropped_after_a_command(verb: str) -> None:
    """The command arrives, and instead of a reply the connection closes."""
    dialogue = [
        ("CONNECT", b"220 exchanger.test ESMTP", b"HELO c"),
        ("HELO", b"250 exchanger.test", b"MAIL FROM:<>"),
        ("MAIL", b"250 2.1.0 Ok", b"RCPT TO:<b@example.test>"),
        ("RCPT", b"250 2.1.5 Ok", b"DATA"),
    ]
    with Exchanger(drop_after=verb) as exchanger, client(exchanger) as peer:
        for _, reply, line in takewhile(lambda step: step[0] != verb, dialogue):
            peer.hears(reply)
            peer.says(line)
        peer.hears_the_end()
        assert exchanger.messages == []


def test_a_connection_can_be_dropped_after_the_final_dot() -> None:
    """The message is recorded as one that got no reply."""
    with Exchanger(drop_after_final_dot=True) as exchanger, client(exchanger) as peer:
        peer.begins()
        peer.says(b"text", b".")
        peer.hears_the_end()
        (message,) = exchanger.wait_for(1)
        assert message.data == b"text\r\n"
        assert message.reply is None


def test_the_final_reply_waits_for_its_event() -> None:
    """The message is there before the reply goes; stop ends the wait with the connection."""
    gate = threading.Event()
    with Exchanger(before_final_reply=gate) as exchanger:
        with client(exchanger) as peer:
            peer.begins()
            peer.says(b".")
            exchanger.wait_for(1)
            gate.set()
            peer.hears(b"250 2.0.0 Ok")
        gate.clear()
        with client(exchanger) as peer:
            peer.begins()
            peer.says(b".")
            exchanger.wait_for(2)
            exchanger.stop()
            peer.hears_the_end()


def test_waiting_for_mail_that_does_not_come_ends() -> None:
    """The error says how many came."""
    with Exchanger() as exchanger, pytest.raises(TimeoutError, match="0 of 1 messages"):
        exchanger.wait_for(1, timeout=0.01)


def test_an_exchanger_goes_down_and_comes_up_on_its_port() -> None:
    """Down, connections are closed and refused and no thread is left; up, it serves again."""
    before = threading.active_count()
    port = free_port("127.0.0.2", "127.0.0.3")
    with Exchanger("127.0.0.2", port) as exchanger, Exchanger("127.0.0.3", port, name=b"other.test") as other:
        with client(exchanger) as peer:
            peer.begins()
            exchanger.stop()
            peer.hears_the_end()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(exchanger.address, 5)
        with client(other) as peer:
            peer.hears(b"220 other.test ESMTP")
        exchanger.start()
        with client(exchanger) as peer:
            peer.hears(b"220 exchanger.test ESMTP")
        assert exchanger.connections == 2
        assert exchanger.messages == []
    assert threading.active_count() == before


@needs_postfix
def test_smtp_source_sends_what_smtp_sink_counts(tmp_path: Path) -> None:
    """As many as were sent arrive, and the dumps have envelope and mail data."""
    with sink(dump=tmp_path) as running:
        options = ("-f", "a@source.test", "-t", "b@example.test", "-S", "Hello")
        sent = source(*running.address, 4, 40, 300, *options)
        assert sent.process.returncode == 0, sent.process.stderr
        assert 0 < sent.seconds < 60
        running.wait_for(40)
        assert running.count == 40
        dumped = running.dumped()
    assert len(dumped) == 40
    for message in dumped:
        assert (message.helo, message.reverse_path) == ("source.test", "<a@source.test>")
        assert message.recipients == ("<b@example.test>",)
        assert b"\r\nSubject: Hello\r\n" in message.data


@needs_postfix
def test_smtp_sink_dumps_mail_data_byte_for_byte(tmp_path: Path) -> None:
    """Sent through a plain socket, dots and empty lines at the end come out as they went in."""
    with sink(dump=tmp_path) as running, client(running) as peer:
        peer.begins()
        peer.says(b"Subject: \xff", b"", b"..", b"...x", b"", b"", b".")
        running.wait_for(1)
        assert running.dumped()[0].data == b"Subject: \xff\r\n\r\n.\r\n..x\r\n\r\n\r\n"


@needs_postfix
def test_smtp_sink_can_end_before_its_last_reply() -> None:
    """With stop_after the last message is counted, and its reply never comes."""
    with sink(("127.0.0.1", 0), "-e", stop_after=1) as running, client(running) as peer:
        peer.begins()
        peer.says(b".")
        peer.hears_the_end()
        running.wait_for(1)
        assert running.process.wait(5) == 0
        with pytest.raises(TimeoutError, match=r"1 of 2 messages .* smtp-sink has ended"):
            running.wait_for(2)


@needs_postfix
def test_smtp_source_sends_to_an_exchanger() -> None:
    """Two programs that know nothing of each other agree on the protocol."""
    with Exchanger() as exchanger:
        sent = source(*exchanger.address, 3, 30, 2000, "-f", "a@source.test", "-t", "b@example.test")
        assert sent.process.returncode == 0, sent.process.stderr
        assert {message.reverse_path for message in exchanger.wait_for(30)} == {b"MAIL FROM:<a@source.test>"}


@needs_postfix
def test_a_smtp_sink_that_cannot_start_says_why() -> None:
    """The reason is smtp-sink's own."""
    reason = r"smtp-sink does not listen: .*in use"
    with Exchanger() as exchanger, pytest.raises(RuntimeError, match=reason), sink(exchanger.address):
        pass
