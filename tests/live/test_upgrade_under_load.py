"""Upgrades under load: who sends without pause hears nothing of them, and nothing is lost."""

import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.world.code import code, is_possible
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.relay import is_there
from tests.world.upgrading import MARK, Session, upgradable, upgrade

ZONE = "example.test. 60 IN MX 10 mx.example.test.\nmx.example.test. 60 IN A 127.0.0.2"

pytestmark = pytest.mark.skipif(not is_possible(), reason="no Python that the relay's user can execute")


class Clients:
    """Sessions that send without pause, three messages each; `failures` has whatever was not as it should be."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(first,)) for first in range(4)]
        self.sent: list[int] = []
        self.failures: list[BaseException] = []

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send while the context lasts."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(60)

    def _run(self, number: int) -> None:
        try:
            while not self._stop.is_set():
                session = Session(self._port)
                for _ in range(3):
                    session.begin()
                    session.end(number)
                    self.sent.append(number)
                    number += len(self._threads)
                session.quit()
        except (OSError, AssertionError) as error:
            self.failures.append(error)


@contextmanager
def source(port: int) -> Iterator[list[int]]:
    """Run smtp-source again and again, with a connection for each message; give the exit statuses."""
    statuses: list[int] = []
    stop = threading.Event()
    command = ["smtp-source", "-s", "4", "-m", "40", "-f", "alice@example.org", "-t", "bob@example.test"]

    def run() -> None:
        while not stop.is_set():
            statuses.append(subprocess.run([*command, f"127.0.0.1:{port}"], check=False, timeout=60).returncode)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        thread.join(60)


def numbers(exchanger: Exchanger) -> Counter[int]:
    """How often each of the clients' messages arrived."""
    found = [message.data.partition(MARK)[2].split(b"\r\n", 1)[0] for message in exchanger.messages]
    return Counter(int(each) for each in found if each)


@pytest.mark.skipif(shutil.which("smtp-source") is None, reason="smtp-source is missing")
@pytest.mark.parametrize("count", [1, pytest.param(3, marks=pytest.mark.long)])
def test_upgrades_under_load_lose_nothing_and_refuse_nobody(count: int) -> None:
    """Same process; no connect error, no 421, each message once; a transaction across all of it ends well.

    Each is followed by a reload, which is the new code's.
    """
    with (
        Exchanger("127.0.0.2") as exchanger,
        NameServer(ZONE) as names,
        upgradable(
            delivery=f"port = {exchanger.port}\nprivate_exchangers = true",
            dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]',
        ) as running,
    ):
        running.start()
        (master,) = running.pids("master")
        before = running.pids()
        clients = Clients(running.port)
        slow = Session(running.port)
        slow.begin()
        with clients.sending(), source(running.port) as statuses:
            for version in ("2", "3", "4")[:count]:
                said = upgrade(running, code(running.folder / version, version))
                assert (said.returncode, said.stderr) == (0, ""), running.log_text()
                assert running.report()["version"] == version
                running.pids()
                said = running.command("reload")
                assert (said.returncode, said.stderr) == (0, ""), running.log_text()
                running.pids()
        slow.end(-1)
        slow.quit()
        assert clients.failures == []
        assert set(statuses) == {0}
        assert running.pids("master") == [master]
        running.wait(lambda: set(running.pids()) & set(before) == {master}, "end of the old processes")
        running.wait_until_empty()
        assert numbers(exchanger) == Counter([*clients.sent, -1])
        sent = 40 * len(statuses) + len(clients.sent) + 1
        assert len(exchanger.messages) == sent
        totals = running.report()["totals"]
        assert (totals["accepted"], totals["delivered"]) == (sent, sent)
        assert running.events("bug") == []
        running.stop()
        assert not any(is_there(process) for process in running.seen.values())
