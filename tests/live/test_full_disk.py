"""A disk that runs full under a running relay, on a small file system of its own."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.test_delivery import ZONE
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port
from tests.world.relay import USER, Relay, relay

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root and mount: makes a small file system"
)


@contextmanager
def small(folder: Path, octets: int) -> Iterator[None]:
    """A file system of its own on a folder."""
    options = f"size={octets},mode=0755,uid={pwd.getpwnam(USER).pw_uid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "relayd-test", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def says(running: Relay, *lines: str) -> list[str]:
    """The replies to these commands after HELO, without the greeting."""
    with (
        socket.create_connection(("127.0.0.1", running.port), 10) as connection,
        connection.makefile("rb") as replies,
    ):
        replies.readline()
        heard = []
        for line in ("HELO client.example.org", *lines):
            connection.sendall(line.encode() + b"\r\n")
            heard.append(replies.readline().decode().rstrip())
        return heard[1:]


MAIL = (
    "MAIL FROM:<alice@example.org>",
    "RCPT TO:<bob@example.test>",
    "DATA",
    "Subject: hello\r\n\r\nHello\r\n.",
)


def test_mail_is_refused_while_the_disk_is_full_and_what_is_there_goes_out() -> None:
    """452 4.3.1 under the minimum, by SIZE too; the queue is delivered meanwhile; with room it is good again."""
    port = free_port("127.0.0.2")
    with (
        NameServer(ZONE) as names,
        Exchanger("127.0.0.2", port) as exchanger,
        relay(
            delivery=f'port = {port}\nprivate_exchangers = true\nretry = ["1s"]',
            dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]',
        ) as running,
        small(running.spool, 64_000_000),
    ):
        running.config.write_text(running.config.read_text().replace("minimum_free = 0", 'minimum_free = "8 MB"'))
        exchanger.stop()
        running.start()
        assert says(running, *MAIL)[-1].startswith("250 2.0.0 Ok: queued as ")
        free = shutil.disk_usage(running.spool).free
        filler = running.spool / "filler"
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - 4_000_000)
        # A look at the room counts for a moment; what is taken in that is refused at its end.
        full = ["452 4.3.1 Insufficient system storage"]
        running.wait(lambda: says(running, MAIL[0]) == full, "word of the full disk")
        exchanger.start()
        exchanger.wait_for(1)
        running.wait(lambda: not running.files("new", "cur"), "empty queue")
        filler.unlink()
        assert says(running, f"{MAIL[0]} SIZE=49000000") == ["452 4.3.1 Insufficient system storage"]
        assert says(running, *MAIL)[-1].startswith("250 2.0.0 Ok: queued as ")
        exchanger.wait_for(2)
        running.stop()
