"""Too many recipients for one transaction: a next hop takes some, and the rest goes in another (RFC 5321 section
4.5.3.1.10), whatever it does then; who has the mail gets it no second time.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.spool.outcome import Kind
from tests.deliver.making import job, parcel
from tests.deliver.running import run
from tests.deliver.town import Town, surroundings
from tests.hostile.next_hop_answers import PIPELINING, assert_answered, carry, obedient
from tests.world.session import Session


@PIPELINING
@pytest.mark.parametrize("answer", [b"452 4.5.3 too many\r\n", b"552 5.5.3 too many\r\n", b"452 no\r\n"])
def test_recipients_beyond_those_that_a_server_takes_go_in_further_transactions(
    tmp_path: Path, answer: bytes, pipelining: bool
) -> None:
    """On the same connection, at once; everybody gets the mail, and nobody gets it twice (section 4.5.3.1.10)."""
    addresses = [f"user{number}@example.net" for number in range(5)]

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return answer if len(session.recipients) == 3 else None

    with surroundings(tmp_path) as around:
        (exchanger,) = around.exchangers
        obedient(exchanger, pipelining=pipelining)
        exchanger.replies = {"RCPT": rcpt}
        sent = parcel(job(*addresses))

        async def main() -> Town:
            town = around.town(idle=0.01)
            await carry(town, [sent])
            return town

        assert_answered(run(main), [(sent, [(Kind.DELIVERED, "250")] * len(addresses))])
        assert [len(each.recipients) for each in exchanger.messages] == [3, 2]
        paths = [path for each in exchanger.messages for path in each.recipients]
        assert paths == [b"RCPT TO:<%s>" % address.encode() for address in addresses]
        assert exchanger.connections == 1


@PIPELINING
def test_a_server_that_always_has_too_many_recipients_is_not_asked_without_end(
    tmp_path: Path, pipelining: bool
) -> None:
    """One recipient a transaction, and then none: what is left waits, each with its own reply."""

    def rcpt(session: Session, line: bytes) -> bytes | None:
        taken = sum(each.startswith(b"DATA") for each in session.lines)
        return b"452 4.5.3 too many\r\n" if taken > 2 or session.recipients else None

    with surroundings(tmp_path) as around:
        (exchanger,) = around.exchangers
        obedient(exchanger, pipelining=pipelining)
        exchanger.replies = {"RCPT": rcpt}

        async def main() -> Town:
            town = around.town(idle=0.01)
            await carry(town, [parcel(job(*(f"user{number}@example.net" for number in range(8))))])
            return town

        town = run(main)
        kinds = [each.kind for _, found, _ in town.reports for each in found for _ in each.recipients]
        assert len(kinds) == 8
        assert set(kinds) == {Kind.DELIVERED, Kind.DEFERRED}
        assert kinds.count(Kind.DELIVERED) == len(exchanger.messages)
        assert town.bugs == []


def second(session: Session) -> bool:
    """Whether a transaction has had its mail data already on this connection."""
    return b"DATA" in session.lines


def ends_at(answer: bytes | None) -> Callable[[Session, bytes], bytes | None]:
    """In the second transaction of a connection, this reply at this verb, or the end of the connection."""

    def script(session: Session, line: bytes) -> bytes | None:
        if sum(each.startswith(b"MAIL") for each in session.lines) < 2:
            return None
        if answer is None:
            raise ConnectionAbortedError("closed by the script")
        return answer

    return script


@PIPELINING
@pytest.mark.parametrize(
    ("verb", "answer", "kind"),
    [
        ("MAIL", None, None),
        ("MAIL", b"421 4.3.2 going\r\n", None),
        ("MAIL", b"451 4.3.0 later\r\n", Kind.DEFERRED),
        ("MAIL", b"550 5.7.1 no\r\n", Kind.FAILED),
        ("DATA", None, Kind.DEFERRED),
        ("DATA", b"354 go on\r\n421 4.3.2 going\r\n", Kind.DEFERRED),
        (".", None, Kind.IN_DOUBT),
        (".", b"452 4.3.1 full\r\n", Kind.DEFERRED),
        (".", b"554 5.6.0 no\r\n", Kind.FAILED),
    ],
)
def test_what_becomes_of_the_rest_changes_nothing_for_those_that_have_the_mail(
    tmp_path: Path, verb: str, answer: bytes | None, kind: Kind | None, pipelining: bool
) -> None:
    """The first has it and is done; the rest ends in its own class, or goes over another connection."""

    def rcpt(session: Session, line: bytes) -> bytes | None:
        return b"452 4.5.3 too many\r\n" if session.recipients and not second(session) else None

    sent = parcel(job("a@example.net", "b@example.net", "c@example.net"))

    async def main() -> Town:
        town = around.town(idle=0.01)
        await carry(town, [sent])
        return town

    with surroundings(tmp_path) as around:
        (exchanger,) = around.exchangers
        obedient(exchanger, pipelining=pipelining)
        exchanger.replies = {"RCPT": rcpt, verb: ends_at(answer)}
        town = run(main)
    found = {place: each.kind for _, outcomes, _ in town.reports for each in outcomes for place in each.recipients}
    assert sum(len(each.recipients) for _, outcomes, _ in town.reports for each in outcomes) == len(found) == 3
    assert found[0] is Kind.DELIVERED
    assert kind is None or found[1] is found[2] is kind
    taken = [
        path for each in exchanger.messages if each.reply and each.reply[:1] == b"2" for path in each.recipients
    ]
    assert len(set(taken)) == len(taken) == sum(each is Kind.DELIVERED for each in found.values())
    assert town.bugs == []
