"""A record: what happens in a worker, counted in its slot and written to its log.

Refuses to know what follows from it. What could come without bound, since every client meets it, is written once
a minute.
"""

import traceback
from collections.abc import Callable

from relayd.base import events
from relayd.base.counters import Slot
from relayd.base.log import Log
from relayd.receive.complaints import Complaints
from relayd.receive.policy import Peer
from relayd.smtp.reply import Reply
from relayd.spool.errors import SpoolError, SpoolFailed, SpoolFull
from relayd.spool.intake import Draft


class Record:
    """One worker's; `now` is the loop's clock, in seconds."""

    def __init__(self, slot: Slot, log: Log, now: Callable[[], float]) -> None:
        self._slot = slot
        self._now = now
        self._complaints = Complaints()
        self.log = log

    def session_opened(self, session: str, peer: Peer, open_sessions: int) -> None:
        """A client is there."""
        self._slot.add("sessions")
        self._slot.set("open_sessions", open_sessions)
        self.log.write(events.SessionOpened(session=session, client=str(peer)))

    def session_closed(
        self, session: str, peer: Peer, open_sessions: int, *, messages: int, seconds: float, reason: str
    ) -> None:
        """It is gone, and nothing of its session is left."""
        self._slot.set("open_sessions", open_sessions)
        self.log.write(
            events.SessionClosed(
                session=session, client=str(peer), messages=messages, seconds=seconds, reason=reason
            )
        )

    def session_refused(self, reason: str) -> None:
        """A client was turned away at the door."""
        if self._complaints.is_due(reason, self._now()):
            self.log.write(events.SessionRefused(reason=reason, unsaid=self._complaints.unsaid(reason)))

    def accepted(self, session: str, draft: Draft, size: int) -> None:
        """A message is durable and its 250 said; `size` in octets of mail data."""
        envelope = draft.envelope
        self._slot.add("accepted")
        self._slot.add("accepted_recipients", len(envelope.recipients))
        self.log.write(
            events.MessageAccepted(
                id=draft.id,
                session=session,
                reverse_path=f"<{envelope.reverse_path or ''}>",
                recipients=len(envelope.recipients),
                size=size,
            )
        )

    def message_refused(self, session: str, verdict: Reply) -> None:
        """Mail data was not taken."""
        self._slot.add("refused")
        self.log.write(events.MessageRefused(session=session, reply=str(verdict)))

    def recipient_refused(self, session: str, peer: Peer, recipient: str, verdict: Reply) -> None:
        """A forward-path was not taken."""
        self.log.write(
            events.RecipientRefused(
                session=session, client=str(peer), recipient=f"<{recipient}>", reply=str(verdict)
            )
        )

    def spool_failed(self, error: SpoolError) -> None:
        """The spool could not do its part."""
        if isinstance(error, SpoolFailed) and error.uncertain:
            # Each of these ends the process, and a person has to know.
            self.log.write(events.SpoolTrouble(reason=f"{error}; it is uncertain what was written"))
            return
        kind = "full" if isinstance(error, SpoolFull) else "failed"
        if self._complaints.is_due(kind, self._now()):
            self.log.write(events.SpoolTrouble(reason=str(error), unsaid=self._complaints.unsaid(kind)))

    def bug(self, where: str, error: BaseException) -> None:
        """An exception that nobody expected."""
        self._slot.add("bugs")
        self.log.write(events.Bug(where=where, traceback="".join(traceback.format_exception(error))))
