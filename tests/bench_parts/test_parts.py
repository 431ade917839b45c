"""The benchmark's instruments, each without a server under test."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from relayd.spool.layout import parse_name
from tests.bench.__main__ import main
from tests.bench.cases import CASES, zone
from tests.bench.client import ClientError, Load, send
from tests.bench.family import Family
from tests.bench.floor import write
from tests.bench.looking import Calls, perf_counts, strace_counts
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer

_STRACE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.54    0.000804           8       100           fsync
 20.00    0.000100          14         7         3 openat
  0.00    0.000000           0         2           fdatasync
------ ----------- ----------- --------- --------- ----------------
100.00    0.000904           8       109         3 total
"""

_PERF = {
    "raw_syscalls:sys_enter": 500,
    "syscalls:sys_enter_fsync": 30,
    "syscalls:sys_enter_fdatasync": 7,
    "syscalls:sys_enter_syncfs": 0,
    "syscalls:sys_enter_sync": 0,
}


def test_the_table_of_strace_is_read() -> None:
    """With and without errors, and not its sum."""
    assert strace_counts(_STRACE) == Calls(all=109, syncs=102)


def test_a_table_without_a_row_is_no_figure() -> None:
    """A zero would look like one."""
    assert strace_counts(_STRACE.partition(" 61.54")[0]) is None


def test_the_counts_of_perf_are_read() -> None:
    """Those that wait for the medium are among all."""
    text = "# started on Wed\n\n" + "".join(f"{count},,{event},1000,100.00,,\n" for event, count in _PERF.items())
    assert perf_counts(text) == Calls(all=500, syncs=37)


def test_perf_must_have_counted_everything() -> None:
    """Where it may not, it says so instead of a number."""
    text = "".join(f"{count},,{event},1000,100.00,,\n" for event, count in _PERF.items())
    assert perf_counts(text.replace("30,", "<not supported>,")) is None


@pytest.mark.parametrize("is_pipelined", [False, True])
def test_the_client_sends_each_message_once_and_times_it(is_pipelined: bool) -> None:
    """To the domains in turn, over all of its sessions, with a body of the size that was asked for."""
    load = Load(messages=5, sessions=2, octets=1000, domains=("one.test", "two.test"), is_pipelined=is_pipelined)
    with Exchanger() as exchanger:
        took, times = send(exchanger.port, load, 10)
        messages = exchanger.messages
    assert (
        sorted(each.recipients for each in messages)
        == [(b"RCPT TO:<b@one.test>",)] * 3 + [(b"RCPT TO:<b@two.test>",)] * 2
    )
    assert {len(each.data.partition(b"\r\n\r\n")[2]) for each in messages} == {1000}
    assert len(exchanger.sessions) == 2
    assert len(times) == 5
    assert 0 < max(times) <= took


def test_the_client_does_not_go_on_after_a_refusal() -> None:
    """A rate of refusals is no figure."""
    with (
        Exchanger(replies={"RCPT": b"450 4.2.1 Not now\r\n"}) as exchanger,
        pytest.raises(ClientError, match="450"),
    ):
        send(exchanger.port, Load(messages=1, sessions=1, octets=10), 10)


def test_the_client_wants_what_the_case_is_about() -> None:
    """Else the figure would be another case's."""
    with Exchanger(extensions=()) as exchanger:
        for load in (Load(1, 1, 10, is_pipelined=True), Load(1, 1, 10, is_secured=True)):
            with pytest.raises(ClientError, match="does not offer"):
                send(exchanger.port, load, 10)


def test_the_floor_commits_whole_messages(tmp_path: Path) -> None:
    """As many as it was told, in the last group too."""
    spool = tmp_path / "spool"
    took = write(spool, messages=5, group=2, octets=100)
    names = [parse_name(path.name) for path in (spool / "new").iterdir()]
    sizes = [path.stat().st_size for path in (spool / "new").iterdir()]
    assert sorted(each[1] for each in names if each is not None) == sorted(sizes)
    assert len(names) == 5
    assert took["seconds"] > 0


def test_without_a_control_group_the_processes_are_summed() -> None:
    """Those that run and, in their parents' accounts, those that have ended."""
    busy = "import os, subprocess, sys\nsubprocess.run([sys.executable, '-c', 'sum(range(10**6))'])\n"
    program = busy + "print('ready', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        members = Family(None, None)
        assert members.cpu() == 0
        members.root = psutil.Process(process.pid)
        times = members.root.cpu_times()
        assert times.children_user + times.children_system > 0
        assert members.cpu() >= times.user + times.system + times.children_user
        assert members.pids() == [process.pid]
        assert members.pss() > 0
        members.end()
        assert process.wait() != 0


def test_each_case_has_a_name_of_its_own_and_a_destination_that_dns_knows() -> None:
    """A domain without a zone line would be a case of failures."""
    assert len({case.name for case in CASES}) == len(CASES)
    with NameServer(zone()):
        known = {line.split()[0] for line in zone().splitlines()}
    assert {f"{domain}." for case in CASES for domain in case.domains} <= known


def test_a_scaled_case_keeps_a_message_for_each_session() -> None:
    """smtp-source would not open the others."""
    for case in CASES:
        assert case.scaled(0.0).messages == case.sessions
        assert case.scaled(1.0).messages == max(case.messages, case.sessions)


def test_an_unknown_case_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started."""
    with pytest.raises(SystemExit) as ended:
        main(["headlines"])
    assert ended.value.code == 2
    assert "there is no case 'headlines'" in capsys.readouterr().err
