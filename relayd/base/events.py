"""An event: one thing that happened, as a typed record with one name, whoever writes it down.

The names are the interface to whoever reads the log: they are given here and nowhere else. Refuses to know
files and formats.
"""

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", omit_defaults=True):
    """What all events share: the message's `id` and the `session` come first, where they exist.

    The order of the fields is that of the line.
    """


class SessionOpened(Event, frozen=True, kw_only=True, tag="session.opened"):
    """A client connected."""

    session: str
    client: str


class SessionClosed(Event, frozen=True, kw_only=True, tag="session.closed"):
    """A session ended; `seconds` is how long it was open, `messages` what it left us."""

    session: str
    client: str
    messages: int
    seconds: float
    reason: str


class SessionRefused(Event, frozen=True, kw_only=True, tag="session.refused"):
    """Clients were turned away at the door; said once a minute for each reason, as in SpoolTrouble.

    `client` is the one that the line is about, where it has a name.
    """

    client: str = ""
    reason: str
    unsaid: int | None = None


class TlsStarted(Event, frozen=True, kw_only=True, tag="tls.started"):
    """From here on the session is encrypted."""

    session: str
    client: str
    version: str
    cipher: str


class TlsFailed(Event, frozen=True, kw_only=True, tag="tls.failed"):
    """A handshake had no good end, and the session has ended."""

    session: str
    client: str
    reason: str


class AuthAccepted(Event, frozen=True, kw_only=True, tag="auth.accepted"):
    """The client has proved to be this user."""

    session: str
    client: str
    user: str
    mechanism: str


class AuthRefused(Event, frozen=True, kw_only=True, tag="auth.refused"):
    """It has not; `user` is whom it claimed to be."""

    session: str
    client: str
    user: str
    mechanism: str
    reply: str


class ClientLimited(Event, frozen=True, kw_only=True, tag="client.limited"):
    """A client has sent all that it may send in an hour; said once for each client and hour."""

    session: str
    client: str
    user: str = ""
    reply: str


class RecipientRefused(Event, frozen=True, kw_only=True, tag="recipient.refused"):
    """A forward-path that policy did not take."""

    session: str
    client: str
    recipient: str
    reply: str


class MessageAccepted(Event, frozen=True, kw_only=True, tag="message.accepted"):
    """A message is durable and was acknowledged; `size` in octets of mail data, as the client sent it.

    `protocol` says whether it came in TLS and from a user (RFC 3848).
    """

    id: str
    session: str
    client: str
    user: str = ""
    protocol: str = ""
    reverse_path: str
    recipients: int
    size: int


class MessageRefused(Event, frozen=True, kw_only=True, tag="message.refused"):
    """Mail data was not taken; `id` is what the message would have been named, where it came so far."""

    id: str = ""
    session: str
    client: str
    reply: str


class DeliveryAttempted(Event, frozen=True, kw_only=True, tag="delivery.attempted"):
    """An exchanger did not come to MAIL; the next one is tried, where there is one."""

    id: str
    session: str = ""
    destination: str
    exchanger: str
    address: str
    reply: str


class DeliveryInClear(Event, frozen=True, kw_only=True, tag="delivery.in_clear"):
    """An exchanger offers TLS and did not come to it, as the reply says: it gets the mail without."""

    id: str
    session: str = ""
    exchanger: str
    address: str
    reply: str


class _Delivery(Event, frozen=True, kw_only=True):
    id: str
    # In which the message came; a notification came in none.
    session: str = ""
    recipients: str
    attempt: int
    reply: str
    exchanger: str = ""
    address: str = ""
    greeting_ms: float | None = None
    chosen: str = ""
    # The version and the cipher, where the exchanger was spoken to in TLS.
    tls: str = ""
    # How old the message was when the exchanger took it.
    age_s: float | None = None


class DeliveryDelivered(_Delivery, frozen=True, kw_only=True, tag="delivery.delivered"):
    """The exchanger took it; `chosen` says why that one, with the runner-up's figure."""


class DeliveryDeferred(_Delivery, frozen=True, kw_only=True, tag="delivery.deferred"):
    """Not now."""


class DeliveryFailed(_Delivery, frozen=True, kw_only=True, tag="delivery.failed"):
    """Never."""


class DeliveryInDoubt(_Delivery, frozen=True, kw_only=True, tag="delivery.in_doubt"):
    """The connection ended after the final dot; it will be tried again, which may make a second copy."""


class CircuitOpened(Event, frozen=True, kw_only=True, tag="circuit.opened"):
    """A destination could not be reached; none of its messages is tried before `until`.

    With `address` it is only that address of an exchanger, which is not tried before another one may be.
    """

    destination: str
    exchanger: str = ""
    address: str = ""
    failures: int
    until: str
    reply: str


