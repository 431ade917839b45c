"""The table: figures and verdicts as plain text. Pure."""

from collections.abc import Mapping, Sequence

from tests.bench.bounds import Verdict
from tests.bench.figures import Figures, medians

# Figure, heading, decimals.
_COLUMNS = (
    ("accepted", "accept/s", 0),
    ("delivered", "through/s", 0),
    ("mb_s", "MB/s", 1),
    ("cpu_us", "CPU µs", 0),
    ("fsyncs", "fsyncs", 2),
    ("syscalls", "syscalls", 1),
    ("flushes", "flushes", 2),
    ("p50_ms", "p50 ms", 2),
    ("p99_ms", "p99 ms", 2),
    ("idle_mb", "idle MB", 0),
    ("peak_mb", "peak MB", 0),
)


def rows(case: str, subjects: Mapping[str, Sequence[Figures]]) -> list[list[str]]:
    """A row of medians for each subject of a case."""
    made = []
    for subject, rounds in subjects.items():
        found = medians(rounds)
        cells = [f"{found[name]:.{decimals}f}" if name in found else "" for name, _, decimals in _COLUMNS]
        made.append([case, subject, *cells])
    return made


def table(found: Mapping[str, Mapping[str, Sequence[Figures]]]) -> str:
    """All cases, one row for each subject."""
    head = ["case", "", *(heading for _, heading, _ in _COLUMNS)]
    return aligned([head, *(row for case, subjects in found.items() for row in rows(case, subjects))], words=2)


def judged(verdicts: Sequence[Verdict]) -> str:
    """Each bounded figure with its range, bound and aim."""
    lines = [["figure", "found", "lowest", "highest", "bound", "aim", ""]]
    for each in verdicts:
        sign, unit = ("≥ " if each.bound.is_least else "≤ "), each.bound.unit
        # One more than the limits have, so that a near miss looks like one.
        decimals = 1 if unit else 3
        numbers = [f"{value:.{decimals}f}{unit}" for value in (each.value, each.lowest, each.highest)]
        limits = [f"{sign}{limit:.{decimals - 1}f}{unit}" for limit in (each.bound.bound, each.bound.aim)]
        lines.append([each.bound.text, *numbers, *limits, each.word])
    return aligned(lines, words=1)


def aligned(lines: Sequence[Sequence[str]], words: int) -> str:
    """Columns two spaces apart: the first ones, which are words, to the left, numbers to the right.

    A column that nobody has anything in, but for its heading, is left out.
    """
    used = [number for number in range(len(lines[0])) if any(line[number] for line in lines[1:])]
    widths = {number: max(len(line[number]) for line in lines) for number in used}
    return "\n".join(
        "  ".join(
            line[number].ljust(widths[number]) if number < words else line[number].rjust(widths[number])
            for number in used
        ).rstrip()
        for line in lines
    )
