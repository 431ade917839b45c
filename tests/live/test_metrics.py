"""Metrics and health, as Prometheus and whoever else monitors sees them: real processes, asked over HTTP."""

import http.client
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.world.code import code, is_possible
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port
from tests.world.postfix import available, source
from tests.world.relay import Relay, is_there, relay

needs_postfix = pytest.mark.skipif(not available(), reason="Postfix's smtp-source and smtp-sink are missing")
promtool = shutil.which("promtool")

ZONE = """
example.test. 60 IN MX 10 mx.example.test.
mx.example.test. 60 IN A 127.0.0.2
"""
ACCEPTED, RELAYED = "relayd_messages_accepted_total", "relayd_recipients_relayed_total"
GROWING = re.compile(r"_(total|count|sum|bucket)(\{|$)")


class Monitor:
    """Whoever asks the process of metrics at a port."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> tuple[int, str]:
        """The status and the body of an answer; OSError where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def scrape(self) -> dict[str, float]:
        """All samples, by name and labels."""
        status, body = self.get("/metrics")
        assert status == 200
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(body):
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    def wait(self, running: Relay, wanted: Mapping[str, float]) -> dict[str, float]:
        """Scrape until all these samples have come so far; what was scraped then."""
        scraped: list[dict[str, float]] = []

        def has_come() -> bool:
            try:
                scraped.append(self.scrape())
            except OSError:
                return False
            return all(scraped[-1].get(name, -1.0) >= value for name, value in wanted.items())

        running.wait(has_come, f"{wanted} in the metrics")
        return scraped[-1]


@contextmanager
def monitored(**sections: str) -> Iterator[tuple[Relay, Monitor]]:
    """A relay with metrics, not started, that asks a name server for its exchangers."""
    monitor = Monitor(free_port())
    sections["metrics"] = f'listen = "127.0.0.1:{monitor.port}"'
    with NameServer(ZONE) as names:
        dns = f'nameservers = ["127.0.0.1:{names.address[1]}"]'
        with relay(dns=dns, **sections) as running:
            yield running, monitor


def through(exchanger: Exchanger) -> str:
    """The settings of [delivery] with which mail goes there."""
    return f"port = {exchanger.address[1]}\nprivate_exchangers = true\n"


def send(running: Relay, count: int) -> None:
    """Messages to the exchanger, from smtp-source."""
    sent = source("127.0.0.1", running.port, 2, count, 512, "-f", "a@source.test", "-t", "b@example.test")
    assert sent.process.returncode == 0, sent.process.stderr


def fallen(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, tuple[float, float | None]]:
    """What only grows, and has not."""
    growing = [name for name in before if GROWING.search(name)]
    return {name: (before[name], after.get(name)) for name in growing if after.get(name, -1.0) < before[name]}


@needs_postfix
def test_a_scrape_tells_what_went_through() -> None:
    """Sessions, commands, replies, messages, DNS and exchangers; promtool has nothing to say of it."""
    with Exchanger("127.0.0.2") as exchanger, monitored(delivery=through(exchanger)) as (running, monitor):
        running.start()
        send(running, 20)
        running.wait_for_events("delivery.delivered", 20)
        found = monitor.wait(
            running,
            {
                ACCEPTED: 20,
                RELAYED: 20,
                'relayd_smtp_commands_total{verb="MAIL"}': 20,
                'relayd_smtp_commands_total{verb="DATA"}': 20,
                'relayd_replies_total{code="354"}': 20,
                'relayd_replies_total{code="221"}': 2,
                "relayd_sessions_total": 2,
                "relayd_commit_duration_seconds_count": 1,
                # What both sessions bring at the same time is one wait.
                "relayd_fsync_duration_seconds_count": 10,
                "relayd_dns_lookups_total": 2,
                "relayd_dns_duration_seconds_count": 2,
                "relayd_exchanger_connections_total": 1,
                "relayd_exchanger_greeting_duration_seconds_count": 1,
                'relayd_queue_messages{state="new"}': 0,
                "relayd_spool_free_bytes": 1,
            },
        )
        assert found["relayd_recipients_failed_total"] == 0
        assert found["relayd_worker_restarts_total"] == 0
        assert found["relayd_bugs_total"] == 0
        assert found["relayd_healthy"] == 1
        assert monitor.get("/healthz") == (200, "all is well\n")
        assert monitor.get("/")[0] == 404
        if promtool is not None:
            body = monitor.get("/metrics")[1]
            command = [promtool, "check", "metrics"]
            said = subprocess.run(command, input=body, capture_output=True, text=True, check=False)
            assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
        # How quick an exchanger is outlives the processes that measured it.
        running.stop()
        running.start()
        found = monitor.wait(running, {'relayd_exchanger_greeting_seconds{exchanger="mx.example.test"}': 0.0})
        assert found['relayd_exchanger_greeting_seconds{exchanger="mx.example.test"}'] < 30


