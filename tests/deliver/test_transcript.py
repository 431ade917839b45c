"""What an attempt's outcomes have of the dialogues that led to them, against exchangers on loopback."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relayd.deliver.parcel import with_transcript
from relayd.spool.dialogue import Dialogue
from relayd.spool.outcome import Kind
from tests.deliver.making import job, outcome, parcel
from tests.deliver.running import on_each_loop, run
from tests.deliver.town import FIRST, SECOND, TWO_TIERS, Surroundings, Town, letters, surroundings
from tests.world.exchanger import Exchanger
from tests.world.session import Session


async def attempted(town: Town) -> tuple[Dialogue, ...]:
    """Have one message tried; the dialogues of its outcomes."""
    destination = town.destination()
    destination.add(parcel(job()))
    ((_, outcomes, _),) = await town.reported(1)
    for task in destination.stop():
        task.cancel()
    return tuple(each for outcome in outcomes for each in outcome.transcript)


def dialogues(around: Surroundings, greeting: float = 10.0) -> list[list[str]]:
    """For each exchanger that was tried, its name and what was said, without the times."""

    async def main() -> tuple[Dialogue, ...]:
        return await attempted(around.town(greeting=greeting))

    return [
        [each.exchanger, *(re.sub(r"^[0-9]+\.[0-9]{3} ", "", line) for line in each.lines)] for each in run(main)
    ]


def test_a_delivery_does_not_ask_for_it() -> None:
    """It costs nothing to speak of where all goes well."""

    def asked() -> tuple[Dialogue, ...]:
        pytest.fail("asked")

    taken = (outcome(Kind.DELIVERED, 0),)
    assert with_transcript(taken, asked) is taken


def test_one_outcome_of_an_attempt_has_it() -> None:
    """A hundred refused recipients do not have it a hundred times; which goes first stays first."""
    said = (Dialogue(at=datetime.now(UTC), exchanger="mx", address="192.0.2.1:25", lines=("0.000 S 220",)),)
    kinds = [Kind.DELIVERED, Kind.FAILED, Kind.DEFERRED]
    found = with_transcript(tuple(map(outcome, kinds)), lambda: said)
    assert [(each.kind, each.transcript) for each in found] == list(zip(kinds, [(), said, ()], strict=True))


def test_a_message_that_is_taken_has_none(tmp_path: Path) -> None:
    """From the port to the report."""
    with surroundings(tmp_path) as around:
        assert dialogues(around) == []


@on_each_loop
def test_a_deferred_message_has_all_that_was_said(tmp_path: Path, loop: str) -> None:
    """From the greeting to the reply that deferred it, at the exchanger that said it, from connect() on."""

    async def main() -> None:
        town = around.town()
        town.now = 50.0

        def greeting(session: Session, line: bytes) -> None:
            town.now = 52.5

        around.exchangers[0].replies["CONNECT"] = greeting
        before = datetime.now(UTC)
        (said,) = await attempted(town)
        assert before <= said.at + timedelta(seconds=2.5) <= datetime.now(UTC)
        assert (said.exchanger, said.address) == ("mx.example.net", f"{FIRST}:{around.port}")
        assert {line.partition(" ")[0] for line in said.lines} == {"2.500"}
        texts = [line.partition(" ")[2] for line in said.lines]
        assert texts[:2] == ["S 220 exchanger.test ESMTP", "C EHLO relay.example.org"]
        assert texts[-2:] == ["C [mail data and its end]", "S 451 4.3.0 not now"]
        assert [text for text in texts if text.startswith("C ")] == [
            "C EHLO relay.example.org",
            "C MAIL FROM:<alice@example.org> SIZE=100",
            "C RCPT TO:<bob@example.net>",
            "C DATA",
            "C [mail data and its end]",
        ]

    with surroundings(tmp_path) as around:
        around.exchangers[0].replies = {".": b"451 4.3.0 not now\r\n"}
        run(main, loop)


def test_exchangers_that_failed_before_mail_are_there_in_order(tmp_path: Path) -> None:
    """Both, when the second one defers the message."""
    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        first, second = around.exchangers
        first.replies = {"CONNECT": b"554 not for you\r\n"}
        second.replies = {"MAIL": b"450 4.2.0 greylisted\r\n"}
        one, two = dialogues(around)
        assert one == ["one.example.net", "S 554 not for you", "C QUIT"]
        assert two[:2] == ["two.example.net", "S 220 exchanger.test ESMTP"]
        assert "S 450 4.2.0 greylisted" in two


def _refuses(exchanger: Exchanger) -> None:
    exchanger.stop()


def _is_silent(exchanger: Exchanger) -> None:
    exchanger.replies = {"CONNECT": b""}


def _hangs_up(exchanger: Exchanger) -> None:
    exchanger.drop_after = "EHLO"


@pytest.mark.parametrize(
    ("trouble", "end"),
    [
        (_refuses, rf"- connect to {re.escape(FIRST)}:[0-9]+: Connection refused"),
        (_is_silent, "- timeout while waiting for: greeting"),
        (_hangs_up, "- lost the connection while waiting for: reply to EHLO.*"),
    ],
)
def test_an_exchanger_that_cannot_be_spoken_to_has_how_it_ended(
    tmp_path: Path, trouble: Callable[[Exchanger], None], end: str
) -> None:
    """Though no exchanger came to MAIL at all."""
    with surroundings(tmp_path) as around:
        trouble(around.exchangers[0])
        (said,) = dialogues(around, greeting=0.1)
        assert said[0] == "mx.example.net"
        assert re.fullmatch(end, said[-1])


def test_all_that_wait_for_a_dead_destination_have_it(tmp_path: Path) -> None:
    """They share the failure."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1")
        destination = town.destination()
        for each in letters(3):
            destination.add(each)
        found = [outcomes[0].transcript for _, outcomes, _ in await town.reported(3)]
        assert found[0] == found[1] == found[2]
        assert len(found[0]) == 1

    with surroundings(tmp_path) as around:
        around.exchangers[0].stop()
        run(main)


