"""The benchmark: relayd beside a private Postfix, and beside the limits, in one run.

It prints one table of medians and each bounded figure with its bound; docs/performance.md says how to read it.
The status is 1 only when something does not work, never for a slow figure. With the name of another benchmark as
the only word it is that one.
"""

import argparse
import importlib
import json
import os
import platform
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from types import FrameType

from tests.bench import private_postfix
from tests.bench.bounds import BOUNDS, verdicts
from tests.bench.cases import CASES, Case
from tests.bench.figures import medians
from tests.bench.ground import Ground, ground
from tests.bench.matrix import Plan, Result, measure
from tests.bench.plot import draw
from tests.bench.table import judged, table
from tests.world.postfix import available

# Each is a module here with a `main`.
OTHERS = ("scale", "sessions", "kept", "choosing")
_HEADLINE = next(case for case in CASES if case.name == "headline")
_QUICK_MESSAGES, _QUICK_ROUNDS = 1500, 3
# Begin no new round after; end a round after; how long a round should be at most, on a slow machine too.
_QUICK_SECONDS, _QUICK_ROUND_SECONDS, _QUICK_GOAL_SECONDS = 30.0, 15.0, 4.0
_ROUND_SECONDS, _GOAL_SECONDS = 120.0, 20.0


def main(words: list[str]) -> int:
    """Measure and print; give the exit status."""
    if len(words) == 1 and words[0] in OTHERS:
        status: int = importlib.import_module(f"tests.bench.{words[0]}").main()
        return status
    options = _parser().parse_args(words)
    if not available():
        print("smtp-source and smtp-sink are missing; Debian's package postfix has them", file=sys.stderr)
        return 1
    # What it has started is ended on the way out.
    signal.signal(signal.SIGTERM, _leave)
    without = "it was not asked for" if options.without_postfix or options.quick else private_postfix.missing()
    rounds = options.rounds or (_QUICK_ROUNDS if options.quick else 5)
    seconds = _QUICK_SECONDS if options.quick else options.minutes * 60
    with ground() as place:
        tempfile.tempdir = str(place.folder)
        plan = Plan(
            rounds=rounds,
            has_postfix=not without,
            is_looked_at=not options.quick,
            round_seconds=_QUICK_ROUND_SECONDS if options.quick else _ROUND_SECONDS,
            goal_seconds=_QUICK_GOAL_SECONDS if options.quick else _GOAL_SECONDS,
            deadline=time.monotonic() + seconds,
        )
        facts = _facts(place, without)
        try:
            result = measure(_chosen(options), plan, place)
        except KeyboardInterrupt:
            return 130
        finally:
            tempfile.tempdir = None
    if options.json:
        print(json.dumps(_as_json(facts, rounds, result), indent=2))
    else:
        _print(facts, rounds, result)
    for case, reason in result.failed.items():
        print(f"{case} FAILED: {reason}", file=sys.stderr)
    if options.plot:
        trouble = draw(result.found, options.plot)
        print(trouble or f"the plot is in {options.plot}", file=sys.stderr)
    return 1 if result.failed else 0


def _parser() -> argparse.ArgumentParser:
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(
        prog="bin/bench",
        description="Measure relayd beside Postfix and beside the limits.",
        epilog=f"cases: {', '.join(names)}. Other benchmarks: bin/bench {' | bin/bench '.join(OTHERS)}.",
    )
    # choices would refuse an empty list (until Python 3.12).
    parser.add_argument("cases", nargs="*", metavar="CASE", type=_name, help="the cases to run; default: all")
    parser.add_argument("--quick", action="store_true", help="relayd against the floor, in less than a minute")
    parser.add_argument("--json", action="store_true", help="everything as JSON instead of the table")
    parser.add_argument("--plot", metavar="FILE", help="draw a PNG too; needs matplotlib")
    parser.add_argument("--rounds", type=_positive, help="rounds of each case; default: 5")
    parser.add_argument(
        "--messages",
        type=_positive,
        help=f"messages a round of the headline, of the other cases in proportion; default: {_HEADLINE.messages}",
    )
    parser.add_argument(
        "--minutes", type=_positive, default=30, help="begin no new round after so many; default: 30"
    )
    parser.add_argument("--without-postfix", action="store_true", help="relayd and the limits only")
    return parser


def _name(word: str) -> str:
    if word not in {case.name for case in CASES}:
        raise argparse.ArgumentTypeError(f"there is no case {word!r}")
    return word


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _chosen(options: argparse.Namespace) -> list[Case]:
    names = options.cases or ([_HEADLINE.name] if options.quick else [case.name for case in CASES])
    messages = options.messages or (_QUICK_MESSAGES if options.quick else _HEADLINE.messages)
    return [case.scaled(messages / _HEADLINE.messages) for case in CASES if case.name in names]


def _facts(place: Ground, without: str) -> dict[str, str]:
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return {
        "machine": f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}",
        "load before": load,
        "queues": place.mount,
        "postfix": f"left out: {without}" if without else private_postfix.version(),
    }


def _print(facts: dict[str, str], rounds: int, result: Result) -> None:
    for what, text in facts.items():
        print(f"{what}: {text}")
    for case in CASES:
        if case.name in result.found:
            print(f"{case.name}: {case.title}")
    for name, reason in result.left_out.items():
        print(f"{name}: left out: {reason}")
    print(
        f"\nMedians of {rounds} rounds in rotation; CPU, fsyncs, system calls and flushes are for each message.\n"
    )
    print(table(result.found))
    said = verdicts(result.found)
    if said:
        print("\nRatios are medians of the rounds' ratios, pair by pair.\n")
        print(judged(said))


def _as_json(facts: dict[str, str], rounds: int, result: Result) -> dict[str, object]:
    return {
        "facts": facts,
        "rounds": rounds,
        "cases": {
            case: {name: {"medians": medians(each), "rounds": each} for name, each in subjects.items()}
            for case, subjects in result.found.items()
        },
        "bounds": [
            {**asdict(each.bound), "value": each.value, "lowest": each.lowest, "highest": each.highest,
             "verdict": each.word}
            for each in verdicts(result.found, BOUNDS)
        ],
        "left_out": result.left_out,
        "failed": result.failed,
    }  # fmt: skip


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
