"""A reception: what one session brings, event by event, and the verdict on each.

It holds the message that is coming in. Policy decides about recipients, the guard about how many, and the spool
about room; it carries their answers to the session. A verdict that takes the disk comes later: until then it is
busy. It fails by a reply to the client; a draft that does not become a message is discarded on every way.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from relayd.base.sections import IP
from relayd.receive.auth import Attempt
from relayd.receive.incoming import Incoming, begin
from relayd.receive.service import Service
from relayd.receive.visit import Visit
from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.event import Abandoned, Auth, Content, Data, EndOfData, Event, StartTls
from relayd.smtp.reply import Reply
from relayd.smtp.server import Session
from relayd.spool.envelope import Recipient
from relayd.spool.errors import SpoolError
from relayd.spool.intake import Draft

R = TypeVar("R")
W = TypeVar("W")


class Host(Protocol):
    """The connection that the session speaks on."""

    def reached(self) -> IP | None:
        """The address of ours that the client connected to."""

    def start_tls(self) -> None:
        """The client may begin it now."""

    def resume(self, step: Callable[[R], None], result: R) -> None:
        """A wait is over: do the step with what came of it, and let the session go on."""


class Reception:
    """See the module."""

    __slots__ = (
        "_host",
        "_incoming",
        "_recipients",
        "_service",
        "_session",
        "_size",
        "_visit",
        "is_busy",
        "messages",
    )

    def __init__(self, service: Service, session: Session, visit: Visit, host: Host) -> None:
        self._service = service
        self._session = session
        self._visit = visit
        self._host = host
        self._incoming: Incoming | None = None
        self._recipients: list[Recipient] = []
        self._size = 0
        self.is_busy = False
        self.messages = 0

    def judge(self, event: Event) -> None:
        """Answer the event, now or when what it takes is done."""
        match event:
            case Content():
                self._take(event.octets)
            case Rcpt():
                self._session.answer(self._judge_rcpt(event))
            case Mail():
                self._session.answer(self._judge_mail(event))
            case Data():
                self._begin()
                self._session.answer()
            case EndOfData():
                self._end(event)
            case StartTls():
                self._host.start_tls()
            case Auth():
                self._authenticate(event)
            case Abandoned():
                self.drop()

    def heard(self, octets: int) -> None:
        """So much came from the client."""
        if self._incoming is not None:
            self._incoming.pace.octets += octets

    def dribbles(self, now: float, timeout: float) -> bool:
        """Whether mail data has been coming in so slowly that it is no use to wait for its end."""
        settings = self._service.config.session
        return self._incoming is not None and self._incoming.pace.is_too_slow(
            now,
            timeout=timeout,
            rate=settings.minimum_rate,
            largest=settings.maximum_message,
            is_trusted=self._session.is_trusted,
        )

    def drop(self) -> None:
        """The session is over, or the transaction, and what it has not finished with it.

        Not while busy: a thread has the draft.
        """
        if self._incoming is not None:
            self._incoming.discard()
            self._incoming = None
        self._recipients.clear()

    def end(self) -> None:
        """Nothing of the session is left. It lets go of its host: no search for cycles has to find the two."""
        self.drop()
        del self._host

    # Verdicts.

    @property
    def _client(self) -> bytes:
        """Whom the guard counts: a user, wherever it comes from, or an address."""
        user = self._session.user
        return b"user:" + user.encode("utf-8", "backslashreplace") if user else self._visit.peer.client

    def _judge_mail(self, mail: Mail) -> Reply | None:
        self._recipients.clear()
        limited = self._service.guard.mail(self._client, self._service.loop.time())
        if limited is not None:
            return self._limited(limited)
        try:
            self._service.intake.check_room(mail.size or 0)
        except SpoolError as error:
            self._service.spool_trouble(error)
            return error.reply
        return None

    def _judge_rcpt(self, rcpt: Rcpt) -> Reply | None:
        address, is_trusted = rcpt.forward_path, self._session.is_trusted
        reached = self._host.reached() if address.is_postmaster else None
        routed = self._service.policy.route(address, reached, may_relay=is_trusted)
        if isinstance(routed, Reply):
            self._service.record.recipient_refused(self._visit.id, self._visit.peer, str(address), routed)
            return routed
        now = self._service.loop.time()
        limited = self._service.guard.rcpt(self._client, len(self._recipients), now)
        if limited is not None:
            return self._limited(limited)
        if is_trusted:
            self._recipients.append(Recipient(str(routed), rcpt.notify, rcpt.orcpt))
        elif not any(each.address == str(routed) for each in self._recipients):
            # A stranger reaches postmaster only: once, however often it is named, and without word of success,
            # which would go to whomever the stranger says it is.
            self._recipients.append(Recipient(str(routed), "NEVER" if rcpt.notify == "NEVER" else None))
        return None

    def _limited(self, verdict: Reply) -> Reply:
        is_new = self._service.guard.is_to_tell(self._client, self._service.loop.time())
        self._service.record.limited(self._visit.id, self._visit.peer, self._session.user, verdict, is_new=is_new)
        return verdict

    def _authenticate(self, said: Auth) -> None:
        authenticator = self._service.authenticator
        assert authenticator is not None
        # The session may be over by then.
        host = self._host

        def over(refusal: Reply | None) -> None:
            self._service.record.authenticated(self._visit.id, self._visit.peer, said, refusal)
            host.resume(self._session.answer, refusal)

        authenticator.verify(Attempt(self._visit.peer.client, said.user, said.password), over)

    def _begin(self) -> None:
        self._incoming = begin(
            self._service.intake,
            self._session,
            session_id=self._visit.id,
            peer=self._visit.peer,
            hostname=self._service.config.hostname,
            recipients=self._recipients,
            began=self._service.loop.time(),
        )

    def _take(self, octets: bytes) -> None:
        incoming = self._incoming
        assert incoming is not None
        incoming.write(octets)
        # Without a draft the disk has failed already, and the end of data will hear it.
        if incoming.draft is not None and incoming.draft.must_spill:
            self._wait(self._service.in_thread, incoming.draft.spill, self._spilled)

    def _spilled(self, result: object) -> None:
        if isinstance(result, Exception):
            assert self._incoming is not None
            self._incoming.fail(self._service.spool_trouble(result))

    def _end(self, event: EndOfData) -> None:
        incoming = self._incoming
        assert incoming is not None
        self._size = event.size
        if event.fault is not None:
            self._refuse(event.fault)
            return
        incoming.finish()
        if incoming.draft is None:
            self._refuse(incoming.failure.reply if incoming.failure is not None else SpoolError.reply)
        elif incoming.draft.is_large:
            self._wait(self._service.in_thread, incoming.draft.finish, self._finished)
        else:
            self._wait(self._service.commit, incoming.draft, self._committed)

    @property
    def _draft(self) -> Draft:
        """What a thread had, so that it is still there."""
        assert self._incoming is not None
        assert self._incoming.draft is not None
        return self._incoming.draft

    def _finished(self, result: object) -> None:
        if isinstance(result, Exception):
            self._committed(result)
        else:
            self._wait(self._service.commit, self._draft, self._committed)

    def _committed(self, result: object) -> None:
        """The message is durable, so 250 may be said; or it is not, and the client hears why."""
        if isinstance(result, Exception):
            self._refuse(self._service.spool_trouble(result).reply)
            return
        draft, incoming, self._incoming = self._draft, self._incoming, None
        assert incoming is not None
        # Said before anything else can fail: a client that does not hear it sends the message again.
        self._session.answer(Reply(250, "2.0.0", (f"Ok: queued as {draft.id}",)))
        self.messages += 1
        self._recipients.clear()
        self._service.record.accepted(draft, self._size, incoming.protocol)
        self._service.guard.accepted(self._client, len(draft.envelope.recipients), self._service.loop.time())

    def _refuse(self, verdict: Reply) -> None:
        draft = None if self._incoming is None else self._incoming.draft
        self.drop()
        self._session.answer(verdict)
        message_id = "" if draft is None else draft.id
        self._service.record.message_refused(self._visit.id, self._visit.peer, message_id, verdict)

    def _wait(
        self, begin: Callable[[W, Callable[[object], None]], None], work: W, then: Callable[[object], None]
    ) -> None:
        """Hand over what takes the disk; `then` gets what came of it, an exception included."""

        def over(result: object) -> None:
            self.is_busy = False
            self._host.resume(then, result)

        begin(work, over)
        self.is_busy = True
