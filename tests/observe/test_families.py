"""The metrics: their names, their sums, and that Prometheus reads them."""

import shutil
import subprocess
from collections.abc import Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families

from relayd.base.counters import CODES, GAUGES, TOTALS, VERBS, Board
from relayd.observe import pages
from relayd.observe.facts import Facts
from relayd.observe.look import Greeting, Look

STATES = {"new": 1, "cur": 2, "hold": 3, "failed": 4}
LOOK = Look(states=STATES, due=2, oldest_due_s=7.5, free=10**10, greetings=(Greeting("mx.test", 0.25),))
promtool = shutil.which("promtool")


def facts(board: Board, look: Look | None = LOOK, findings: Sequence[str] = ()) -> Facts:
    """As of now."""
    slots = board.copy()
    assert slots is not None
    return Facts(version="1.2.3", slots=slots, look=look, look_age=3.0, floor=10**9, findings=findings)


def samples(text: bytes) -> dict[str, float]:
    """Each sample by its name and labels, as Prometheus' own parser reads them."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found
            found[name] = sample.value
    return found


def scraped(board: Board, look: Look | None = LOOK, findings: Sequence[str] = ()) -> dict[str, float]:
    """What a scrape gives."""
    page = pages.metrics(facts(board, look, findings))
    assert (page.status, page.kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return samples(page.body)


def test_every_counter_is_told_and_is_the_sum_of_all_processes() -> None:
    """Each total and gauge once, over all slots."""
    board = Board(3)
    before = scraped(board)
    for name in TOTALS + GAUGES:
        board.slot(0).add(name)
        board.slot(2).add(name, 2)
    after = scraped(board)
    changed = {name for name in after if after[name] != before[name]}
    assert len(changed) == len(TOTALS + GAUGES)
    assert {after[name] for name in changed} == {3}


def test_commands_and_replies_are_by_verb_and_code() -> None:
    """All labels are there from the start, so that a rate has a beginning."""
    board = Board(2)
    board.slot(1).set_dialogue({"MAIL": 5, "other": 1}, {250: 7, 421: 2})
    board.slot(0).set_dialogue({"MAIL": 1}, {250: 1})
    found = scraped(board)
    assert found['relayd_smtp_commands_total{verb="MAIL"}'] == 6
    assert found['relayd_smtp_commands_total{verb="QUIT"}'] == 0
    assert found['relayd_replies_total{code="250"}'] == 8
    assert found['relayd_replies_total{code="421"}'] == 2
    assert sum("relayd_smtp_commands_total{" in name for name in found) == len(VERBS)
    assert sum("relayd_replies_total{" in name for name in found) == len(CODES)


def test_a_histogram_is_cumulative() -> None:
    """Each bucket has all that is below its bound, the last one everything."""
    board = Board(2)
    for seconds in (0.0004, 0.02, 0.02, 1000.0):
        board.slot(1).observe("commit_seconds", seconds)
    found = scraped(board)
    name = "relayd_commit_duration_seconds"
    assert found[f'{name}_bucket{{le="0.0005"}}'] == 1
    assert found[f'{name}_bucket{{le="0.025"}}'] == 3
    assert found[f'{name}_bucket{{le="300"}}'] == 3
    assert found[f'{name}_bucket{{le="+Inf"}}'] == found[f"{name}_count"] == 4
    assert found[f"{name}_sum"] == pytest.approx(1000.0404)


def test_the_spool_is_told_as_it_was_seen() -> None:
    """By folder, with the age of the oldest that is due, and the age of the look itself."""
    found = scraped(Board(1))
    assert {state: found[f'relayd_queue_messages{{state="{state}"}}'] for state in STATES} == STATES
    assert found["relayd_queue_due_messages"] == 2
    assert found["relayd_queue_oldest_due_age_seconds"] == 7.5
    assert found["relayd_spool_look_age_seconds"] == 3
    assert found["relayd_spool_free_bytes"] == 10**10
    assert found['relayd_exchanger_greeting_seconds{exchanger="mx.test"}'] == 0.25


@pytest.mark.parametrize("look", [None, Look(trouble="it hangs")])
def test_what_nobody_has_seen_is_not_made_up(look: Look | None) -> None:
    """An empty queue would be a lie."""
    found = scraped(Board(1), look)
    assert not any("queue" in name or "free" in name.replace("minimum_free", "") for name in found)
    assert found["relayd_spool_look_age_seconds"] == 3


def test_health_is_a_number_here_and_a_line_there() -> None:
    """The same judgement at both."""
    well, ill = facts(Board(1)), facts(Board(1), findings=["the disk is full", "and so on"])
    assert samples(pages.metrics(well).body)["relayd_healthy"] == 1
    assert samples(pages.metrics(ill).body)["relayd_healthy"] == 0
    assert (pages.healthz(well).status, pages.healthz(well).body) == (200, b"all is well\n")
    assert (pages.healthz(ill).status, pages.healthz(ill).body) == (503, b"the disk is full; and so on\n")


@pytest.mark.parametrize(
    "name", ['a"b\\c', "a\nb", "ü.example", "\x1b[2J", "x" * 5000, '"} 1\nrelayd_bugs_total 9']
)
def test_a_name_out_of_dns_stays_one_label(name: str) -> None:
    """Whatever somebody calls an exchanger."""
    found = text_string_to_metric_families(
        pages.metrics(facts(Board(1), Look(states=STATES, greetings=(Greeting(name, 1.0),)))).body.decode()
    )
    greetings = [each for each in found if each.name == "relayd_exchanger_greeting_seconds"]
    assert [sample.labels["exchanger"] for sample in greetings[0].samples] == [name]


@pytest.mark.skipif(promtool is None, reason="needs promtool, of Debian's package prometheus")
@pytest.mark.parametrize("look", [None, LOOK])
def test_promtool_finds_nothing_to_say(look: Look | None) -> None:
    """Names, types, units and help texts are as Prometheus wants them."""
    assert promtool is not None
    page = pages.metrics(facts(Board(2), look))
    said = subprocess.run([promtool, "check", "metrics"], input=page.body, capture_output=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")
