"""An obedient exchanger, which reads in the addresses what to answer, and what then must have become of each.

`2.550@` is refused as the third recipient, and `dot.451@` as the reverse-path has the final dot put off.
"""

from collections.abc import Sequence

import pytest

from relayd.deliver.parcel import Parcel
from relayd.spool.outcome import Kind, Outcome
from tests.deliver.making import job, parcel
from tests.deliver.town import Town, left
from tests.world.exchanger import EXTENSIONS, Exchanger
from tests.world.session import Session

PIPELINING = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one by one"])

Answered = tuple[Kind, str]


def obedient(exchanger: Exchanger, *, pipelining: bool) -> None:
    """Let the addresses say what is answered."""

    def rcpt(session: Session, line: bytes) -> bytes:
        place, code = line.partition(b"<")[2].partition(b"@")[0].split(b".")
        if code == b"close":
            raise ConnectionAbortedError("closed by the script")
        return b"%s %s\r\n" % (code, place)

    def ends(step: bytes, session: Session) -> bytes | None:
        assert session.reverse_path is not None
        when, code = session.reverse_path.partition(b"<")[2].partition(b"@")[0].split(b".")
        if when != step or not session.recipients:
            return None
        if code == b"close":
            raise ConnectionAbortedError("closed by the script")
        return b"%s the end\r\n" % code

    exchanger.extensions = tuple(each for each in EXTENSIONS if pipelining or each != b"PIPELINING")
    exchanger.replies = {
        "RCPT": rcpt,
        "DATA": lambda session, line: ends(b"data", session),
        ".": lambda session, line: ends(b"dot", session),
    }


def message(number: int, end: str, codes: Sequence[str]) -> Parcel:
    """One for recipients that get these codes."""
    recipients = [f"{place}.{code}@example.net" for place, code in enumerate(codes)]
    return parcel(job(*recipients, message_id=f"{number:017}", reverse_path=f"{end}@example.org"))


def kind_of(code: str) -> Kind:
    """The class of a code (RFC 5321 section 4.2.1)."""
    return {"2": Kind.DELIVERED, "4": Kind.DEFERRED, "5": Kind.FAILED}[code[0]]


def assert_answered(town: Town, sent: Sequence[tuple[Parcel, Sequence[Answered]]]) -> None:
    """Each recipient of each message has one outcome, and it is this."""
    found: dict[tuple[str, int], list[Outcome]] = {}
    for reported, outcomes, _ in town.reports:
        for outcome in outcomes:
            for recipient in outcome.recipients:
                found.setdefault((reported.job.id, recipient), []).append(outcome)
    for each, answers in sent:
        for recipient, (kind, begins) in enumerate(answers):
            own = found.pop((each.job.id, recipient), [])
            assert [outcome.kind for outcome in own] == [kind], (each, recipient, own)
            assert str(own[0].reply).startswith(begins), (each, recipient, own)
    assert found == {}
    assert town.bugs == []


async def carry(town: Town, sent: Sequence[Parcel]) -> None:
    """Until nobody is under way any more."""
    destination = town.destination()
    for each in sent:
        destination.add(each)
    await town.reported(len(sent))
    await left(town, destination)
