"""Stop: what ends at once, what gets its time, and that it ends in any case and leaves nothing behind."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import psutil
import pytest

from relayd.base.config import load
from relayd.cli.stop import stop
from tests.live.test_bad_input import Said, carried_out
from tests.live.test_delivery import ZONE, delivering, send
from tests.world.exchanger import Exchanger
from tests.world.network import free_port
from tests.world.relay import USER, Relay, is_there, relay

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
# Longer than any test may take: what ends before it ended for another reason.
LONG = 'stop_timeout = "10m"'


class Client:
    """A session, one line at a time."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), 20)
        self._replies: BinaryIO = self._connection.makefile("rb")
        assert self.hear().startswith(b"220")

    def say(self, *lines: bytes) -> bytes:
        """Send lines one after the other; give the last reply."""
        reply = b""
        for line in lines:
            self._connection.sendall(line + b"\r\n")
            reply = self.hear()
        return reply

    def write(self, octets: bytes) -> None:
        """Send without waiting."""
        self._connection.sendall(octets)

    def hear(self) -> bytes:
        """The next line; b"" at the end."""
        return self._replies.readline()

    def close(self) -> None:
        """Leave."""
        self._replies.close()
        self._connection.close()


@contextmanager
def client(port: int, *lines: bytes) -> Iterator[Client]:
    """A session that has said these lines."""
    made = Client(port)
    try:
        made.say(*lines)
        yield made
    finally:
        made.close()


TRANSACTION = (b"HELO client.example.org", b"MAIL FROM:<alice@example.org>", b"RCPT TO:<bob@example.test>")


