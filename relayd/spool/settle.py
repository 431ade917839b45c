"""Settling: what follows an attempt. Outcomes first, then notifications, then the end or the next date.

Each step leaves, when the process dies right after it, a spool from which the next start goes on without a loss;
docs/spool.md has the table. Each step is remembered in the claim, so that when the disk fails the same call again
goes on where it stopped. A notification is written in tmp/, the journal says that it exists, and only then it
becomes visible: so the journal is right about it whenever a crash comes, and it is queued once.

Refuses to know the schedule. Raises SpoolError.
"""

import contextlib
from collections.abc import Callable, Container, Iterator, Sequence, Set
from datetime import datetime

from relayd.spool.claim import Claim
from relayd.spool.disk import Disk
from relayd.spool.envelope import pack
from relayd.spool.errors import SpoolFull, from_os
from relayd.spool.ids import derived
from relayd.spool.job import Notice
from relayd.spool.layout import STATES, Layout, name_of
from relayd.spool.ledger import Fate, Ledger, Line, accepted
from relayd.spool.outcome import Notified, Outcome, Scheduled, has_delivery
from relayd.spool.reserve import Reserve
from relayd.spool.tidy import Tidying
from relayd.spool.troubles import Troubles

_DEFERRALS = "write down why messages wait"


class Settling:
    """The steps, for the claims of one queue."""

    def __init__(
        self,
        layout: Layout,
        disk: Disk,
        ledger: Ledger,
        reserve: Reserve,
        tidying: Tidying,
        troubles: Troubles,
        now: Callable[[], datetime],
    ) -> None:
        self._layout = layout
        self._disk = disk
        self._ledger = ledger
        self._reserve = reserve
        self._tidying = tidying
        self._troubles = troubles
        self._now = now

    # Outcomes.

    def record(self, claim: Claim) -> None:
        """Make durable what the claim has noted."""
        self._save(claim)
        self.enter(self._unentered(claim, told=None))

    def record_attempt(self, claim: Claim, attempt: int, following: datetime) -> None:
        """The same at the end of an attempt, with the date of the next one where there is one."""
        if claim.open and not claim.is_scheduled:
            claim.is_scheduled = True
            claim.unsaved.append(Scheduled(at=self._now(), attempt=attempt, next=following))
        if claim.untold:
            # Where somebody got it, that must be known before the notification is written, which takes its time;
            # else one append will say both.
            if has_delivery(entry for entry in claim.unsaved if isinstance(entry, Outcome)):
                self._save(claim)
        elif claim.open or claim.journal.exists:
            self._save_waiting(claim)
        # Else all have it at once: the end of the file says so, and no journal is needed.

    def _save_waiting(self, claim: Claim) -> None:
        """Save, but for a message that has only to wait do without when there is no room."""
        try:
            self._save(claim)
        except SpoolFull as error:
            if any(isinstance(entry, Outcome) and entry.kind.is_final for entry in claim.unsaved):
                raise
            # Nobody gets a second copy because a deferral is forgotten, and the queue must go on to make room.
            self._troubles.met(_DEFERRALS, str(error))
            claim.unsaved.clear()

    def _save(self, claim: Claim) -> None:
        if not claim.unsaved:
            return
        with _errors(f"journal of {claim.id}"):
            claim.journal.append(claim.unsaved, self._reserve.spend)
        claim.unsaved.clear()
        self._troubles.over(_DEFERRALS)

    def enter(self, lines: Sequence[Line]) -> None:
        """Write lines into the ledger, in one append."""
        # The journal has it; the audit will show it as not entered, which is the truth.
        with contextlib.suppress(OSError):
            self._ledger.append(lines)

    def _unentered(self, claim: Claim, told: Set[int] | None) -> list[Line]:
        """What the ledger is told: of failures when it is known in which attempts somebody was told of them."""
        lines: list[Line] = []
        kept: list[Outcome] = []
        for outcome in claim.unentered:
            kind = outcome.kind
            if told is None and kind.is_failure:
                kept.append(outcome)
            elif kind.is_final:
                lines.append(Line(outcome.at, _fate(outcome, told or ()), claim.id, outcome.recipients))
        claim.unentered = kept
        return lines

    # Notifications.

    def notify(self, claim: Claim, notices: tuple[Notice, ...], told_by: str = "") -> list[Line]:
        """Queue what is owed, but for what the notification `told_by` has told; give what is to be entered now."""
        untold = claim.untold
        if not (untold or notices):
            return self._unentered(claim, told=frozenset())
        for notice in notices:
            if notice.attempt not in claim.prepared:
                claim.prepared[notice.attempt] = self._prepare(claim, notice)
        if not claim.is_told:
            attempts = {each.attempt for each in untold} | {notice.attempt for notice in notices}
            self._tell(claim, sorted(attempts), told_by)
        self._publish(claim, notices)
        told = {each.attempt for each in untold} if told_by else {notice.attempt for notice in notices}
        return self._unentered(claim, told=told)

    def _prepare(self, claim: Claim, notice: Notice) -> tuple[str, int]:
        """Write a notification, durable but not yet a message; what was there of it before is written again."""
        path = self._layout.prepared(claim.id, notice.attempt)
        content = pack(notice.envelope) + notice.mail_data
        with _errors(f"notification about {claim.id}"):
            with contextlib.suppress(FileNotFoundError):
                self._disk.unlink(path)
            fd = self._disk.create(path)
            try:
                self._disk.write(fd, content)
                self._disk.sync(fd)
            finally:
                self._disk.close(fd)
            # Its name too: from the next step on it is what the journal promises.
            self._disk.sync_folder(self._layout.folder("tmp"))
        return derived(claim.id, notice.attempt), len(content)

    def _tell(self, claim: Claim, attempts: list[int], told_by: str) -> None:
        now = self._now()
        claim.unsaved += [
            Notified(at=now, attempt=attempt, message=claim.prepared.get(attempt, (told_by, 0))[0])
            for attempt in attempts
        ]
        claim.is_told = True
        self._save(claim)

    def _publish(self, claim: Claim, notices: tuple[Notice, ...]) -> None:
        """Make notifications visible. Until new/ is synced a crash may undo it; the next start does it again."""
        self._save(claim)
        for notice in notices:
            if notice.attempt not in claim.visible:
                message_id, size = claim.prepared[notice.attempt]
                try:
                    self._disk.rename(
                        self._layout.prepared(claim.id, notice.attempt),
                        self._layout.message("new", name_of(message_id, size)),
                    )
                except OSError as error:
                    if isinstance(error, FileNotFoundError):
                        # Somebody has cleared tmp/: it is written anew.
                        del claim.prepared[notice.attempt]
                    raise from_os(error, f"notification {message_id}") from error
                claim.visible.add(notice.attempt)
                self._tidying.moved("new")
                with contextlib.suppress(OSError):
                    self._ledger.append([accepted(self._now(), message_id, notice.envelope)])

    # The end of an attempt.

    def release(self, claim: Claim, due: float) -> str:
        """Give the message its next date, in cur/; give the folder where it is, or "" when it is in none.

        Where somebody has moved it during the attempt, it stays where they put it, and its journal counts there;
        what was claimed from hold/ stays there too.
        """
        if claim.state == "hold":
            return self._find(claim)
        name = claim.name
        target = self._layout.message("cur", name)
        with _errors(f"move {claim.id} to cur/"):
            try:
                self._disk.touch(self._layout.message(claim.state, name), due)
                if claim.state != "cur":
                    self._disk.rename(self._layout.message(claim.state, name), target)
                    self._tidying.moved(claim.state)
                    self._tidying.moved("cur")
                return "cur"
            except FileNotFoundError:
                state = self._find(claim)
            if state == "cur":
                with contextlib.suppress(FileNotFoundError):
                    self._disk.touch(target, due)
            return state

    def hold(self, claim: Claim) -> None:
        """Set the message aside in hold/, unless somebody has put it elsewhere meanwhile."""
        if claim.state == "hold":
            return
        with _errors(f"move {claim.id} to hold/"), contextlib.suppress(FileNotFoundError):
            self._disk.rename(
                self._layout.message(claim.state, claim.name), self._layout.message("hold", claim.name)
            )
            self._tidying.moved(claim.state)
            self._tidying.moved("hold")

    def end(self, claim: Claim) -> None:
        """Take the message away, wherever it is by now, and its journal after it."""
        try:
            self._disk.unlink(self._layout.message(claim.state, claim.name))
            self._tidying.moved(claim.state)
        except OSError as error:
            # It is there still or again, so what is known of it must be too, before anything else.
            self._save(claim)
            if not isinstance(error, FileNotFoundError):
                raise from_os(error, f"unlink {claim.id}") from error
            if not self._end_elsewhere(claim):
                # Somebody may bring it back: then its journal says that it is done. The next start sweeps it.
                return
        if claim.journal.exists:
            self._tidying.ended(claim.id)

    def _end_elsewhere(self, claim: Claim) -> bool:
        state = self._find(claim)
        while state:
            with _errors(f"unlink {claim.id}"), contextlib.suppress(FileNotFoundError):
                self._disk.unlink(self._layout.message(state, claim.name))
                self._tidying.moved(state)
                return True
            state = self._find(claim)
        return False

    def _find(self, claim: Claim) -> str:
        """The folder in which a message is by now; people move it by its name."""
        for state in STATES:
            with _errors(f"look for {claim.id}"), contextlib.suppress(FileNotFoundError):
                self._disk.lstat(self._layout.message(state, claim.name))
                return state
        return ""


def _fate(outcome: Outcome, told: Container[int]) -> Fate:
    if not outcome.kind.is_failure:
        return Fate.DELIVERED
    return Fate.FAILED if outcome.attempt in told else Fate.UNDELIVERABLE


@contextlib.contextmanager
def _errors(doing: str) -> Iterator[None]:
    """Operating system's errors become the spool's."""
    try:
        yield
    except OSError as error:
        raise from_os(error, doing) from error
