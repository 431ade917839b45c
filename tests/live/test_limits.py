"""Limits that all workers keep together: what one client may send in an hour, and how many sessions it has."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.world.relay import Relay, relay


class Client:
    """One session, command by command."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), 20)
        self._replies = self._connection.makefile("rb")
        self.greeting = self._replies.readline()

    def say(self, line: str) -> bytes:
        """Say one line and give the reply, of which there is one line."""
        self._connection.sendall(f"{line}\r\n".encode())
        return self._replies.readline()

    def send(self) -> bytes:
        """One message; give the reply that ended it."""
        for line in (
            "HELO client.example.org",
            "MAIL FROM:<alice@example.org>",
            "RCPT TO:<bob@example.test>",
            "DATA",
        ):
            reply = self.say(line)
            if reply[:1] not in (b"2", b"3"):
                return reply
        return self.say("Subject: Hello\r\n\r\nHello\r\n.")

    def close(self) -> None:
        """Go."""
        self._replies.close()
        self._connection.close()


@contextmanager
def paused(**sections: str) -> Iterator[Relay]:
    """A running relay that delivers nothing."""
    with relay(**sections) as running:
        running.start()
        assert running.command("queue", "pause").returncode == 0
        yield running


def hour() -> int:
    """The hour of the clock that the relay counts by."""
    return int(time.monotonic() // 3600)


def send(port: int) -> bytes:
    """One message in a session of its own."""
    client = Client(port)
    reply = client.send()
    client.close()
    return reply


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_a_client_may_send_in_an_hour_is_counted_over_all_workers() -> None:
    """`relay.messages_per_hour`: exactly so many, whichever worker takes them; then 450 with the reason."""
    with paused(relay="messages_per_hour = 30") as running:
        began = hour()
        one, other = running.pids("worker")
        with stopped(one):
            replies = [send(running.port) for _ in range(20)]
        with stopped(other):
            replies += [send(running.port) for _ in range(40)]
        if hour() != began:
            pytest.skip("an hour of the clock ended meanwhile, and the count began anew")
        taken = [reply for reply in replies if reply.startswith(b"250 2.0.0 Ok: queued as ")]
        refused = [reply for reply in replies if reply.startswith(b"450 4.7.1 ")]
        assert (len(taken), len(refused)) == (30, 30)
        assert len(running.files("new")) == 30
        assert all(b"30 messages in an hour" in reply for reply in refused)
        assert 1 <= len(running.wait_for_events("client.limited")) <= 2
        served = [event["pid"] for event in running.wait_for_events("message.accepted", 30)]
        assert (served.count(other), served.count(one)) == (20, 10)


def test_the_sessions_of_a_client_are_counted_over_all_workers() -> None:
    """`session.per_client`: one more gets 421 until another one has ended."""
    with paused(session="per_client = 10") as running, ExitStack() as ends:
        clients = [Client(running.port) for _ in range(10)]
        for client in clients:
            ends.callback(client.close)
            assert client.greeting.startswith(b"220 ")
        one_more = Client(running.port)
        assert one_more.greeting.startswith(b"421 4.7.0 ")
        one_more.close()
        assert clients[0].say("QUIT").startswith(b"221 ")
        clients[0].close()

        def gets_in() -> bool:
            client = Client(running.port)
            ends.callback(client.close)
            return client.greeting.startswith(b"220 ")

        running.wait(gets_in, "room for one more")


def test_the_sessions_of_a_worker_that_died_count_no_longer() -> None:
    """Killed with all its sessions: the client has all its places again."""
    with paused(session="per_client = 10") as running:
        before = [Client(running.port) for _ in range(10)]
        old = running.pids("worker")
        running.kill("worker")
        for client in before:
            client.close()
        running.wait(lambda: len(set(running.pids("worker")) - set(old)) == 2, "two new workers")
        running.wait_for_events("process.ready", 6)
        after = [Client(running.port) for _ in range(10)]
        assert [client.greeting[:4] for client in after] == [b"220 "] * 10
        for client in after:
            client.close()
