"""Means: what all couriers and destinations share, and where they turn with what parcels come to. Values only."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from relayd.deliver.mail import Mail
from relayd.deliver.parcel import Parcel, Via
from relayd.deliver.quotas import Quotas
from relayd.deliver.ways import Ways
from relayd.spool.outcome import Outcome

Report = Callable[[Parcel, tuple[Outcome, ...], Via], None]


@dataclass(frozen=True)
class Means:
    """`report`, `postpone` and `divide` do not raise.

    A parcel that is postponed was not tried, and comes again at an instant. One that is divided will be reported
    in two. `promise`, where there is one, writes down before the mail data goes that it may have arrived; it
    raises SpoolError. `is_behind` says whether the spool is far behind with what exchangers have taken, and
    `caught_up` waits until it is not. `leaving` are the connections that have said QUIT.
    """

    ways: Ways
    quotas: Quotas
    mail: Mail
    report: Report
    postpone: Callable[[Parcel, datetime], None]
    divide: Callable[[Parcel], None]
    promise: Callable[[Parcel, Via], Awaitable[None]] | None
    is_behind: Callable[[], bool]
    caught_up: Callable[[], Awaitable[None]]
    bug: Callable[[str, Exception], None]
    leaving: set["asyncio.Future[None]"] = field(default_factory=set)
