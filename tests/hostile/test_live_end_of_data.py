"""The end of data on the wire: a running worker, each way to write, judged by the files that are in new/."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.machine import cut, each_octet
from tests.hostile.smuggling import END, first_message, sequences
from tests.receive.live import Client, Live, live, mail_of

# The mail data of the client begins with this line, so that nothing of ours has to be known.
_MARK = b"X-Number: %d\r\n\r\n"
SECOND = b"MAIL FROM:<evil@client.example>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"


@pytest.fixture(params=["normalize", "reject"])
def worker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Live]:
    """A worker that mends bare LF, or refuses it."""
    with live(tmp_path, settings=f'[session]\nbare_newline = "{request.param}"') as running:
        yield running


def send(running: Live, body: list[bytes]) -> None:
    """One session with one message in these writes; whatever is replied, it goes on to QUIT."""
    with running.client() as client:
        client.begins()
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for write in body:
                client.says(write)
            client.says(END, b"QUIT\r\n")
            client.ends()
        except OSError:
            # It was closed for what it sent.
            pass
        client.hears_all()


def found(running: Live) -> dict[int, list[bytes]]:
    """What was spooled of each number, without the fields that we add."""
    messages: dict[int, list[bytes]] = {}
    for path in running.files():
        _, mail_data = mail_of(path)
        mail_data = mail_data[mail_data.index(b"X-Number: ") :]
        number = int(mail_data.split(b"\r\n", 1)[0].partition(b": ")[2])
        messages.setdefault(number, []).append(mail_data)
    return messages


def judge(running: Live, longest: int) -> None:
    """All sequences up to this length: at most one message each, and that one with the right octets."""
    normalize = running.config.session.bare_newline == "normalize"
    sent: list[tuple[bytes, bytes | None]] = []
    for sequence in sequences(longest):
        for place in range(-1, len(sequence) + 2):
            wire = _MARK % len(sent) + b"a" + sequence + SECOND
            start = wire.index(sequence + SECOND)
            sent.append((sequence, first_message(wire + END, normalize=normalize)))
            send(running, [wire] if place < 0 else cut(wire, [start + place]))
        wire = _MARK % len(sent) + b"a" + sequence + SECOND
        sent.append((sequence, first_message(wire + END, normalize=normalize)))
        send(running, each_octet(wire))
    messages = found(running)
    for number, (sequence, expected) in enumerate(sent):
        assert messages.get(number, []) == ([] if expected is None else [expected]), (number, sequence)
    assert sum(map(len, messages.values())) == len(running.files())


def test_no_sequence_makes_two_messages_of_one(worker: Live) -> None:
    """CR, LF, NUL and dot, up to three octets, cut at every offset and octet by octet."""
    judge(worker, 3)


@pytest.mark.long
def test_no_longer_sequence_does(worker: Live) -> None:
    """Up to four octets."""
    judge(worker, 4)


def test_a_client_without_the_end_leaves_nothing(worker: Live) -> None:
    """Every proper beginning of the end, and then it is gone: no message, and no draft."""
    for length in range(len(END)):
        with Client(worker.address) as client:
            client.begins()
            client.says(b"x" + END[:length])
            client.ends()
            assert client.hears_all() == []
        worker.event("session.closed")
    assert worker.files() == []
    assert worker.files("tmp") == []
