"""A reload: every process is replaced, no client notices, and what fails leaves everything as it was."""

import contextlib
import os
import pwd
import random
import re
import signal
import smtplib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.world.authority import certify
from tests.world.exchanger import Exchanger
from tests.world.postfix import Sent, available, sink, source
from tests.world.relay import USER, Relay, is_there, relay

needs_postfix = pytest.mark.skipif(not available(), reason="Postfix's smtp-source and smtp-sink are missing")
OWNER = pwd.getpwnam(USER).pw_uid if USER else -1


def change(running: Relay, old: str, new: str) -> None:
    """Write something else in the configuration."""
    text = running.config.read_text()
    assert old in text
    running.config.write_text(text.replace(old, new))


def reload(running: Relay) -> None:
    """Reload it, and see that it says so."""
    said = running.command("reload")
    assert (said.returncode, said.stdout) == (0, "relayd has reloaded its configuration\n"), (
        said.stderr + running.log_text()
    )


def refused(running: Relay) -> str:
    """What a reload says that fails, in one line; afterwards the same processes run as before."""
    before = running.pids()
    said = running.command("reload")
    assert (said.returncode, said.stdout) == (1, "")
    assert len(said.stderr.splitlines()) == 1
    # What the master tried it with is in the report until it has seen its end.
    running.wait(lambda: running.pids() == before, "end of what it was tried with")
    with client(running) as session:
        session.ehlo("client.example.org")
    return said.stderr


@contextmanager
def client(running: Relay) -> Iterator[smtplib.SMTP]:
    """A session; it may have been ended by the other side."""
    session = smtplib.SMTP("127.0.0.1", running.port, timeout=20)
    try:
        yield session
    finally:
        with contextlib.suppress(smtplib.SMTPException):
            session.quit()
        session.close()


def send(session: smtplib.SMTP, recipient: str = "b@example.test") -> None:
    """A message in it; smtplib raises for what is not expected."""
    session.sendmail("a@source.test", recipient, "Subject: x\r\n\r\nx\r\n")


def routed(exchanger: tuple[str, int]) -> str:
    """All mail to one host."""
    return f'"*" = "smtp://{exchanger[0]}:{exchanger[1]}"'


class Stream:
    """smtp-source, again and again until it is stopped."""

    def __init__(self, running: Relay, sessions: int, *options: str) -> None:
        self.sent: list[Sent] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(running.port, sessions, options))
        self._thread.start()

    def _run(self, port: int, sessions: int, options: tuple[str, ...]) -> None:
        words = ("-f", "a@source.test", "-t", "b@example.test", *options)
        while not self._stopped.is_set():
            self.sent.append(source("127.0.0.1", port, sessions, 50, 1000, *words))
            if self.sent[-1].process.returncode:
                return

    def stop(self) -> int:
        """Let the run that is under way end; give how many messages were sent. AssertionError when one failed."""
        self._stopped.set()
        self._thread.join()
        for each in self.sent:
            assert each.process.returncode == 0, each.process.stderr
        return 50 * len(self.sent)


@needs_postfix
@pytest.mark.parametrize("count", [2, pytest.param(10, marks=pytest.mark.long)])
def test_reloads_under_load_are_noticed_by_no_client(count: int) -> None:
    """New connections, kept ones, and one that stays in its transaction over all: no error, nothing lost."""
    with sink(("127.0.0.2", 0)) as exchanger, relay() as running:
        change(running, "[log]", f"[routes]\n{routed(exchanger.address)}\n[log]")
        running.start()
        streams = [Stream(running, 4), Stream(running, 4, "-d")]
        with client(running) as patient:
            patient.ehlo("client.example.org")
            patient.mail("a@source.test")
            for number in range(count):
                reload(running)
                assert patient.rcpt(f"b{number}@example.test")[0] == 250
            assert patient.data("Subject: x\r\n\r\nx\r\n")[0] == 250
            send(patient)
            assert patient.quit()[0] == 221
        sent = sum(stream.stop() for stream in streams) + 2
        exchanger.wait_for(sent)
        running.wait_until_empty()
        accepted = [event["id"] for event in running.wait_for_events("message.accepted", sent)]
        delivered = Counter(event["id"] for event in running.wait_for_events("delivery.delivered", sent))
        assert (len(accepted), exchanger.count) == (sent, sent)
        assert delivered == Counter(accepted)
        totals = running.report()["totals"]
        assert (totals["accepted"], totals["bugs"]) == (sent, 0)
        assert not running.events("process.died")
        assert running.command("audit").returncode == 0
        # Nothing of the earlier generations is left once their sessions are over.
        running.wait(lambda: len(running.pids()) == 4, "end of the replaced")
        running.stop()
        assert running.files("tmp") == []


