"""The log of a running relay: whatever its peers say, whatever logrotate does, and when its disk is full."""

import base64
import contextlib
import os
import pwd
import re
import shutil
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relayd.base.line import LONGEST, read
from tests.live.test_delivery import ZONE, send
from tests.live.test_full_disk import small
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port
from tests.world.relay import USER, Relay, relay
from tests.world.service import service

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a file system, or files of another user")
needs_logrotate = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("logrotate") is None, reason="needs logrotate, and root for its `su`"
)

SECRET = "s3cret-w0rd"
BODY = "nobody-but-the-recipient-reads-this"
ODD = (
    b'\x1b[31m\x07\x00\x9b\xff\xfe\xe2\x80\xae\xe2\x80\xa8\xc2\x85\x7f"\\ event=message.accepted id=1 \xed\xa0\x80'
)
# Its line is long, since the reply is.
_REFUSED = b"RCPT TO:<" + b"x" * 60 + b"@refused.test>\r\n"
_ROUTE = f'"refused.test" = {{ error = "5.7.1 {"x" * 220}" }}'
FORMATS = pytest.mark.parametrize("format", ["text", "json"])


def encoded(text: bytes) -> bytes:
    """In base64."""
    return base64.b64encode(text)


# What a client says in clear, command by command; all of AUTH's forms, whole and broken.
HOSTILE = [
    b"EHLO " + ODD,
    b"EHLO client.example",
    b"MAIL FROM:<" + ODD + b"@example.org>",
    b"MAIL FROM:<alice@example.org> " + ODD,
    b"AUTH PLAIN " + encoded(b"\0eve\x1b[2J\xe2\x80\xae\n\0" + SECRET.encode()),
    b"AUTH PLAIN " + encoded(SECRET.encode()),
    b"AUTH PLAIN " + SECRET.encode() + b"!",
    b"AUTH " + SECRET.encode(),
    b"AUTH LOGIN " + encoded(b"eve"),
    encoded(SECRET.encode()),
    b"AUTH LOGIN",
    encoded(b"eve" + ODD),
    SECRET.encode() + b"%",
    b"AUTH PLAIN",
    encoded(b"\0eve\0" + SECRET.encode()) + b" trailing",
    b"AUTH PLAIN =" + SECRET.encode(),
    b"AUTH PLAIN " + encoded(b"\0eve\0" + SECRET.encode() + b"\0"),
    ODD,
    b"\xff" * 600,
    b"X" * 5000,
]


def says(port: int, octets: bytes, source: str = "127.0.0.1") -> None:
    """All of it in one session, once it is greeted; the replies are read to the end and not looked at."""
    with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as connection:
        try:
            while not connection.recv(65536).endswith(b"\n"):
                pass
            connection.sendall(octets + b"\r\nQUIT\r\n")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            # It has ended the session, and there was more to hear.
            return


def says_hostile(port: int, commands: list[bytes]) -> None:
    """Together, and each in a session of its own, since some end it; whoever guesses passwords is slowed down."""
    says(port, b"\r\n".join(commands))
    for number, command in enumerate(commands, start=10):
        says(port, b"EHLO client.example\r\n" + command, f"127.0.0.{number}")


def check_lines(octets: bytes) -> list[str]:
    """Every line is one of ours, whole, printable, and not too long; gives the lines."""
    assert octets.endswith(b"\n")
    lines = octets.decode().split("\n")[:-1]
    for line in lines:
        assert read(line) is not None, line
        assert line.isprintable(), line
        assert len(line.encode()) < LONGEST
    return lines


@contextmanager
def written_in(format: str, settings: str = "", **sections: str) -> Iterator[Relay]:
    """A relay with a log of this format and one worker, not started yet."""
    with relay(settings, **sections) as running:
        text = running.config.read_text().replace('format = "json"', f'format = "{format}"')
        running.config.write_text(text.replace("workers = 2", "workers = 1"))
        yield running


