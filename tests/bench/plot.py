"""The plot: rates and processor time of each case as bars, in a PNG. It needs matplotlib; nothing else does."""

import importlib
from collections.abc import Mapping, Sequence

from tests.bench.figures import Figures, medians

_PANELS = (
    ("accepted", "messages/s accepted"),
    ("delivered", "messages/s end to end"),
    ("cpu_us", "CPU µs a message"),
)
_SUBJECTS = ("relayd", "postfix", "floor")


def draw(found: Mapping[str, Mapping[str, Sequence[Figures]]], path: str) -> str:
    """Write the PNG; give why there is none, or an empty string."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        return "no plot: matplotlib is not installed; .venv/bin/python -m pip install matplotlib"
    matplotlib.use("agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    cases = list(found)
    figure, panels = pyplot.subplots(len(_PANELS), 1, figsize=(max(6, 1.3 * len(cases)), 9), squeeze=False)
    width = 0.8 / len(_SUBJECTS)
    for panel, (name, title) in zip(panels[:, 0], _PANELS, strict=True):
        for number, subject in enumerate(_SUBJECTS):
            bars = [
                (place + number * width, medians(found[case][subject])[name])
                for place, case in enumerate(cases)
                if subject in found[case] and name in medians(found[case][subject])
            ]
            if bars:
                panel.bar([x for x, _ in bars], [y for _, y in bars], width, label=subject, color=f"C{number}")
        panel.set_title(title)
        panel.set_xticks([place + 0.4 - width / 2 for place in range(len(cases))], cases, rotation=20)
        # One message of 25 MB takes as long as thousands of 4 KiB.
        panel.set_yscale("log")
        panel.set_ylim(bottom=1)
        panel.legend()
    figure.tight_layout()
    figure.savefig(path)
    return ""
