"""A job: a claimed message; and beside it the values in which its attempt is settled, and what a start found.

Each message makes some of them, and a frozen dataclass costs ten times as much as these structures.
"""

from datetime import datetime

import msgspec

from relayd.spool.envelope import Envelope
from relayd.spool.outcome import Outcome


class Job(msgspec.Struct, frozen=True):
    """A claimed message: `open` are the recipients to try, `owed` outcomes whose notification is missing.

    `attempt` counts from 1; `size` is the mail data in octets. `token` tells this claim from any other. It is
    urgent when a person has put it where it is due now, and cut when the process that tried it last was killed
    after it had begun the final dot. It is warned when its sender was told of the delay.
    """

    id: str
    token: int
    envelope: Envelope
    open: tuple[int, ...]
    attempt: int
    size: int
    owed: tuple[Outcome, ...] = ()
    is_urgent: bool = False
    is_cut: bool = False
    is_warned: bool = False


class Notice(msgspec.Struct, frozen=True):
    """A notification to be queued: about what `attempt` owes the originator."""

    attempt: int
    envelope: Envelope
    mail_data: bytes


class Settlement(msgspec.Struct, frozen=True):
    """How an attempt ended: outcomes not yet recorded, the instant of the next attempt, and what is owed.

    What this attempt or the job owes word of, and has no notice of its attempt, is what nobody is to be told of,
    unless `told_by` is the notification about another message that told of it too. With `owe` it is recorded and
    stays owed, and the message comes again at `next` for that. With `hold` a message that
    has open recipients goes to hold/, for a person, and has no next date.
    """

    job: Job
    outcomes: tuple[Outcome, ...]
    next: datetime
    notices: tuple[Notice, ...] = ()
    hold: bool = False
    owe: bool = False
    told_by: str = ""


class Recovery(msgspec.Struct, frozen=True):
    """What a start found.

    `waiting` are due now, `scheduled` later, `held` set aside by a person. `swept` drafts of processes that are
    gone were removed, `notices` half-queued notifications were finished, `orphans` are journals whose message is
    gone, and so many files were `set_aside` in failed/.
    """

    waiting: int
    scheduled: int
    held: int
    swept: int
    notices: int
    orphans: int
    set_aside: int