def test_a_lost_connection_after_the_final_dot_is_in_it(tmp_path: Path) -> None:
    """In doubt is what one asks about most."""
    with surroundings(tmp_path) as around:
        around.exchangers[0].drop_after_final_dot = True
        (said,) = dialogues(around)
        assert said[-2] == "C [mail data and its end]"
        assert said[-1].startswith("- lost the connection while waiting for: reply to the final dot")


def test_a_kept_connection_shows_nobody_elses_transaction(tmp_path: Path) -> None:
    """Neither the one before, nor the exchangers that failed before the connection was there."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1")
        destination = town.destination()
        for name in ("first", "second"):
            destination.add(parcel(job(f"{name}@example.net", message_id=f"{name:0<17}")))
        reports = await town.reported(2)
        for task in destination.stop():
            task.cancel()
        first, second = (outcomes[0].transcript for _, outcomes, _ in reports)
        assert [each.exchanger for each in first] == ["one.example.net", "two.example.net"]
        (said,) = second
        assert said.lines[:2] == first[1].lines[:2]
        text = "\n".join(said.lines)
        assert "RCPT TO:<second@example.net>" in text
        assert "first@" not in text

    with surroundings(tmp_path, TWO_TIERS, FIRST, SECOND) as around:
        around.exchangers[0].replies = {"CONNECT": b"421 busy\r\n"}
        around.exchangers[1].replies = {"RCPT": b"450 4.2.0 greylisted\r\n"}
        run(main)
        assert around.exchangers[1].connections == 1


def test_a_message_that_does_not_fit_the_exchanger_shows_why(tmp_path: Path) -> None:
    """Its EHLO reply has no 8BITMIME; the transaction before it on the same connection is not there."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1")
        town.spool.mail = {"7bit": [b"text\r\n"], "8bit": [b"Gr\xc3\xbc\xc3\x9fe\r\n"]}
        destination = town.destination()
        destination.add(parcel(job("first@example.net", message_id="7bit")))
        destination.add(parcel(job("second@example.net", message_id="8bit", body="8BITMIME")))
        (_, outcomes, _) = (await town.reported(2))[1]
        for task in destination.stop():
            task.cancel()
        assert [each.kind for each in outcomes] == [Kind.FAILED]
        (said,) = outcomes[0].transcript
        assert said.lines[-1].endswith("S 250 exchanger.test")

    with surroundings(tmp_path) as around:
        around.exchangers[0].extensions = ()
        run(main)
