"""The whole relay under attack: honest mail is delivered once each and whole, and nothing else comes out of it.

Master, two workers and delivery as an operator starts them, and an exchanger that reads line by line.
"""

import random
import re
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import psutil
import pytest

from relayd.spool.envelope import Envelope, Recipient, pack
from relayd.spool.ids import Ids
from tests.hostile.machine import EHLO, END, MAIL, RCPT, TRANSACTION, cut
from tests.hostile.smuggling import sequences
from tests.hostile.words import SPEECH
from tests.world.exchanger import Exchanger
from tests.world.relay import Relay, relay

MEBIBYTE = 1 << 20
HONEST = 800
_MARK = b"X-Number: %d\r\n"
EVIL = b"MAIL FROM:<evil@client.example>\r\n"
SEQUENCES = [sequence for sequence in sequences(4) if b"\r\n.\r\n" not in sequence]
METHODS = [b"GET / HTTP/1.1\r\n", b"CONNECT x:25 HTTP/1.1\r\n"]


def smuggle(connection: socket.socket, dice: random.Random) -> None:
    """A message that some other server would take for two."""
    connection.recv(4096)
    connection.sendall(TRANSACTION)
    heard = b""
    while b"354" not in heard and (octets := connection.recv(4096)):
        heard += octets
    wire = b"X-Smuggler: 1\r\n\r\na" + dice.choice(SEQUENCES) + EVIL + RCPT + b"DATA\r\nsecond"
    for write in cut(wire, [dice.randrange(len(wire)) for _ in range(3)]):
        connection.sendall(write)
    # It never ends its message, so that all that arrives of it would be too much.
    connection.recv(4096)


def babble(connection: socket.socket, dice: random.Random) -> None:
    """Anything at all, but for the end of a message of its own."""
    words = [word for word in SPEECH if b"LAST" not in word and word not in (END, b".\r\n")]
    for _ in range(10):
        connection.sendall(b"".join(dice.choices(words, k=3)))


def chatter(connection: socket.socket, dice: random.Random) -> None:
    """Commands that bring nothing, and no reply read."""
    connection.sendall(EHLO + dice.choice([b"NOOP\r\n", b"RCPT TO:<x y>\r\n", MAIL + b"RSET\r\n", *METHODS]) * 500)


def vanish(connection: socket.socket, dice: random.Random) -> None:
    """A reset, early or late."""
    if dice.random() < 0.5:
        connection.sendall(TRANSACTION + b"x" * 100_000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


ATTACKS: list[Callable[[socket.socket, random.Random], None]] = [smuggle, babble, chatter, vanish]


def attack(port: int, number: int, stop: threading.Event) -> None:
    """One attacker, with an address of its own, until it is told to stop."""
    dice = random.Random(number)
    while not stop.is_set():
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 0.5, (f"127.66.0.{number + 1}", 0)) as connection,
        ):
            dice.choice(ATTACKS)(connection, dice)


def send(port: int, numbers: range) -> None:
    """Honest messages over one connection; AssertionError when one is not taken."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection, connection.makefile("rb") as lines:
        assert lines.readline().startswith(b"220 ")
        connection.sendall(b"HELO client.example\r\n")
        assert lines.readline().startswith(b"250 ")
        for number in numbers:
            connection.sendall(MAIL + RCPT + b"DATA\r\n")
            assert [lines.readline()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
            connection.sendall(_MARK % number + b"\r\n" + b"honest\r\n" * 100 + b".\r\n")
            assert lines.readline().startswith(b"250 ")


def under_attack(running: Relay, work: Callable[[], None]) -> None:
    """Do it while eight attackers do their worst."""
    stop = threading.Event()
    threads = [threading.Thread(target=attack, args=(running.port, number, stop)) for number in range(8)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


@pytest.mark.long
def test_honest_mail_is_delivered_under_attack() -> None:
    """Each message once and whole, nothing of the attackers' own; no process has died or grown."""
    with (
        Exchanger("127.0.0.2") as exchanger,
        relay(routes=f'"*" = "smtp://127.0.0.2:{exchanger.port}"') as running,
    ):
        running.start()
        pids = running.pids()
        before = sum(psutil.Process(pid).memory_info().rss for pid in pids)
        under_attack(running, lambda: send(running.port, range(HONEST)))
        running.wait_until_empty()
        arrived = Counter(
            message.data.partition(b"X-Number: ")[2].split(b"\r\n", 1)[0] for message in exchanger.messages
        )
        assert arrived == {b"%d" % number: 1 for number in range(HONEST)}
        for message in exchanger.messages:
            assert message.data.endswith(b"\r\n\r\n" + b"honest\r\n" * 100)
            assert message.reverse_path.startswith(b"MAIL FROM:<a@client.example>")
        assert running.pids() == pids
        grown = sum(psutil.Process(pid).memory_info().rss for pid in pids) - before
        assert grown < 64 * MEBIBYTE, grown
        assert running.events("bug") == []
        assert running.events("process.died") == []
        assert all(line.isprintable() for line in running.log_text().splitlines())