@needs_postfix
def test_no_counter_goes_down_when_processes_die_or_are_replaced() -> None:
    """Scrape after scrape, over kills and a reload; the deaths are counted."""
    with Exchanger("127.0.0.2") as exchanger, monitored(delivery=through(exchanger)) as (running, monitor):
        running.start()
        send(running, 10)
        seen = monitor.wait(running, {ACCEPTED: 10, RELAYED: 10, 'relayd_replies_total{code="354"}': 10})
        for kill, counter in (("worker 1", "worker"), ("delivery", "delivery"), ("metrics", "metrics")):
            running.kill(kill)
            now = monitor.wait(running, {f"relayd_{counter}_restarts_total": 1})
            assert fallen(seen, now) == {}
            seen = now
        running.wait(lambda: len(running.pids()) == 5, "all processes")
        assert running.command("reload").returncode == 0
        send(running, 10)
        now = monitor.wait(running, {ACCEPTED: 20, RELAYED: 20})
        assert fallen(seen, now) == {}


@needs_postfix
@pytest.mark.skipif(not is_possible(), reason="no Python that the relay's user can execute")
def test_an_upgrade_goes_on_with_the_counters_and_tells_its_version() -> None:
    """The new code reads what the old one has counted."""
    with Exchanger("127.0.0.2") as exchanger, monitored(delivery=through(exchanger)) as (running, monitor):
        running.python = code(running.folder / "one", "1").python
        running.start()
        send(running, 10)
        seen = monitor.wait(running, {ACCEPTED: 10, RELAYED: 10, 'relayd_info{version="1"}': 1})
        running.python = code(running.folder / "two", "2").python
        said = running.command("upgrade")
        assert said.returncode == 0, said.stderr
        send(running, 10)
        now = monitor.wait(running, {ACCEPTED: 20, RELAYED: 20, 'relayd_info{version="2"}': 1})
        assert fallen(seen, now) == {}


@needs_postfix
def test_mail_goes_on_without_the_process_of_metrics() -> None:
    """Killed again and again; nothing of mail notices."""
    with Exchanger("127.0.0.2") as exchanger, monitored(delivery=through(exchanger)) as (running, _):
        running.start()
        others = {role: running.pids(role) for role in ("worker", "delivery")}
        for count in (1, 2):
            running.kill("metrics")
            running.wait_for_events("process.died", count)
            send(running, 10)
            running.wait_for_events("delivery.delivered", 10 * count)
            running.wait(lambda: bool(running.pids("metrics")), "metrics")
        assert {role: running.pids(role) for role in others} == others


def test_a_file_in_failed_is_no_good_health() -> None:
    """503 and the line; the number beside the metrics says so too."""
    with monitored() as (running, monitor):
        running.start()
        running.stop()
        path = running.spool / "failed" / "1k14a4efgkeycdf1f,S=5"
        path.write_text("nomsg")
        running.start()
        monitor.wait(running, {'relayd_queue_messages{state="failed"}': 1})
        status, line = monitor.get("/healthz")
        assert (status, line) == (503, running.command("status", "--check").stdout)
        assert "1 file" in line
        assert monitor.scrape()["relayd_healthy"] == 0


def test_the_process_of_metrics_holds_no_port_but_its_own_and_gives_way_to_mail() -> None:
    """And it is gone, with its child, after a stop."""
    with monitored() as (running, monitor):
        running.start()
        monitor.wait(running, {"relayd_spool_free_bytes": 1})
        (pid,) = running.pids("metrics")
        process = psutil.Process(pid)
        ports = [each.laddr.port for each in process.net_connections() if each.status == psutil.CONN_LISTEN]
        assert ports == [monitor.port]
        assert process.nice() > psutil.Process(running.pids("worker")[0]).nice()
        family = [process, *process.children(recursive=True)]
        running.stop()
        assert not any(is_there(each) for each in family)
        with pytest.raises(ConnectionRefusedError):
            monitor.get("/metrics")


def test_a_port_that_is_taken_stops_the_start_with_one_line() -> None:
    """The operator is there, and hears it."""
    with monitored() as (running, monitor), monitored() as (other, another):
        running.start()
        other.config.write_text(other.config.read_text().replace(str(another.port), str(monitor.port)))
        said = other.command("start")
        assert said.returncode == 1
        assert said.stderr.splitlines() == [
            f"relayd: metrics: cannot listen at 127.0.0.1 port {monitor.port}: Address already in use"
        ]
        assert other.command("status").returncode == 3


def test_metrics_move_and_are_given_up_and_had_again_by_a_reload() -> None:
    """Where they were, nobody answers any more."""
    with monitored() as (running, monitor):
        text = running.config.read_text()
        running.config.write_text(text.replace("\nlisten = ", "\n#listen = "))
        running.start()
        other = Monitor(free_port())
        for settings, answers, silent in (
            (text, [monitor], [other]),
            (text.replace(str(monitor.port), str(other.port)), [other], [monitor]),
            (text.replace("\nlisten = ", "\n#listen = "), [], [monitor, other]),
            (text, [monitor], [other]),
        ):
            running.config.write_text(settings)
            assert running.command("reload").returncode == 0
            assert all(each.get("/metrics")[0] == 200 for each in answers)
            for each in silent:
                with pytest.raises(ConnectionRefusedError):
                    each.get("/metrics")
