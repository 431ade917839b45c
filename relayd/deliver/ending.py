"""An ending: the last step of an attempt, as the spool's thread takes it, for many messages at once.

Notifications for all that failed in the attempt, and for what is owed from before, are composed there, since that
reads the message; then all is settled. Refuses to know what comes after. What goes wrong is the result of its own
message alone.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from relayd.base.sections import Config
from relayd.deliver.notices import Composed, Notices
from relayd.spool.ids import derived
from relayd.spool.job import Job, Settlement
from relayd.spool.outcome import Outcome
from relayd.spool.protocol import Delivering

_NOTHING = Composed()


class Ending(msgspec.Struct, frozen=True):
    """One message's: `outcomes` that are not recorded yet, `next` the instant of the next attempt.

    `owed` is what the originator is owed word of, by message: in a summary, which goes to `originator`, there are
    several, the first of which is this one. `late` is what the sender is to be told of as a delay. With `owe` all
    of it stays owed; with `told_by` the notification of this ID has told it. With `hold` it is for a person.
    """

    job: Job
    outcomes: tuple[Outcome, ...]
    next: datetime
    owed: tuple[tuple[Job, tuple[Outcome, ...]], ...] = ()
    originator: str = ""
    late: tuple[Outcome, ...] = ()
    hold: bool = False
    owe: bool = False
    told_by: str = ""


class Endings:
    """Carries them out, for the spool's thread."""

    def __init__(self, config: Config, spool: Delivering, notices: Notices) -> None:
        self._spool = spool
        self._notices = notices
        self._lifetime = timedelta(seconds=config.delivery.lifetime)

    def carry_out(self, endings: Sequence[Ending]) -> list[Composed | Exception]:
        """For each what was composed, or why it did not come to its end."""
        results: list[Composed | Exception] = []
        settlements: list[Settlement] = []
        settled: list[int] = []
        for place, ending in enumerate(endings):
            try:
                composed, settlement = self._compose(ending)
            except Exception as error:
                results.append(error)
                continue
            results.append(composed)
            settlements.append(settlement)
            settled.append(place)
        for place, result in zip(settled, self._spool.settle_all(settlements), strict=True):
            if isinstance(result, Exception):
                results[place] = result
        return results

    def _compose(self, ending: Ending) -> tuple[Composed, Settlement]:
        job, outcomes, following = ending.job, ending.outcomes, ending.next
        if ending.owe or ending.told_by:
            return _NOTHING, Settlement(job, outcomes, following, owe=ending.owe, told_by=ending.told_by)
        if not (ending.owed or ending.late):
            return _NOTHING, Settlement(job, outcomes, following, hold=ending.hold)
        is_summary = len(ending.owed) > 1
        try:
            if is_summary:
                composed = Composed((self._notices.summarise(ending.owed, ending.originator),))
            else:
                composed = self._notices.compose(job, [each for _, owed in ending.owed for each in owed])
            late = self._notices.warn(job, ending.late, job.envelope.arrived + self._lifetime)
        except Exception:
            # A bug must not make anybody get a second copy.
            self._spool.record(job, outcomes)
            raise
        notices = (*composed.notices, *late.notices)
        told_by = derived(job.id, notices[0].attempt) if is_summary else ""
        settlement = Settlement(job, outcomes, following, notices, ending.hold, told_by=told_by)
        return Composed(notices, composed.untold, (*composed.errors, *late.errors)), settlement