HEAD = pack(
    Envelope(
        arrived=datetime(2026, 1, 1, tzinfo=UTC),
        reverse_path="a@client.example",
        recipients=(Recipient("b@example.net"),),
        helo="client.example",
    )
)
# What a person, or a failing disk, has made of the mail data.
EDITED = [
    b"X: 1\r\n\r\na\r\n.\r\n" + EVIL + RCPT + b"DATA\r\nsecond\r\n.\r\n",
    b"X: 1\n\na\n.\n" + EVIL + RCPT,
    b"X: 1\r\ra\r.\r" + EVIL,
    b"\0\r\n.\0\r\n\0.\r\n" + EVIL,
    b".\r\n" + EVIL,
    b".\n" + EVIL,
    b"RSET\r\nQUIT\r\n.\r\n..\r\n...\r\n.",
    b"\r\n.\r",
    b"x" * 400_000 + b"\r\n.\n" + EVIL + b"x" * 400_000 + b"\r",
    b"",
]
# What was put into a reverse-path or a forward-path.
INJECTED = [
    b"a@client.example>\\r\\nRCPT TO:<evil@client.example",
    b"a@client.example\\u0000",
    b"a@client.example\\n",
    b"a@client.example> SIZE=1 <x",
    b"<a@client.example>",
]


def spooled(running: Relay, ids: Ids, head: bytes, mail_data: bytes) -> None:
    """Put a message's file where delivery looks for it, as a person does."""
    path = running.spool / "new" / f"{ids.next()},S={len(head + mail_data)}"
    path.write_bytes(head + mail_data)
    shutil.chown(path, running.spool.owner())


@pytest.mark.long
def test_a_file_that_somebody_edited_is_one_message_or_none() -> None:
    """From the spool to the exchanger's side of the wire, with the real delivery process between."""
    ids = Ids()
    with (
        Exchanger("127.0.0.2") as exchanger,
        relay(routes=f'"*" = "smtp://127.0.0.2:{exchanger.port}"') as running,
    ):
        running.start()
        running.stop()
        for mail_data in EDITED:
            spooled(running, ids, HEAD, mail_data)
        for text in INJECTED:
            for path in (b"a@client.example", b"b@example.net"):
                spooled(running, ids, HEAD.replace(path, text), b"X: injected\r\n")
        running.start()
        running.wait(lambda: not running.files("new", "cur"), "an empty queue")
        sent = [message for message in exchanger.messages if not message.reverse_path.startswith(b"MAIL FROM:<>")]
        assert len(sent) == len(EDITED)
        for message in sent:
            assert message.reverse_path.startswith(b"MAIL FROM:<a@client.example>")
            assert message.recipients == (b"RCPT TO:<b@example.net>",)
            assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0|injected", message.data)
        # What is no path of ours is set aside, or goes back to its originator.
        assert len(running.files("failed")) >= 2 * len(INJECTED) - 2
        assert len(exchanger.messages) - len(sent) <= 2
        said = [line for session in exchanger.sessions for line in session.lines]
        assert {line.split()[0] for line in said} <= {b"EHLO", b"MAIL", b"RCPT", b"DATA", b"QUIT"}
        assert not [line for line in said if b"evil" in line]
        assert running.events("bug") == []