def test_a_reload_replaces_every_process_but_the_master() -> None:
    """And the counters go on."""
    with relay() as running:
        running.start()
        master, *before = running.pids()
        files = [psutil.Process(pid).num_fds() for pid in (master, *before)]
        sessions = running.report()["totals"]["sessions"]
        reload(running)
        running.wait(lambda: len(running.pids()) == 4, "end of the replaced")
        again, *after = running.pids()
        assert again == master
        assert not set(before) & set(after)
        # Nothing was left open, and nothing more was handed on.
        assert [psutil.Process(pid).num_fds() for pid in (master, *after)] == files
        roles = [each["role"] for each in running.status()["processes"]]
        assert roles == ["master", "worker 1", "worker 2", "delivery"]
        assert running.report()["totals"]["sessions"] == sessions


def test_what_the_configuration_says_now_is_what_clients_and_mail_meet() -> None:
    """Hostname, limits, users' networks and routes; the log's form too."""
    with (
        Exchanger("127.0.0.2") as one,
        Exchanger("127.0.0.3") as other,
        relay(session='maximum_message = "1 MB"') as running,
    ):
        change(running, "[log]", f"[routes]\n{routed(('127.0.0.2', one.port))}\n[log]")
        running.start()
        with client(running) as session:
            send(session)
        one.wait_for(1)
        change(running, "relay.example.org", "other.example.org")
        change(running, f"127.0.0.2:{one.port}", f"127.0.0.3:{other.port}")
        change(running, "1 MB", "2 MB")
        reload(running)
        with client(running) as session:
            assert session.ehlo("x.example.org")[1].startswith(b"other.example.org")
            assert session.esmtp_features["size"] == "2000000"
            send(session)
        other.wait_for(1)
        change(running, 'format = "json"', 'format = "text"')
        reload(running)
        assert re.search(r"^\S+ relayd\[\d+\] config.loaded source=", running.log_text(), re.MULTILINE)


def test_a_renewed_certificate_is_shown_after_a_reload() -> None:
    """And one that does not load changes nothing: the old one is shown."""
    with relay(tls='certificate = "relay.pem"\nkey = "relay.key"') as running:
        certify(running.folder, "relay.example.org", owner=OWNER)
        running.start()
        first = shown(running)
        papers = certify(running.folder, "relay.example.org", owner=OWNER)
        assert shown(running) == first
        reload(running)
        second = shown(running)
        assert second != first
        papers.certificate.write_text("no certificate")
        assert "holds no certificate in PEM form" in refused(running)
        assert shown(running) == second
        assert running.events("config.refused")[0]["source"] == str(running.config)


