"""The matrix: each case with its subjects in rotation, and one more run of each server that is looked at closely.

What a case starts has ended when it ends. A subject that does not work ends its case; the others go on. After the
deadline no new round begins.
"""

import os
import pwd
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench import looking, private_postfix
from tests.bench.cases import Case, zone
from tests.bench.counting import counting_sink
from tests.bench.figures import Figures
from tests.bench.ground import Ground
from tests.bench.subjects import Direct, Floor, Server, Subject, Through, relayd
from tests.world.authority import Papers, certify
from tests.world.names import NameServer
from tests.world.relay import USER

# A warm-up has as many messages as this share of a round.
_WARM = 0.1
_SMALL = 0.1
# Enough to count, also when each call is slow.
_LOOKED_AT = 0.5
_IDLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it: rounds, against whom, and for how long.

    A round is ended as a failure after `round_seconds`, and has fewer messages where it would take more than
    `goal_seconds`. `deadline` is on the monotonic clock.
    """

    rounds: int
    has_postfix: bool
    is_looked_at: bool
    round_seconds: float
    goal_seconds: float
    deadline: float


@dataclass(slots=True)
class Result:
    """What was found: the rounds of each subject of each case, what was left out and what failed, with reasons."""

    found: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def measure(cases: list[Case], plan: Plan, ground: Ground) -> Result:
    """Run them all."""
    result = Result()
    for case in cases:
        if case.reason:
            result.left_out[case.name] = case.reason
        elif time.monotonic() >= plan.deadline:
            result.left_out[case.name] = "no time is left"
        else:
            rounds: dict[str, list[Figures]] = {}
            try:
                _case(case, plan, ground, rounds)
            except Exception as error:
                # Whatever it is, the other cases can still say something.
                result.failed[case.name] = f"{type(error).__name__}: {error}"
            result.found[case.name] = rounds
    return result


def _case(case: Case, plan: Plan, ground: Ground, rounds: dict[str, list[Figures]]) -> None:
    with ExitStack() as stack:
        # Each of many destinations has an address of its own.
        papers = _papers(ground) if case.is_secured or case.is_secured_out else None
        exchanger = stack.enter_context(
            counting_sink(
                "0.0.0.0" if len(case.domains) > 1 else "127.0.0.2", papers if case.is_secured_out else None
            )
        )
        subjects: list[Subject] = []
        servers: list[Through] = []
        if case.has_servers:
            names = stack.enter_context(NameServer(zone()))
            server: Server = stack.enter_context(relayd(exchanger.port, names.address[1], papers, case.waiting))
            servers.append(Through(server, exchanger, ground))
            if plan.has_postfix:
                server = stack.enter_context(
                    private_postfix.postfix(
                        ground.folder, exchanger.port, papers, case.waiting, is_secured_out=case.is_secured_out
                    )
                )
                servers.append(Through(server, exchanger, ground))
            subjects += servers
        if case.has_floor:
            subjects += [Floor(ground), Direct(exchanger)]
        for subject in subjects:
            rounds[subject.name] = []
        time.sleep(_IDLE_SECONDS)
        looks: dict[str, Figures] = {each.name: {"idle_mb": each.server.family.pss() / 1e6} for each in servers}
        warm = case.scaled(_WARM)
        found = [subject.run(warm, plan.round_seconds) for subject in subjects]
        slowest = min(each.get("delivered", each["accepted"]) for each in found)
        # A slow machine is no failure.
        case = case.scaled(min(1.0, slowest * plan.goal_seconds / case.messages))
        for number in range(plan.rounds):
            if number and time.monotonic() >= plan.deadline:
                break
            # Each comes first once, since it may matter.
            first = number % len(subjects)
            for subject in [*subjects[first:], *subjects[:first]]:
                rounds[subject.name].append(subject.run(case, plan.round_seconds))
            _say(case, number, {name: each[-1] for name, each in rounds.items()})
        for each in servers:
            if plan.is_looked_at and time.monotonic() < plan.deadline:
                looks[each.name] |= _look(each, case, plan, ground.folder)
            # No round of its own: it has none of the rates.
            rounds[each.name].append(looks[each.name])


def _look(subject: Through, case: Case, plan: Plan, folder: Path) -> Figures:
    members = subject.server.family
    figures: Figures = {}
    if case.octets > 10**6:
        # Before the large ones: memory that was needed once may stay.
        with looking.peak(members) as highest:
            subject.run(replace(case, octets=round(case.octets * _SMALL)), plan.round_seconds)
        figures["small_peak_mb"] = highest[0] / 1e6
    with looking.peak(members) as highest:
        subject.run(case, plan.round_seconds)
    figures["peak_mb"] = highest[0] / 1e6
    fewer = case.scaled(_LOOKED_AT)
    counted = looking.calls(members, lambda: subject.run(fewer, plan.round_seconds), folder)
    if counted is not None:
        figures["fsyncs"] = counted.syncs / fewer.messages
        figures["syscalls"] = counted.all / fewer.messages
    return figures


def _papers(ground: Ground) -> Papers:
    folder = ground.folder / "papers"
    folder.mkdir(exist_ok=True)
    return certify(folder, "relay.example.org", owner=pwd.getpwnam(USER).pw_uid if USER else os.geteuid())


def _say(case: Case, number: int, latest: dict[str, Figures]) -> None:
    shown = ", ".join(f"{name} {_shown(each)}" for name, each in latest.items())
    print(f"{case.name}, round {number + 1}: {shown}", file=sys.stderr, flush=True)


def _shown(each: Figures) -> str:
    if "p50_ms" in each:
        return f"{each['p50_ms']:.2f} ms"
    return f"{each.get('delivered', each['accepted']):.0f}/s"
