"""Makes what the tests of delivery are about: jobs, outcomes and replies, complete but for what a test names."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from relayd.deliver.parcel import Parcel
from relayd.smtp.reply import Reply, reply
from relayd.spool.envelope import Envelope, Recipient
from relayd.spool.job import Job
from relayd.spool.outcome import Kind, Outcome

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
ID = "01jwn9q3w5zabcdef"
NO_SUCH_USER = reply(550, "5.1.1", "no such user")
BUSY = reply(451, "4.7.1", "come again")
TAKEN = reply(250, "2.0.0", "Ok")


def envelope(
    *recipients: str,
    reverse_path: str | None = "alice@example.org",
    arrived: datetime = NOON,
    body: str | None = None,
) -> Envelope:
    """A message's envelope; one recipient when none is named."""
    return Envelope(
        arrived=arrived,
        reverse_path=reverse_path,
        recipients=tuple(map(Recipient, recipients or ("bob@example.net",))),
        body=body,
    )


def job(
    *recipients: str,
    message_id: str = ID,
    reverse_path: str | None = "alice@example.org",
    arrived: datetime | None = None,
    body: str | None = None,
    still_open: Sequence[int] | None = None,
    attempt: int = 1,
    size: int = 100,
    owed: tuple[Outcome, ...] = (),
    is_cut: bool = False,
    is_warned: bool = False,
) -> Job:
    """A claimed message that arrived just now; all recipients are open unless told otherwise."""
    made = envelope(*recipients, reverse_path=reverse_path, arrived=arrived or datetime.now(UTC), body=body)
    indexes = range(len(made.recipients)) if still_open is None else still_open
    return Job(message_id, 1, made, tuple(indexes), attempt, size, owed, is_cut=is_cut, is_warned=is_warned)


def asking(of: Job, *notify: str | None, **parameters: Any) -> Job:
    """The same job whose client gave NOTIFY for each recipient, and these parameters (RFC 3461 section 4)."""
    recipients = tuple(
        msgspec.structs.replace(each, notify=wish)
        for each, wish in zip(of.envelope.recipients, notify or (None,) * len(of.envelope.recipients), strict=True)
    )
    changed = msgspec.structs.replace(of.envelope, recipients=recipients, **parameters)
    return msgspec.structs.replace(of, envelope=changed)


def parcel(of: Job, *recipients: int, destination: str = "example.net") -> Parcel:
    """A parcel with these of the job's recipients, or with all."""
    return Parcel(of, destination, recipients or of.open)


def outcome(
    kind: Kind,
    *recipients: int,
    answer: Reply | None = None,
    attempt: int = 1,
    at: datetime = NOON,
    exchanger: str = "mx.example.net",
    address: str = "192.0.2.1:25",
) -> Outcome:
    """An outcome for these recipients, the first one when none is named."""
    usual = {Kind.DELIVERED: TAKEN, Kind.RELAYED: TAKEN, Kind.FAILED: NO_SUCH_USER}
    return Outcome(
        at=at,
        recipients=recipients or (0,),
        kind=kind,
        reply=answer or usual.get(kind, BUSY),
        attempt=attempt,
        exchanger=exchanger,
        address=address,
    )