def stopping(running: Relay) -> subprocess.Popen[str]:
    """`relayd stop`, under way."""
    words = [sys.executable, "-I", "-m", "relayd", "stop", "-c", str(running.config)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_nothing_is_left(running: Relay, processes: list[psutil.Process]) -> None:
    """No process, no pid file, no socket, nothing in tmp/."""
    running.wait(lambda: not any(is_there(each) for each in processes), "end of all processes", 5)
    assert not {"relayd.pid", "relayd.sock"} & {path.name for path in running.spool.iterdir()}
    assert running.files("tmp") == []
    assert carried_out(running.folder, "status", "-c", str(running.config)).status == 3


def test_idle_sessions_hear_421_at_once_and_a_transaction_has_its_time() -> None:
    """Between transactions there is nothing to wait for; what is begun is taken, durable, and the relay ends."""
    with (
        relay(process=LONG) as running,
        contextlib.ExitStack() as sessions,
    ):
        running.start()
        processes = running.processes()
        silent = sessions.enter_context(client(running.port))
        greeted = sessions.enter_context(client(running.port, TRANSACTION[0]))
        after = sessions.enter_context(client(running.port, *TRANSACTION, b"RSET"))
        busy = sessions.enter_context(client(running.port, *TRANSACTION))
        stop = sessions.enter_context(stopping(running))
        for idle in (silent, greeted, after):
            assert idle.hear().startswith(b"421 4.3.2 ")
            assert idle.hear() == b""
        assert busy.say(b"DATA").startswith(b"354")
        assert busy.say(b"Subject: late\r\n\r\nlate\r\n.").startswith(b"250")
        assert busy.hear().startswith(b"421 4.3.2 ")
        assert busy.hear() == b""
        assert stop.wait(30) == 0
        assert len(running.files("new", "cur")) == 1
        assert_nothing_is_left(running, processes)


def test_nobody_is_let_in_while_it_stops() -> None:
    """The port is closed as soon as the idle session has its 421."""
    with relay(process=LONG) as running:
        running.start()
        with client(running.port) as idle, client(running.port, *TRANSACTION) as busy, stopping(running) as stop:
            assert idle.hear().startswith(b"421")
            running.wait(lambda: refuses(running.port), "closed port", 10)
            busy.say(b"RSET")
            assert stop.wait(30) == 0


def refuses(port: int) -> bool:
    """Whether nobody listens at the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            return connection.recv(1) == b""
    except OSError:
        return True


@pytest.mark.parametrize("data", [False, True], ids=["after RCPT", "in the mail data"])
def test_a_transaction_that_takes_too_long_hears_421_and_leaves_nothing(data: bool) -> None:
    """stop_timeout is the bound; what was not acknowledged is not there."""
    with relay(process='stop_timeout = "1s"') as running:
        running.start()
        processes = running.processes()
        with client(running.port, *TRANSACTION) as busy, contextlib.ExitStack() as held:
            if data:
                busy.say(b"DATA")
                # So much that it is in tmp/ already.
                busy.write(b"x" * 998 + b"\r\n" if not data else (b"x" * 70 + b"\r\n") * 8000)
                running.wait(lambda: bool(running.files("tmp")), "file in tmp/")
            stop = held.enter_context(stopping(running))
            assert busy.hear().startswith(b"421 4.3.2 ")
            assert busy.hear() == b""
            assert stop.wait(30) == 0
        assert running.files("new", "cur") == []
        assert_nothing_is_left(running, processes)


def test_a_second_sigterm_is_at_once() -> None:
    """The first leaves a transaction its ten minutes; the second cuts it, with a 421."""
    with relay(process=LONG) as running:
        running.start()
        (master, *_) = processes = running.processes()
        with client(running.port) as idle, client(running.port, *TRANSACTION) as busy:
            master.terminate()
            assert idle.hear().startswith(b"421")
            assert running.report()["state"] == "stopping"
            master.terminate()
            assert busy.hear().startswith(b"421")
            assert busy.hear() == b""
        assert_nothing_is_left(running, processes)


def is_waiting(pid: int) -> bool:
    """Whether a `stop` has said what it wants, and holds the master's pidfd until that has ended."""
    with contextlib.suppress(FileNotFoundError):
        held = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
        return "anon_inode:[pidfd]" in held
    return False


def test_a_second_stop_waits_with_the_first() -> None:
    """It is no order to cut anything: both end when the relay has."""
    with relay(process=LONG) as running:
        running.start()
        with (
            client(running.port) as idle,
            client(running.port, *TRANSACTION) as busy,
            stopping(running) as first,
        ):
            assert idle.hear().startswith(b"421")
            with stopping(running) as second:
                running.wait(lambda: is_waiting(second.pid), "second stop")
                assert busy.say(b"NOOP").startswith(b"250")
                busy.say(b"RSET")
                assert (first.wait(30), second.wait(30)) == (0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_cuts_no_transaction(number: signal.Signals) -> None:
    """Ctrl-C in a terminal, or supervisord's stopasgroup: the children leave it to the master."""
    with relay(process=LONG) as running:
        command = [sys.executable, "-I", "-m", "relayd", "start", "--foreground", "-c", str(running.config)]
        with (
            open(running.log_file, "ab") as log,
            subprocess.Popen(command, stderr=log, start_new_session=True) as master,
        ):
            running.wait(lambda: any(e["role"] == "master" for e in running.events("process.ready")), "start")
            port = int(running.status()["listening"][0].rpartition(":")[2])
            with client(port, *TRANSACTION, b"DATA") as busy, client(port) as idle:
                os.killpg(master.pid, number)
                assert idle.hear().startswith(b"421")
                assert busy.say(b"late\r\n.").startswith(b"250")
            assert master.wait(30) == 0
        assert len(running.files("new", "cur")) == 1


# Deliveries.


def test_a_delivery_before_its_final_dot_closes_and_the_message_stays() -> None:
    """It is not waited for, since nothing is lost: ten minutes are not used."""
    port = free_port("127.0.0.2")
    held = threading.Event()
    with Exchanger("127.0.0.2", port) as exchanger:
        exchanger.replies["RCPT"] = lambda session, line: None if held.wait(60) else b""
        with delivering(ZONE, port, process=LONG) as running:
            send(running, 1)
            running.wait(lambda: exchanger.commands["RCPT"] > 0, "RCPT")
            processes = running.processes()
            running.stop()
            held.set()
            assert_nothing_is_left(running, processes)
            assert len(running.files("new", "cur")) == 1
            assert running.events("delivery.in_doubt") == []
            assert exchanger.messages == []
            del exchanger.replies["RCPT"]
            running.start()
            exchanger.wait_for(1)
            running.wait_until_empty()


def test_a_delivery_after_its_final_dot_is_waited_for() -> None:
    """The answer comes while the relay stops: delivered, once, and nothing is left in the spool."""
    port = free_port("127.0.0.2")
    answer = threading.Event()
    with (
        Exchanger("127.0.0.2", port, before_final_reply=answer) as exchanger,
        delivering(ZONE, port, process=LONG) as running,
    ):
        send(running, 1)
        exchanger.wait_for(1)
        processes = running.processes()
        with client(running.port) as idle, stopping(running) as stop:
            assert idle.hear().startswith(b"421")
            answer.set()
            assert stop.wait(30) == 0
        assert_nothing_is_left(running, processes)
        assert running.files("new", "cur", "hold", "journal") == []
        assert len(running.events("delivery.delivered")) == 1
        running.start()


@pytest.mark.parametrize("how", ["stop", "two signals"])
def test_a_delivery_whose_answer_does_not_come_is_in_doubt_in_the_journal(how: str) -> None:
    """After stop_timeout, or at once after a second SIGTERM: the next start knows that a copy may have gone."""
    port = free_port("127.0.0.2")
    with (
        Exchanger("127.0.0.2", port, before_final_reply=threading.Event()) as exchanger,
        delivering(ZONE, port, process='stop_timeout = "1s"' if how == "stop" else LONG) as running,
    ):
        send(running, 1)
        exchanger.wait_for(1)
        (master, *_) = processes = running.processes()
        if how == "stop":
            running.stop()
        else:
            with client(running.port) as idle:
                master.terminate()
                assert idle.hear().startswith(b"421")
            master.terminate()
        assert_nothing_is_left(running, processes)
        (journal,) = running.files("journal")
        assert '"in_doubt"' in journal.read_text()
        assert len(running.files("new", "cur")) == 1
        running.start()
        (item,) = running.queue()
        assert item["last_kind"] == "in_doubt"


# What does not want to end.


@pytest.mark.parametrize("role", [pytest.param("worker 1", marks=pytest.mark.long), "delivery"])
def test_a_child_that_hangs_is_killed_when_its_time_is_over(role: str) -> None:
    """SIGSTOP: it hears nothing; the others end in order, and the stop is bounded."""
    with relay(process='stop_timeout = "1s"') as running:
        running.start()
        processes = running.processes()
        os.kill(running.pids(role)[0], signal.SIGSTOP)
        running.stop()
        assert_nothing_is_left(running, processes)


def test_a_master_that_hangs_is_signalled_and_said_to_hang(capsys: pytest.CaptureFixture[str]) -> None:
    """`stop` gives up after its time with exit status 1 and one line; the signal is there when it goes on."""
    with relay(process='stop_timeout = "100ms"') as running:
        running.start()
        (master, *_) = processes = running.processes()
        master.suspend()
        try:
            assert stop(load(running.config).process, answer_seconds=0.1, margin_seconds=0.0) == 1
        finally:
            master.resume()
        said = capsys.readouterr()
        expected = f"relayd: the master (pid {master.pid}) does not end; its log may say why\n"
        assert (said.out, said.err) == ("", expected)
        assert_nothing_is_left(running, processes)


@pytest.mark.long
def test_the_command_gives_a_master_that_hangs_its_whole_time() -> None:
    """And says the same."""
    with relay(process='stop_timeout = "1s"') as running:
        running.start()
        (master, *_) = processes = running.processes()
        master.suspend()
        try:
            said = running.command("stop")
            assert (said.returncode, said.stdout) == (1, "")
            expected = f"relayd: the master (pid {master.pid}) does not end; its log may say why\n"
            assert said.stderr == expected
        finally:
            master.resume()
        assert_nothing_is_left(running, processes)


@pytest.mark.long
@as_root
@pytest.mark.skipif(shutil.which("fsfreeze") is None, reason="needs fsfreeze (util-linux)")
@pytest.mark.parametrize("what", ["worker", "delivery"])
def test_a_stop_while_the_disk_hangs_is_bounded(what: str) -> None:
    """Not even SIGKILL ends a process that waits for a disk: the master says so, and does not wait with it."""
    port = free_port("127.0.0.2")
    answer = threading.Event()
    with (
        Exchanger("127.0.0.2", port, before_final_reply=answer if what == "delivery" else None) as exchanger,
        disk() as folder,
        delivering_outside(port, folder) as running,
    ):
        processes = running.processes()
        if what == "delivery":
            send(running, 1)
            exchanger.wait_for(1)
        with client(running.port, *TRANSACTION) as busy:
            busy.say(b"DATA")
            with frozen(folder):
                if what == "delivery":
                    answer.set()
                else:
                    busy.write(b"late\r\n.\r\n")
                began = time.monotonic()
                said = running.command("stop")
                assert said.returncode == 0, said.stderr + running.log_text()
                assert time.monotonic() - began < 40
                assert not is_there(processes[0])
                hung = running.events("process.hung")
                assert any("disk" in each["reason"] for each in hung), running.log_text()
        # The disk answers again, and what was killed is gone.
        running.wait(lambda: not any(is_there(each) for each in processes), "end of the killed", 20)
        running.start()
        running.wait_until_empty()


@contextmanager
def disk() -> Iterator[Path]:
    """A file system of its own."""
    # Not pytest's own folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="relayd-test-"))
    folder.chmod(0o755)
    image, mounted = folder / "image", folder / "disk"
    image.touch()
    os.truncate(image, 64 << 20)
    mounted.mkdir()
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, mounted], check=False, capture_output=True).returncode:
        pytest.skip("needs a loop device")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)
        shutil.rmtree(folder)


@contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """Whoever writes there waits, and cannot be killed."""
    subprocess.run(["fsfreeze", "-f", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "-u", folder], check=True)


@contextmanager
def delivering_outside(port: int, folder: Path) -> Iterator[Relay]:
    """A relay whose spool is on that disk, and whose pid file and log are not."""
    with delivering(ZONE, port, process='stop_timeout = "1s"') as running:
        running.stop()
        run = running.folder / "run"
        run.mkdir()
        shutil.chown(run, USER)
        text = running.config.read_text()
        spool = folder / "spool"
        text = text.replace('directory = "spool"', f'directory = "{spool}"')
        text = text.replace("[process]", f'[process]\npid_file = "{run}/relayd.pid"')
        text = text.replace("[log]", f'[log]\nfile = "{run}/relayd.log"')
        running.config.write_text(text)
        running.spool, running.run, running.log_file = spool, run, run / "relayd.log"
        spool.mkdir()
        shutil.chown(spool, USER)
        running.start()
        yield running


# At a start.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_waits_for_its_port_can_be_stopped(number: signal.Signals) -> None:
    """Nothing runs yet, and nothing is left: neither a pid file nor a lock that anybody holds."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with relay(f'[[listener]]\naddress = "127.0.0.1"\nport = {port}\n') as running:
            # As a killed master leaves it, so that the start waits.
            pid_file = running.spool / "relayd.pid"
            pid_file.write_text("4711\n")
            if USER:
                shutil.chown(pid_file, USER)
            words = [sys.executable, "-I", "-m", "relayd", "start", "--foreground", "-c", str(running.config)]
            with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as start:
                lock = running.spool / "relayd.pid.lock"
                running.wait(lambda: holds(start.pid, lock), "lock")
                start.send_signal(number)
                _, said = start.communicate(timeout=10)
            assert start.returncode == (1 if number == signal.SIGTERM else 130)
            assert said == ("relayd: stopped while it started\n" if number == signal.SIGTERM else "")
            assert not (running.spool / "relayd.sock").exists()
    with relay() as free:
        free.start()


def holds(pid: int, lock: Path) -> bool:
    """Whether the process holds the lock, as the kernel tells."""
    if not lock.exists():
        return False
    inode = str(lock.stat().st_ino)
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(words[4] == str(pid) and words[5].endswith(f":{inode}") for words in lines if len(words) > 5)


def test_ctrl_c_at_a_start_leaves_nothing_running() -> None:
    """Whoever does not want to wait for it does not want it later either."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with relay(f'[[listener]]\naddress = "127.0.0.1"\nport = {port}\n') as running:
            pid_file = running.spool / "relayd.pid"
            pid_file.write_text("4711\n")
            if USER:
                shutil.chown(pid_file, USER)
            words = [sys.executable, "-I", "-m", "relayd", "start", "-c", str(running.config)]
            with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as start:
                running.wait(lambda: bool(psutil.Process(start.pid).children()), "master")
                (master,) = psutil.Process(start.pid).children()
                running.wait(lambda: holds(master.pid, running.spool / "relayd.pid.lock"), "lock")
                start.send_signal(signal.SIGINT)
                _, said = start.communicate(timeout=10)
            assert (start.returncode, said) == (130, "")
            running.wait(lambda: not is_there(master), "end of the master", 10)
            assert running.command("status").returncode == 3