class CircuitClosed(Event, frozen=True, kw_only=True, tag="circuit.closed"):
    """A destination that could not be reached was reached again; with `address` an address of an exchanger."""

    destination: str
    exchanger: str = ""
    address: str = ""


class DsnQueued(Event, frozen=True, kw_only=True, tag="dsn.queued"):
    """A notification went into the spool, about the message `about`; a summary has a line for each of several.

    `session` is that of the message which it is about.
    """

    id: str
    session: str = ""
    about: str
    recipient: str


class DsnOmitted(Event, frozen=True, kw_only=True, tag="dsn.omitted"):
    """Recipients failed and nobody is told: there is nobody to tell, or who sent it wants to hear nothing."""

    id: str
    session: str = ""
    recipients: str
    reply: str


class MessageRemoved(Event, frozen=True, kw_only=True, tag="queue.removed"):
    """A message left the queue without being delivered to all."""

    id: str
    session: str = ""
    reason: str


class QueueMoved(Event, frozen=True, kw_only=True, tag="queue.moved"):
    """A message has gone from one folder of the spool to another, by an operator's hand or as the reason says.

    In failed/ is what is no sound message of ours: then `id` is the file's name, where it has no ID.
    """

    id: str
    session: str = ""
    was: str = ""
    now: str
    reason: str


class MessageUnfinished(Event, frozen=True, kw_only=True, tag="queue.unfinished"):
    """A power cut had left a part of a message that was never acknowledged; it is gone."""

    id: str
    reason: str


class MessageLinked(Event, frozen=True, kw_only=True, tag="queue.linked"):
    """A message's file has other names too: a copy elsewhere shares its mtime, which is the schedule."""

    id: str
    state: str
    links: int


class RecoveryDone(Event, frozen=True, kw_only=True, tag="recovery.done"):
    """What a start found in the spool.

    `waiting` are due now, `scheduled` later, `held` by a person. `swept` drafts were removed, `notices`
    half-queued notifications finished, `orphans` are journals without a message, `set_aside` went to failed/.
    """

    waiting: int
    scheduled: int
    held: int = 0
    swept: int = 0
    notices: int = 0
    orphans: int = 0
    set_aside: int = 0


class SpoolTrouble(Event, frozen=True, kw_only=True, tag="spool.failed"):
    """The spool could not be written or read; clients were told so.

    What happens to every client is said once a minute; `unsaid` is how often it happened since.
    """

    id: str = ""
    reason: str
    unsaid: int | None = None


class ProcessStarted(Event, frozen=True, kw_only=True, tag="process.started"):
    """A process of ours begins; `version` is relayd's."""

    role: str
    version: str


class ProcessReady(Event, frozen=True, kw_only=True, tag="process.ready"):
    """It does its work; the pid `child` is what its own lines begin with."""

    role: str
    child: int | None = None
    detail: str = ""


class ProcessDied(Event, frozen=True, kw_only=True, tag="process.died"):
    """It ended and was not meant to; `in_a_row` counts early deaths, which make it wait for its next start.

    What is being replaced, or was to replace another, is not started again.
    """

    role: str
    child: int
    reason: str
    restart_in_s: float | None
    in_a_row: int | None = None


class ProcessHung(Event, frozen=True, kw_only=True, tag="process.hung"):
    """It makes no progress: `stack` says where each of its threads is.

    It is `killed` and replaced, unless the disk holds it up: that is said again each minute.
    """

    role: str
    child: int
    reason: str
    seconds: float
    killed: bool
    stack: str = ""


class ProcessRetired(Event, frozen=True, kw_only=True, tag="process.retired"):
    """It ended as it was told."""

    role: str
    child: int


class ConfigLoaded(Event, frozen=True, kw_only=True, tag="config.loaded"):
    """The configuration in force."""

    source: str


class ConfigRefused(Event, frozen=True, kw_only=True, tag="config.refused"):
    """A reload came to nothing; `source` is what stays in force."""

    source: str
    reason: str


class ConfigWarning(Event, frozen=True, kw_only=True, tag="config.warning"):
    """A setting that works and deserves a second look."""

    warning: str


class LogDropped(Event, frozen=True, kw_only=True, tag="log.dropped"):
    """The log could not be written for so long that lines were given up."""

    lines: int


class Bug(Event, frozen=True, kw_only=True, tag="bug"):
    """An exception that nobody expected: a defect of relayd, and please report it."""

    id: str = ""
    session: str = ""
    where: str
    traceback: str