@FORMATS
def test_what_hostile_peers_say_stays_in_its_line(format: str) -> None:
    """Control characters, escapes, line and direction marks, broken UTF-8, long lines; nothing secret, no mail."""
    port = free_port("127.0.0.2")
    echo = b"550-5.1.1 " + ODD + b"\r\n550 5.1.1 " + b"y" * 400 + b"\r\n"
    with (
        Exchanger("127.0.0.2", port, replies={"RCPT": echo, "CONNECT": b"220 " + ODD + b"\r\n"}),
        NameServer(ZONE) as names,
        written_in(
            format,
            delivery=f"port = {port}\nprivate_exchangers = true",
            dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]',
            auth='users = "users"\nloopback_without_tls = true',
        ) as running,
    ):
        assert running.command("user", "add", "eve", typed="another-w0rd\n").returncode == 0
        running.start()
        says_hostile(running.port, HOSTILE)
        text = f"Subject: {BODY}\r\nFrom: {BODY}\r\n\r\n{BODY}\r\n"
        with smtplib.SMTP("127.0.0.1", running.port, "client.example") as client:
            client.sendmail("alice@example.org", [f'"b\\\\ob {"x" * 40}"@example.test'], text)
        running.wait(lambda: "delivery.failed" in running.log_text(), "delivery.failed")
        running.stop()
        lines = check_lines(running.log_file.read_bytes())
        assert any("auth.refused" in line for line in lines)
        assert any("session.closed" in line for line in lines)
        assert any("x1b" in line or "u001b" in line for line in lines)
        # Neither as it is nor in base64, at any of the three places that it may have in a group of octets.
        for word in (SECRET, BODY, "another-w0rd"):
            for before in range(3):
                hidden = encoded(b"\0" * before + word.encode()).decode()
                hidden = hidden[(before * 4 + 2) // 3 : -4]
                assert not any(hidden in line for line in lines), (word, before)
            assert not any(word in line for line in lines), word
        accepted = [
            line for line in lines if (found := read(line)) is not None and found.event == "message.accepted"
        ]
        assert len(accepted) == running.log_text().count("delivery.failed")


def test_no_password_of_any_form_of_auth_is_in_the_log_in_tls_either() -> None:
    """The user's own, right and wrong, by PLAIN and LOGIN, and what is no mechanism at all."""
    with service() as served:
        commands = [each for each in HOSTILE if b"AUTH" in each or each == encoded(SECRET.encode())]
        says_hostile(served.plain, commands)
        says_hostile(served.submission, commands)
        served.running.stop()
        lines = check_lines(served.running.log_file.read_bytes())
        assert not any(SECRET in line or encoded(SECRET.encode()).decode()[:10] in line for line in lines)
        served.running.start()


def open_logs(running: Relay, path: Path) -> list[str]:
    """What file each process of the relay has open that began under this name, by its name now."""
    found = []
    for pid in running.pids():
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            name = os.readlink(fd)
            if name.startswith(str(path)):
                found.append(name)
    return found


@needs_logrotate
def test_logrotate_itself_takes_the_log_away(tmp_path: Path) -> None:
    """With the stanza of etc/, but for its paths: all processes write to the new file, and no line is lost."""
    with written_in("text") as running:
        folder = running.folder / "log"
        folder.mkdir()
        shutil.chown(folder, USER, pwd.getpwnam(USER).pw_gid)
        log = folder / "relayd.log"
        running.config.write_text(running.config.read_text().replace("[log]", f'[log]\nfile = "{log}"'))
        running.log_file = log
        running.start()
        group = "nogroup"
        stanza = (Path(__file__).parents[2] / "etc" / "logrotate.conf").read_text()
        command = f"{sys.executable} -I -m relayd reopen -c {running.config}"
        stanza = stanza.replace("/var/log/relayd/*.log", str(log))
        stanza = stanza.replace("/opt/relayd/bin/relayd reopen -c /etc/relayd.toml", command)
        assert command in stanza
        stanza = re.sub(r"su relayd relayd", f"su {USER} {group}", stanza)
        rules = tmp_path / "rules"
        rules.write_text(stanza)
        rules.chmod(0o644)
        # The command that started it has looked whether it answers.
        sent = 1
        for turn in range(1, 4):
            says(running.port, b"NOOP")
            sent += 1
            # A log without a line would not be taken away.
            running.wait(lambda: "session.closed" in log.read_text(), f"line of turn {turn}")
            said = subprocess.run(
                ["logrotate", "-f", "-s", str(tmp_path / "state"), str(rules)],
                check=False,
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert said.returncode == 0, said.stderr
            running.wait(
                lambda: len(found := open_logs(running, log)) > 2 and set(found) == {str(log)}, f"turn {turn}"
            )
        running.stop()
        told = subprocess.run(["zcat", "-f", *map(str, sorted(folder.iterdir()))], check=True, capture_output=True)
        lines = check_lines(told.stdout)
        assert sum("session.closed" in line for line in lines) == sent
        # Whoever reads a line finds out which process wrote it.
        known = [found for line in lines if (found := read(line)) is not None]
        ready = {int(each.fields["child"]) for each in known if "child" in each.fields}
        assert {each.pid for each in known} == ready | {known[0].pid}
        assert len(list(folder.iterdir())) == 4


def fill(path: Path) -> None:
    """Leave no octet free on its disk."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@as_root
@FORMATS
def test_a_full_log_disk_stops_no_mail_and_is_told_of_afterwards(format: str) -> None:
    """Mail comes in and goes out; with room again every line is whole, and the lost ones are counted."""
    port = free_port("127.0.0.2")
    with (
        Exchanger("127.0.0.2", port) as exchanger,
        NameServer(ZONE) as names,
        written_in(
            format,
            delivery=f"port = {port}\nprivate_exchangers = true",
            dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]',
            routes=_ROUTE,
        ) as running,
    ):
        folder = running.folder / "log"
        folder.mkdir()
        log = folder / "relayd.log"
        running.config.write_text(running.config.read_text().replace("[log]", f'[log]\nfile = "{log}"'))
        running.log_file = log
        with small(folder, 64 * 1024):
            filler = folder / "filler"
            running.start()
            fill(filler)
            send(running, 40)
            exchanger.wait_for(40)
            running.wait_until_empty()
            # More than a worker keeps; each session is ended for its many errors.
            for _ in range(250):
                says(running.port, b"EHLO c\r\nMAIL FROM:<a@b.test>\r\n" + _REFUSED * 100)
            assert running.command("status").returncode == 0
            filler.unlink()
            # The file may now have as much as was kept for it.
            subprocess.run(["mount", "-o", "remount,size=16m", str(folder)], check=True)
            send(running, 1)
            exchanger.wait_for(41)
            running.wait(lambda: "log.dropped" in log.read_text(), "word of the dropped lines")
            running.stop()
            lines = log.read_text().split("\n")
            known = [found for line in lines if (found := read(line)) is not None]
            # A piece of a line for each process that the disk has cut off in the middle of one.
            assert len([line for line in lines if line]) - len(known) <= 3
            assert sum(int(each.fields["lines"]) for each in known if each.event == "log.dropped") > 100
            assert sum(each.event == "recipient.refused" for each in known) > 1000
            assert [each.event for each in known][-1] == "process.retired"
            # The disk had room for the first few, and then for the last; which worker dropped lines is chance.
            assert 1 <= sum(each.event == "message.accepted" for each in known) <= 41