# Whose pid it is.


@pytest.fixture(scope="module")
def strangers() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Processes that have our name or its words, and block all signals."""
    program = (
        "import signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)); print(flush=True); input()"
    )
    title = "import setproctitle; setproctitle.setproctitle('relayd: master'); " + program
    commands = {
        "relayd": [sys.executable, "-c", program, "-m", "relayd", "start", "--foreground"],
        "title": [sys.executable, "-c", title],
        "argument": [sys.executable, "-c", program, "/etc/relayd.toml"],
    }
    with contextlib.ExitStack() as held:
        made = {}
        for name, words in commands.items():
            made[name] = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            held.callback(made[name].communicate, b"\n", 10)
            stdout = made[name].stdout
            assert stdout is not None
            stdout.readline()
        yield made


@pytest.mark.parametrize(
    "left", ["0", "1", "-1", "99999999999", "abc", "", "{test}", "{relayd}", "{title}", "{argument}", "{other}"]
)
def test_a_process_that_is_not_the_master_is_never_signalled(
    left: str, strangers: dict[str, subprocess.Popen[bytes]]
) -> None:
    """Whatever the file says: init, every process, none, the test, and whatever has our name or its words."""
    with relay() as running, relay() as other:
        pids = {"test": os.getpid(), **{name: each.pid for name, each in strangers.items()}}
        if "other" in left:
            other.start()
            pids["other"] = other.pids("master")[0]
        pid_file = running.spool / "relayd.pid"
        pid_file.write_text(left.format(**pids))
        if USER:
            shutil.chown(pid_file, USER)
        assert carried_out(running.folder, "status", "-c", str(running.config)).status == 3
        stopped = carried_out(running.folder, "stop", "-c", str(running.config))
        assert stopped == Said(3, "relayd is not running\n", "")
        running.start()
        running.leave()
        for stranger in strangers.values():
            assert stranger.poll() is None
            pending = next(line for line in status_lines(stranger.pid) if line.startswith("ShdPnd"))
            # All signals are blocked there: one that was sent would be pending.
            assert int(pending.split()[1], 16) == 0
        if "other" in left:
            assert other.report()["state"] == "running"


def status_lines(pid: int) -> list[str]:
    """/proc/PID/status."""
    return Path(f"/proc/{pid}/status").read_text().splitlines()


def test_stop_says_that_nothing_runs() -> None:
    """Exit status 3, for scripts; also without a spool and after a stop."""
    with relay() as running:
        running.starts_python = True
        said = running.command("stop")
        assert (said.returncode, said.stdout, said.stderr) == (3, "relayd is not running\n", "")
        running.start()
        running.stop()
        assert running.command("stop").returncode == 3
        said = running.command("stop", "--spool", str(running.folder / "nowhere"))
        assert (said.returncode, said.stderr) == (3, "")