def shown(running: Relay) -> bytes | None:
    """The certificate that a client sees."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with client(running) as session:
        session.starttls(context=context)
        assert isinstance(session.sock, ssl.SSLSocket)
        return session.sock.getpeercert(binary_form=True)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("port = 0", "port = 2526", "[[listener]]"),
        ('address = "127.0.0.1"', 'address = "127.0.0.2"', "[[listener]]"),
        ("workers = 2", "workers = 3", "[process] workers"),
        ('directory = "spool"', 'directory = "other"', "[spool] directory"),
    ],
)
def test_what_only_a_start_can_change_is_refused(old: str, new: str, key: str) -> None:
    """With "restart needed"; everything is as it was."""
    with relay(process='pid_file = "spool/relayd.pid"') as running:
        running.start()
        change(running, old, new)
        said = refused(running)
        assert key in said
        assert "restart needed" in said


def test_a_relay_that_is_not_found_any_more_is_told_of() -> None:
    """Its pid file, where none is configured, is in the spool; by the signal it says that itself."""
    with relay() as running:
        running.start()
        (master,) = running.pids("master")
        text = running.config.read_text()
        change(running, 'directory = "spool"', 'directory = "other"')
        said = running.command("reload")
        assert said.returncode == 3
        assert "another [spool] directory or pid_file: restart needed" in said.stderr
        os.kill(master, signal.SIGHUP)
        assert "restart needed" in running.wait_for_events("config.refused")[0]["reason"]
        running.config.write_text(text)


def test_a_port_for_metrics_that_somebody_else_has_is_refused() -> None:
    """Everything is as it was, and a port that is free is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken, relay(metrics='listen = "127.0.0.1:0"') as running:
        running.start()
        change(running, "127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}")
        assert "Address already in use" in refused(running)
        taken.close()
        reload(running)
        running.wait(lambda: len(running.pids()) == 5, "end of the replaced")
        assert not running.events("process.died")


def test_a_bad_file_is_refused_in_the_words_of_check() -> None:
    """By the command and by the signal; the relay goes on."""
    with relay(session='timeout = "5m"') as running:
        running.start()
        (master,) = running.pids("master")
        change(running, '"5m"', '"soon"')
        said = running.command("reload")
        assert said.returncode == 1
        assert said.stderr.startswith("relayd: not reloaded: ")
        assert '[session] timeout = "soon": not a duration' in said.stderr
        os.kill(master, signal.SIGHUP)
        assert "not a duration" in running.wait_for_events("config.refused")[0]["reason"]


def test_sighup_reloads() -> None:
    """As systemd and people do it."""
    with relay() as running:
        running.start()
        before = running.pids("worker")
        change(running, "relay.example.org", "other.example.org")
        os.kill(running.pids("master")[0], signal.SIGHUP)
        running.wait_for_events("config.loaded", 2)
        running.wait(lambda: not set(before) & set(running.pids("worker")), "new workers")
        with client(running) as session:
            assert session.ehlo("x.example.org")[1].startswith(b"other.example.org")


def test_a_canary_that_cannot_boot_leaves_everything_as_it_was() -> None:
    """The spool's new/ is not to be entered any more."""
    with relay() as running:
        running.start()
        folder = running.spool / "new"
        folder.chmod(0)
        try:
            assert str(folder) in refused(running)
        finally:
            folder.chmod(0o700)
        reload(running)


