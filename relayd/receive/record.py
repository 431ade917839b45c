"""A record: what happens in a worker, counted in its slot and written to its log.

Refuses to know what follows from it. What could come without bound, since every client meets it, is written once
a minute.
"""

import traceback
from collections.abc import Callable, Iterable

from relayd.base import events
from relayd.base.counters import Slot
from relayd.base.log import Log
from relayd.receive.complaints import Complaints
from relayd.receive.policy import Peer
from relayd.smtp.census import Census
from relayd.smtp.event import Auth
from relayd.smtp.reply import Reply
from relayd.spool.errors import SpoolError, SpoolFailed, SpoolFull
from relayd.spool.intake import Draft

# Of the name that a client gives itself; the log escapes it.
_LONGEST_USER = 255


class Record:
    """One worker's; `now` is the loop's clock, in seconds."""

    def __init__(self, slot: Slot, log: Log, now: Callable[[], float]) -> None:
        self._slot = slot
        self._now = now
        self._complaints = Complaints()
        self.log = log

    def measured(self, census: Census, commits: Iterable[float], syncs: Iterable[float]) -> None:
        """What was said until now, and how many seconds each commit and sync took since the last time."""
        self._slot.set_dialogue(census.commands, census.replies)
        self._slot.observe("commit_seconds", *commits)
        self._slot.observe("fsync_seconds", *syncs)

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

    def session_refused(self, reason: str, client: object = "") -> None:
        """A client was turned away at the door."""
        self._slot.add("sessions_refused")
        if self._complaints.is_due(reason, self._now()):
            unsaid = self._complaints.unsaid(reason)
            self.log.write(events.SessionRefused(client=str(client), reason=reason, unsaid=unsaid))

    def tls_started(self, session: str, peer: Peer, version: str, cipher: str) -> None:
        """A handshake is done."""
        self._slot.add("tls_sessions")
        self.log.write(events.TlsStarted(session=session, client=str(peer), version=version, cipher=cipher))

    def tls_failed(self, session: str, peer: Peer, reason: str) -> None:
        """A handshake will never be done."""
        self._slot.add("tls_failures")
        self.log.write(events.TlsFailed(session=session, client=str(peer), reason=reason))

    def authenticated(self, session: str, peer: Peer, said: Auth, refusal: Reply | None) -> None:
        """A client has proved to be a user, or not. The password stays with the caller."""
        self._slot.add("authenticated" if refusal is None else "auth_failures")
        client, user, mechanism = str(peer), said.user[:_LONGEST_USER], said.mechanism
        self.log.write(
            events.AuthAccepted(session=session, client=client, user=user, mechanism=mechanism)
            if refusal is None
            else events.AuthRefused(
                session=session, client=client, user=user, mechanism=mechanism, reply=str(refusal)
            )
        )

    def users_unreadable(self, error: Exception) -> None:
        """The file of users cannot be read, so that nobody can prove to be anybody."""
        if not isinstance(error, (OSError, ValueError)):
            self.bug("users", error)
        elif self._complaints.is_due("users", self._now()):
            self.log.write(events.ConfigWarning(warning=f"users cannot be read: {error}"))

    def limited(self, session: str, peer: Peer, user: str, verdict: Reply, *, is_new: bool) -> None:
        """A client has sent all that it may in an hour; it is written down when that is new."""
        self._slot.add("limited")
        if is_new:
            self.log.write(events.ClientLimited(session=session, client=str(peer), user=user, reply=str(verdict)))

    def accepted(self, draft: Draft, size: int, protocol: str) -> None:
        """A message is durable and its 250 said; `size` in octets, `protocol` that of its trace line."""
        envelope = draft.envelope
        self._slot.add("accepted")
        self._slot.add("accepted_recipients", len(envelope.recipients))
        self.log.write(
            events.MessageAccepted(
                id=draft.id,
                session=envelope.session,
                client=envelope.client,
                user=envelope.user,
                protocol=protocol,
                reverse_path=f"<{envelope.reverse_path or ''}>",
                recipients=len(envelope.recipients),
                size=size,
            )
        )

    def message_refused(self, session: str, peer: Peer, message_id: str, verdict: Reply) -> None:
        """Mail data was not taken; `message_id` is its draft's, where it had one still."""
        self._slot.add("refused")
        self.log.write(events.MessageRefused(id=message_id, session=session, client=str(peer), reply=str(verdict)))

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

    def bug(self, where: str, error: BaseException, session: str = "") -> None:
        """An exception that nobody expected."""
        self._slot.add("bugs")
        told = "".join(traceback.format_exception(error))
        self.log.write(events.Bug(session=session, where=where, traceback=told))
