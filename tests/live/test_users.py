"""Users and certificates as an operator meets them: `user add`, `remove`, `list`, and what check and start say."""

import os
import pty
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.world.authority import certify
from tests.world.relay import USER, Relay, relay

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")
OWNER = pwd.getpwnam(USER).pw_uid if USER else -1


@contextmanager
def with_users() -> Iterator[Relay]:
    """A relay, not started, whose users are in the folder of its configuration."""
    with relay(auth='users = "users"\nloopback_without_tls = true') as made:
        yield made


def test_users_are_added_listed_and_removed() -> None:
    """Each command says what it did, and the file has names and hashes, one user a line."""
    with with_users() as made:
        made.starts_python = True
        for name, password in (("bob", "secret 1\n"), ("alice", "secret 2"), ("bob", "secret 3\r\n")):
            said = made.command("user", "add", name, typed=password)
            assert (said.returncode, said.stderr) == (0, "")
        assert said.stdout == "user bob has a new password\n"
        assert made.command("user", "list").stdout == "alice\nbob\n"
        lines = (made.folder / "users").read_text().splitlines()
        assert [line.partition(":$scrypt$n=16384,r=8,p=1$")[0] for line in lines] == ["alice", "bob"]
        assert "secret" not in "".join(lines)
        said = made.command("user", "remove", "alice")
        assert (said.returncode, said.stdout) == (0, "user alice is removed\n")
        assert made.command("user", "list").stdout == "bob\n"
        assert [path.name for path in made.folder.iterdir() if "users" in path.name] == ["users"]


@as_root
def test_the_file_belongs_to_the_relays_user_and_nobody_else_reads_it() -> None:
    """Root wrote it, and the relay runs as another."""
    with with_users() as made:
        made.command("user", "add", "alice", typed="secret\n")
        found = (made.folder / "users").stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (OWNER, 0o600)


@as_root
def test_root_becomes_the_relays_user_where_that_user_could_lead_it_astray() -> None:
    """A link in a folder of that user to one of root's: no file appears there."""
    with relay(auth='users = "spool/etc/users"') as made:
        target = made.folder / "of-root"
        target.mkdir(mode=0o755)
        (made.spool / "etc").symlink_to(target)
        said = made.command("user", "add", "alice", typed="secret\n")
        assert said.returncode == 1
        assert "permission denied" in said.stderr
        assert list(target.iterdir()) == []
        (made.spool / "etc").unlink()
        (made.spool / "etc").mkdir()
        os.chown(made.spool / "etc", OWNER, -1)
        assert made.command("user", "add", "alice", typed="secret\n").returncode == 0
        assert (made.spool / "etc" / "users").stat().st_uid == OWNER


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (["add", "a b"], "secret\n", "'a b' is no user's name"),
        (["add", "a:b"], "secret\n", "'a:b' is no user's name"),
        (["add", "a\x1bb"], "secret\n", "'a\\x1bb' is no user's name"),
        (["add", "alice"], "", "a password has 1 to 1024 octets"),
        (["add", "alice"], "x" * 5000, "a password has 1 to 1024 octets"),
        (["remove", "alice"], "", "there is no user alice"),
    ],
)
def test_what_cannot_be_is_one_line_and_changes_nothing(words: list[str], typed: str, said: str) -> None:
    """Exit status 1, no file, and nothing that a terminal would obey."""
    with with_users() as made:
        done = made.command("user", *words, typed=typed)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert said in line
        assert line.isprintable()
        assert not (made.folder / "users").exists()


def test_without_the_table_the_command_says_what_to_write() -> None:
    """Exit status 2."""
    with relay() as made:
        done = made.command("user", "add", "alice", typed="secret\n")
        assert done.returncode == 2
        assert done.stderr == (
            f'relayd: {made.config}: [auth] users: required; write a table [auth] with users = "users"\n'
        )


def test_at_a_terminal_the_password_is_asked_for_twice_and_not_shown() -> None:
    """What is typed appears nowhere."""
    with with_users() as made:
        ours, theirs = pty.openpty()
        words = [sys.executable, "-I", "-m", "relayd", "user", "add", "alice", "-c", str(made.config)]
        # A session of its own, so that the terminal below is the one that is asked.
        wrapper = (
            "import fcntl, os, sys, termios\n"
            "fcntl.ioctl(0, termios.TIOCSCTTY)\n"
            "os.execv(sys.argv[1], sys.argv[1:])\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", wrapper, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        ) as process:
            os.close(theirs)
            heard = b""
            for prompt in (b"Password: ", b"Again: "):
                while prompt not in heard:
                    heard += os.read(ours, 4096)
                os.write(ours, b"secret\n")
            while b"user alice is added" not in heard:
                heard += os.read(ours, 4096)
            assert process.wait(10) == 0
        os.close(ours)
        assert b"secret" not in heard
        assert made.command("user", "list").stdout == "alice\n"