def test_two_reloads_at_the_same_time_both_count() -> None:
    """The second waits for the first, since what it is about may not have been read."""
    with relay() as running:
        running.start()
        threads = [threading.Thread(target=reload, args=(running,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(running.events("config.loaded")) in (3, 4)


def test_a_reload_while_the_relay_stops_is_refused() -> None:
    """A client in its transaction holds the stop up; the reason is said."""
    with relay(process='stop_timeout = "60s"') as running:
        running.start()
        with client(running) as session:
            session.ehlo("x.example.org")
            session.mail("a@source.test")
            os.kill(running.pids("master")[0], signal.SIGTERM)
            running.wait_for_events("process.retired")
            said = running.command("reload")
            assert (said.returncode, said.stderr) == (1, "relayd: not reloaded: the relay is stopping\n")
            session.rset()


def test_without_a_relay_reload_ends_with_3() -> None:
    """And says so."""
    with relay() as running:
        said = running.command("reload")
        assert said.returncode == 3
        assert "not running" in said.stderr


def test_sessions_of_a_replaced_worker_end_after_the_drain_timeout() -> None:
    """Idle: 421. In a transaction: when it is over."""
    with relay(process='drain_timeout = "100ms"\nstop_timeout = "20s"') as running:
        running.start()
        with client(running) as busy, socket.create_connection(("127.0.0.1", running.port), 20) as idle:
            assert idle.recv(512).startswith(b"220 ")
            busy.ehlo("x.example.org")
            busy.mail("a@source.test")
            reload(running)
            assert idle.recv(512).startswith(b"421 4.3.2 ")
            assert busy.rcpt("b@example.test")[0] == 250
            busy.putcmd("rset")
            assert busy.getreply()[0] == 250
            assert busy.getreply()[0] == 421


@pytest.mark.parametrize("role", ["worker 1", "delivery"])
def test_a_process_killed_behind_a_reload_is_replaced_by_one_of_the_new_configuration(role: str) -> None:
    """Whatever was old stays away."""
    with relay() as running:
        running.start()
        change(running, "relay.example.org", "other.example.org")
        reload(running)
        running.wait(lambda: len(running.pids()) == 4, "end of the replaced")
        running.replace(role)
        for _ in range(4):
            with client(running) as session:
                assert session.ehlo("x.example.org")[1].startswith(b"other.example.org")


def test_kills_in_the_middle_of_reloads_leave_a_relay_that_works_and_lose_nothing() -> None:
    """Whatever process is hit, old or new: each reload ends, and the next one without kills is good."""
    dice = random.Random(5)
    with Exchanger("127.0.0.2") as exchanger, relay() as running:
        change(running, "[log]", f"[routes]\n{routed(('127.0.0.2', exchanger.port))}\n[log]")
        running.start()
        (master,) = running.pids("master")
        sent = 0
        for _ in range(6):
            asked = threading.Thread(target=running.command, args=("reload",))
            asked.start()
            for _ in range(3):
                victims = psutil.Process(master).children()
                if victims:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        dice.choice(victims).kill()
                with contextlib.suppress(OSError, smtplib.SMTPException), client(running) as session:
                    send(session)
                    sent += 1
            asked.join()
        reload(running)
        running.wait(lambda: len(running.pids()) == 4, "end of the replaced")
        with client(running) as session:
            send(session)
        running.wait_until_empty()
        assert len({each.data for each in exchanger.messages}) > 0
        assert len(exchanger.messages) >= sent + 1
        assert running.pids("master") == [master]
        assert running.report()["totals"]["bugs"] == 0
        assert running.command("audit").returncode == 0


@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_a_stop_in_the_middle_of_a_reload_leaves_nothing(more: int) -> None:
    """As soon as there are so many processes more than before, or at once."""
    with relay() as running:
        running.start()
        master = psutil.Process(running.pids("master")[0])
        seen = set(master.children())
        before = len(seen)
        master.send_signal(signal.SIGHUP)
        while len(seen) < before + more:
            seen.update(master.children())
        seen.update(master.children())
        master.send_signal(signal.SIGTERM)
        running.wait(lambda: not is_there(master), "end of the master")
        assert not any(is_there(process) for process in seen)
        assert not {path.name for path in running.spool.iterdir()} & {"relayd.pid", "relayd.sock"}
        assert running.files("tmp") == []
        assert not running.events("bug")
        assert not running.events("process.died")


def test_a_stop_ends_replaced_workers_too() -> None:
    """Whose sessions still went on."""
    with relay() as running:
        running.start()
        with client(running) as session:
            session.ehlo("x.example.org")
            reload(running)
            running.wait(lambda: len(running.pids()) == 5, "end of the idle")
            processes = running.processes()
            states = [each["state"] for each in running.status()["processes"]]
            assert states.count("retiring") == 1
            running.stop()
            assert not any(is_there(process) for process in processes)
