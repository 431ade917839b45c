"""A reception: what one session brings, event by event, and the verdict on each.

It holds the draft of the message that is coming in. Policy decides about recipients and the spool about room;
it carries their answers to the session. A verdict that takes the disk comes later: until then it is busy. It
fails by a reply to the client; a draft that does not become a message is discarded on every way.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from relayd.base.sections import IP
from relayd.receive.policy import Peer
from relayd.receive.service import Service
from relayd.receive.trace import received
from relayd.smtp.address import Address
from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.reply import Reply, reply
from relayd.smtp.server import Content, Data, EndOfData, Event, Session
from relayd.spool.envelope import Envelope, Recipient
from relayd.spool.errors import SpoolError
from relayd.spool.intake import Draft

W = TypeVar("W")

# Mail data that takes more than so many timeouts, and comes slower than so many octets a second, only keeps the
# session open. A person at a keyboard is done long before.
_PATIENCE_TIMEOUTS = 12
_SLOWEST_OCTETS_A_SECOND = 1000


class Reception:
    """See the module. `reached` tells the address of ours that the client connected to.

    `resume` is called with what is to be done when a wait is over; it does it and lets the session go on.
    """

    __slots__ = (
        "_began",
        "_draft",
        "_failure",
        "_peer",
        "_reached",
        "_resume",
        "_routed",
        "_service",
        "_session",
        "_size",
        "id",
        "is_busy",
        "messages",
    )

    def __init__(
        self,
        service: Service,
        session: Session,
        session_id: str,
        peer: Peer,
        reached: Callable[[], IP | None],
        resume: Callable[[Callable[[], None]], None],
    ) -> None:
        self._service = service
        self._session = session
        self._peer = peer
        self._reached = reached
        self._resume = resume
        self._draft: Draft | None = None
        self._failure: SpoolError | None = None
        self._routed: list[Address] = []
        self._began = 0.0
        self._size = 0
        self.id = session_id
        self.is_busy = False
        self.messages = 0

    def judge(self, event: Event) -> None:
        """Answer the event, now or when `is_busy` ends."""
        match event:
            case Content():
                self._take(event.octets)
            case Rcpt():
                self._session.answer(self._judge_rcpt(event.forward_path))
            case Mail():
                self._session.answer(self._judge_mail(event))
            case Data():
                self._begin()
                self._session.answer()
            case EndOfData():
                self._end(event)

    def dribbles(self, now: float, timeout: float) -> bool:
        """Whether mail data has been coming in for long and so slowly that it is no use to wait for its end."""
        lasted = now - self._began
        return (
            self._draft is not None
            and lasted >= _PATIENCE_TIMEOUTS * timeout
            and self._draft.size < lasted * _SLOWEST_OCTETS_A_SECOND
        )

    def drop(self) -> None:
        """The session is over, and what it has not finished with it. Not while busy: a thread has the draft."""
        if self._draft is not None:
            self._draft.discard()
            self._draft = None

    # Verdicts.

    def _judge_mail(self, mail: Mail) -> Reply | None:
        self._routed.clear()
        try:
            self._service.intake.check_room(mail.size or 0)
        except SpoolError as error:
            self._service.spool_trouble(error)
            return error.reply
        return None

    def _judge_rcpt(self, forward_path: Address) -> Reply | None:
        reached = self._reached() if forward_path.is_postmaster else None
        routed = self._service.policy.route(self._peer, forward_path, reached)
        if isinstance(routed, Reply):
            self._service.record.recipient_refused(self.id, self._peer, str(forward_path), routed)
            return routed
        self._routed.append(routed)
        return None

    def _begin(self) -> None:
        transaction = self._session.transaction
        assert transaction is not None
        now = datetime.now(UTC)
        recipients = tuple(Recipient(str(address)) for address in self._routed)
        reverse_path = transaction.mail.reverse_path
        draft = self._service.intake.begin(
            Envelope(
                arrived=now,
                reverse_path=None if reverse_path is None else str(reverse_path),
                recipients=recipients,
                session=self.id,
                client=str(self._peer),
                helo=self._session.client_name,
                body=transaction.mail.body,
            )
        )
        draft.write(
            received(
                helo=self._session.client_name,
                client=self._peer.address,
                hostname=self._service.config.hostname,
                extended=self._session.is_extended,
                message_id=draft.id,
                only_recipient=recipients[0].address if len(recipients) == 1 else None,
                at=now,
            )
        )
        self._draft = draft
        self._failure = None
        self._began = self._service.loop.time()

    def _take(self, octets: bytes) -> None:
        # Without a draft the disk has failed already, and the final dot will hear it.
        if self._draft is not None:
            self._draft.write(octets)
            if self._draft.must_spill:
                self._wait(self._service.in_thread, self._draft.spill, self._spilled)

    def _spilled(self, result: object) -> None:
        if isinstance(result, Exception):
            # At once, since a full disk needs the room now.
            self.drop()
            self._failure = self._service.spool_trouble(result)

    def _end(self, event: EndOfData) -> None:
        self._size = event.size
        if event.fault is not None:
            self._refuse(event.fault)
        elif self._draft is None:
            self._refuse(self._failure.reply if self._failure is not None else SpoolError.reply)
        elif self._draft.is_large:
            self._wait(self._service.in_thread, self._draft.finish, self._finished)
        else:
            self._wait(self._service.commit, self._draft, self._committed)

    def _finished(self, result: object) -> None:
        if isinstance(result, Exception):
            self._committed(result)
        else:
            assert self._draft is not None
            self._wait(self._service.commit, self._draft, self._committed)

    def _committed(self, result: object) -> None:
        """The message is durable, so 250 may be said; or it is not, and the client hears why."""
        if isinstance(result, Exception):
            self._refuse(self._service.spool_trouble(result).reply)
            return
        draft, self._draft = self._draft, None
        assert draft is not None
        # Said before anything else can fail: a client that does not hear it sends the message again.
        self._session.answer(reply(250, "2.0.0", f"Ok: queued as {draft.id}"))
        self.messages += 1
        self._service.record.accepted(self.id, draft, self._size)

    def _refuse(self, verdict: Reply) -> None:
        self.drop()
        self._failure = None
        self._session.answer(verdict)
        self._service.record.message_refused(self.id, verdict)

    def _wait(
        self, begin: Callable[[W, Callable[[object], None]], None], work: W, then: Callable[[object], None]
    ) -> None:
        """Hand over what takes the disk; `then` gets what came of it, an exception included."""

        def over(result: object) -> None:
            self.is_busy = False
            self._resume(partial(then, result))

        begin(work, over)
        self.is_busy = True
