"""An incoming message: its draft in the spool, and how far its mail data has come.

It writes the trace line, completes the header for clients that may relay, and keeps the pace. Refuses to know
replies. A draft that the disk has failed is forgotten at once, since a full disk needs the room; what still comes
of the message is then dropped.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from relayd.receive.header import Completion
from relayd.receive.pace import Pace
from relayd.receive.policy import Peer
from relayd.receive.trace import protocol_of, received
from relayd.smtp.server import Session
from relayd.spool.envelope import Envelope, Recipient
from relayd.spool.errors import SpoolError
from relayd.spool.intake import Draft, Intake


class Incoming:
    """One message's; `failure` is why there is no draft any more, `protocol` the keyword of its trace line."""

    __slots__ = ("_completion", "draft", "failure", "pace", "protocol")

    def __init__(self, draft: Draft, completion: Completion | None, began: float, protocol: str) -> None:
        self._completion = completion
        self.draft: Draft | None = draft
        self.failure: SpoolError | None = None
        self.pace = Pace(began)
        self.protocol = protocol

    def write(self, octets: bytes) -> None:
        """Take the next octets of the mail data."""
        if self.draft is not None:
            if self._completion is not None:
                octets = self._completion.feed(octets)
            if octets:
                self.draft.write(octets)

    def finish(self) -> None:
        """All octets have come."""
        if self.draft is not None and self._completion is not None and (rest := self._completion.finish()):
            self.draft.write(rest)

    def fail(self, failure: SpoolError) -> None:
        """The disk has failed."""
        self.discard()
        self.failure = failure

    def discard(self) -> None:
        """It does not become a message."""
        if self.draft is not None:
            self.draft.discard()
            self.draft = None


def begin(
    intake: Intake,
    session: Session,
    *,
    session_id: str,
    peer: Peer,
    hostname: str,
    recipients: Sequence[Recipient],
    began: float,
) -> Incoming:
    """The message of the session's transaction; `began` is the loop's clock."""
    transaction = session.transaction
    assert transaction is not None
    mail = transaction.mail
    now = datetime.now(UTC)
    draft = intake.begin(
        Envelope(
            arrived=now,
            reverse_path=None if mail.reverse_path is None else str(mail.reverse_path),
            recipients=tuple(recipients),
            session=session_id,
            client=str(peer),
            helo=session.client_name,
            user=session.user,
            body=mail.body,
            smtputf8=mail.smtputf8,
            ret=mail.ret,
            envid=mail.envid,
        )
    )
    protocol = protocol_of(
        extended=session.is_extended,
        secure=session.is_secure,
        authenticated=bool(session.user),
        utf8=mail.smtputf8,
    )
    draft.write(
        received(
            helo=session.client_name,
            client=peer.literal,
            hostname=hostname,
            protocol=protocol,
            message_id=draft.id,
            only_recipient=recipients[0].address if len(recipients) == 1 else None,
            at=now,
        )
    )
    completion = Completion(at=now, message_id=f"{draft.id}@{hostname}") if session.is_trusted else None
    return Incoming(draft, completion, began, protocol)
