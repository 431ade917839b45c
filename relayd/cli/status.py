"""`relayd status`: the processes, what waits in the spool, and what went through since the start."""

import argparse
import time
from pathlib import Path
from typing import Any

import psutil

from relayd.base import health, units
from relayd.base.config import Config
from relayd.cli import checking, outward
from relayd.cli.arguments import configuration
from relayd.cli.output import as_json, clean, complain, octets, plural, table
from relayd.deliver.keeping import Keeping
from relayd.master import control, pidfile
from relayd.master.control import NotRunning, StatusPlease
from relayd.master.report import Listening, Process, Report
from relayd.spool.layout import Layout
from relayd.spool.pause import EVERYTHING, Pause
from relayd.spool.view import View

_FAILED = 1
NOT_RUNNING = 3


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    config = configuration(arguments)
    if arguments.check:
        return _check(config, as_facts=arguments.json)
    now = time.time()
    try:
        report = control.ask(config.process.pid_file, StatusPlease())
    except NotRunning:
        report = None
        pid = pidfile.running(config.process.pid_file)
        if pid is not None:
            complain(f"the master (pid {pid}) does not answer")
            return _FAILED
    spool = _spool(config.spool.directory, now)
    memory = Keeping(Layout(str(config.spool.directory)), None, time.time, time.time).read()
    blocked = outward.warning(config, memory, now)
    wrong = _wrong(report, config)
    if arguments.json:
        facts = {"running": report is not None, **_processes(report, now), "spool": spool}
        print(as_json({**facts, "wrong": wrong, "outward_blocked": blocked is not None}))
    else:
        for line in _in_words(report, spool, config.spool.directory, now):
            print(line)
        if blocked is not None:
            print(blocked)
        for line in wrong:
            print(f"wrong: {clean(line)}")
    return 0 if report is not None else NOT_RUNNING


def _check(config: Config, *, as_facts: bool) -> int:
    """Whether mail makes progress, in one line."""
    checked = checking.check(config)
    found = health.judge(checked.facts, config.health) if checked.is_running else []
    line = health.in_words(found) if checked.is_running else "relayd is not running"
    if as_facts:
        print(
            as_json({"running": checked.is_running, "healthy": checked.is_running and not found, "found": found})
        )
    else:
        print(clean(line))
    return (_FAILED if found else 0) if checked.is_running else NOT_RUNNING


def _wrong(report: Report | None, config: Config) -> list[str]:
    """What `--check` finds; nothing of a relay that does not run."""
    if report is None:
        return []
    return health.judge(checking.together(report, checking.see(config.spool.directory), config), config.health)


def _processes(report: Report | None, now: float) -> dict[str, Any]:
    if report is None:
        return {}
    return {
        "version": report.version,
        "pid": report.pid,
        "uptime_s": round(now - report.started),
        "state": report.state,
        "user": report.user,
        "listening": [each.place for each in report.listening],
        "listeners": report.listening,
        "processes": [
            {
                "role": each.role,
                "pid": each.pid,
                "state": each.state,
                "uptime_s": round(now - each.started),
                "memory": memory(each.pid),
                "restarts": each.restarts,
                **each.gauges,
            }
            for each in report.processes
        ],
        "totals": report.totals,
    }


def memory(pid: int) -> int:
    """A process's own share of memory (PSS) in octets, 0 where the system does not tell us."""
    try:
        return int(psutil.Process(pid).memory_full_info().pss) if pid else 0
    except (psutil.Error, OSError):
        return 0


def _spool(directory: Path, now: float) -> dict[str, Any]:
    try:
        summary = View(directory).summary(now)
    except FileNotFoundError:
        return {}
    return {
        "due": summary.due,
        "waiting": summary.new + summary.cur,
        "held": summary.hold,
        "failed": summary.failed,
        "paused": sorted(Pause(Layout(str(directory))).current()),
        "oldest_due_s": None if summary.oldest_due is None else max(0, round(now - summary.oldest_due)),
    }


def _in_words(report: Report | None, spool: dict[str, Any], directory: Path, now: float) -> list[str]:
    lines = ["relayd is not running"] if report is None else _running(report, now)
    lines.append("")
    if not spool:
        return [*lines, f"spool {directory}: not there yet"]
    oldest = spool["oldest_due_s"]
    lines.append(
        f"spool {directory}: {plural(spool['waiting'], 'message waits', 'messages wait')}, {spool['due']} due now"
        + (f" (the oldest for {units.in_words(oldest)})" if oldest is not None else "")
        + f"; {spool['held']} on hold, {spool['failed']} in failed/"
    )
    if spool["paused"]:
        paused = "all deliveries" if EVERYTHING in spool["paused"] else ", ".join(spool["paused"])
        lines.append(f"paused by the operator: {paused}")
    if report is not None:
        totals = report.totals
        lines.append(
            f"since the start: {plural(totals['sessions'], 'session')}, "
            f"{plural(totals['accepted'], 'message')} accepted "
            f"for {plural(totals['accepted_recipients'], 'recipient')}; "
            f"recipients {totals['delivered']} delivered, {totals['deferred']} times deferred, "
            f"{totals['failed']} failed, {totals['in_doubt']} in doubt"
        )
        lines += doors(totals)
        if totals["bugs"]:
            lines.append(
                f"{plural(totals['bugs'], 'bug')} met; each is in the log as the event bug: please report it"
            )
    return lines


def doors(totals: dict[str, int]) -> list[str]:
    """What became of sessions before any mail, as lines: none where there is nothing to tell."""
    lines = []
    if totals["tls_sessions"] or totals["authenticated"]:
        lines.append(
            f"{plural(totals['tls_sessions'], 'session')} encrypted, {totals['authenticated']} authenticated"
        )
    refused = [
        f"{totals[name]} {words}"
        for name, words in (
            ("sessions_refused", "turned away at the door"),
            ("tls_failures", "without a TLS handshake"),
            ("auth_failures", "wrong passwords"),
            ("limited", "over the limit of an hour"),
        )
        if totals[name]
    ]
    if refused:
        lines.append(f"refused clients: {', '.join(refused)}; the log says which")
    return lines


def _running(report: Report, now: float) -> list[str]:
    rows: list[tuple[str, ...]] = [("process", "pid", "state", "up", "memory", "sessions", "restarts")]
    rows += [_row(each, now) for each in report.processes]
    places = ", ".join(map(_place, report.listening))
    return [
        f"relayd {report.version} is {report.state} as user {report.user}, listening at {places}",
        "",
        *(f"  {line}" for line in table(rows, right=frozenset({1, 4, 5, 6}))),
    ]


def _place(each: Listening) -> str:
    """A listener with what clients find there: "127.0.0.1:587 (STARTTLS, AUTH required)"."""
    words = {"starttls": "STARTTLS", "implicit": "TLS", "off": ""}
    auth = {"off": "", "offered": "AUTH", "required": "AUTH required"}[each.auth]
    found = ", ".join(filter(None, (words[each.tls], auth, "PROXY" if each.proxy else "")))
    return f"{each.place} ({found})" if found else each.place


def _row(each: Process, now: float) -> tuple[str, ...]:
    sessions = str(each.gauges.get("open_sessions", 0)) if each.role.startswith("worker") else ""
    up = units.in_words(now - each.started) if each.pid else ""
    restarts = str(each.restarts) if each.role != "master" else ""
    return each.role, str(each.pid or ""), each.state, up, octets(memory(each.pid)), sessions, restarts