def test_two_at_once_are_both_there() -> None:
    """None begins with a file that the other is about to replace."""
    with with_users() as made:
        words = [sys.executable, "-I", "-m", "relayd", "user", "add", "-c", str(made.config)]
        names = [f"user{number}" for number in range(6)]
        running = [subprocess.Popen([*words, name], stdin=subprocess.PIPE) for name in names]
        for process in running:
            process.communicate(b"secret\n", 60)
        assert [process.returncode for process in running] == [0] * 6
        assert made.command("user", "list").stdout.split() == names


def test_check_and_start_refuse_credentials_that_are_not_there() -> None:
    """Exit status 2, each in its own words; nothing is left running."""
    with relay(auth='users = "users"', tls='certificate = "relay.pem"\nkey = "relay.key"') as made:
        certificate = f"[tls] certificate: {made.folder}/relay.pem is not there"
        users = f"[auth] users: {made.folder}/users is not there (bin/relayd user add NAME makes it)"
        checked = made.command("check")
        assert checked.returncode == 2
        assert checked.stderr.splitlines()[-2:] == [
            f"relayd: {made.config}: {certificate}",
            f"relayd: {made.config}: {users}",
        ]
        started = made.command("start")
        assert started.returncode == 2
        assert started.stderr.splitlines()[-1] == f"relayd: {certificate}; {users}"
        assert made.command("status").returncode == 3


@as_root
def test_check_and_start_refuse_a_key_that_the_relays_user_may_not_read() -> None:
    """Root could, and the relay could not any more when a worker starts again."""
    with relay(tls='certificate = "relay.pem"\nkey = "relay.key"') as made:
        certify(made.folder, "relay.example.org")
        line = f"[tls] key: {made.folder}/relay.key is not readable for user {USER}"
        for command in ("check", "start"):
            said = made.command(command)
            assert said.returncode == 2
            assert line in said.stderr


def test_a_key_that_everybody_may_read_is_a_warning_of_check_and_start() -> None:
    """Both go on; the log has it too, for who starts it from a service."""
    with relay(tls='certificate = "relay.pem"\nkey = "relay.key"') as made:
        papers = certify(made.folder, "relay.example.org", owner=OWNER)
        papers.key.chmod(0o644)
        line = f"[tls] key: {papers.key} is readable for everybody on this host; chmod o-r {papers.key}"
        for command in ("check", "start"):
            said = made.command(command)
            assert said.returncode == 0
            assert f"relayd: warning: {line}\n" in said.stderr
        assert line in [event["warning"] for event in made.events("config.warning")]


def test_status_says_what_clients_find_at_each_port() -> None:
    """For people in the first line, for programs beside the places."""
    listeners = "".join(
        f'[[listener]]\naddress = "127.0.0.1"\nport = 0\n{keys}\n'
        for keys in (
            "",
            'tls = "implicit"\nauth = "required"',
            'proxy = true\ntrusted = ["127.0.0.1"]\ntls = "off"',
        )
    )
    tables = {"tls": 'certificate = "relay.pem"\nkey = "relay.key"', "auth": 'users = "users"'}
    with relay(listeners, **tables) as made:
        certify(made.folder, "relay.example.org", owner=OWNER)
        made.command("user", "add", "alice", typed="secret\n")
        made.start()
        places = made.status()["listening"]
        first = made.command("status").stdout.splitlines()[0]
        assert first.endswith(
            f"listening at {places[0]} (STARTTLS, AUTH), {places[1]} (TLS, AUTH required), {places[2]} (PROXY)"
        )
        assert made.status()["listeners"] == [
            {"place": places[0], "tls": "starttls", "auth": "offered", "proxy": False},
            {"place": places[1], "tls": "implicit", "auth": "required", "proxy": False},
            {"place": places[2], "tls": "off", "auth": "off", "proxy": True},
        ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('tls = "implicit"', ": 220 relay.example.org ESMTP relayd "),
        ('proxy = true\ntrusted = ["192.0.2.1"]', "\n"),
    ],
    ids=["implicit", "proxy"],
)
def test_start_returns_also_where_no_port_speaks_first_in_clear(keys: str, said: str) -> None:
    """It encrypts where that is needed, and asks nothing of a port that only a proxy may use."""
    listener = f'[[listener]]\naddress = "127.0.0.1"\nport = 0\n{keys}\n'
    with relay(listener, tls='certificate = "relay.pem"\nkey = "relay.key"') as made:
        certify(made.folder, "relay.example.org", owner=OWNER)
        started = made.command("start")
        assert (started.returncode, started.stderr) == (0, "")
        (place,) = made.status()["listening"]
        assert f"answers at {place}{said}" in started.stdout


def test_every_process_may_open_as_many_files_as_the_system_lets_it() -> None:
    """The soft limit is the hard one, in all of them."""
    with relay() as made:
        made.start()
        for pid in made.pids():
            limits = Path(f"/proc/{pid}/limits").read_text()
            (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
            soft, hard = line.split()[3:5]
            assert soft == hard
