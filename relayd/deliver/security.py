"""Security: how connections for one message's sake come to MAIL: TLS and credentials as the route has them.

By default TLS is taken where it is offered and the certificate not looked at, since nobody could say what to do
about a bad one. An exchanger that offers TLS and does not come to it gets mail in the clear, on a new connection,
and only mail that has waited: who disturbs one handshake gains nothing. Refuses to choose. What fails is a Reply.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from relayd.base import events
from relayd.base.sections import Route, TlsMode
from relayd.deliver.connecting import connect
from relayd.deliver.connection import Connection, Manner
from relayd.deliver.exchangers import Candidate
from relayd.deliver.limits import Limits
from relayd.deliver.password import PasswordError, read_password
from relayd.deliver.ways import Ways
from relayd.smtp.client import Terms
from relayd.smtp.credentials import Credentials
from relayd.smtp.reply import Reply, reply
from relayd.smtp.transcript import Transcript

# How long mail has waited before it goes in the clear to an exchanger that offers TLS.
FALLBACK_AGE = timedelta(seconds=300)
_NOT_KNOWN = reply(454, "4.7.4", "credentials are not sent to a host that is not verified")


def has_waited(arrived: datetime, now: datetime) -> bool:
    """Whether mail that arrived then may go in the clear after a handshake that failed."""
    return now - arrived >= FALLBACK_AGE


def tls_mode(route: Route | None) -> TlsMode:
    """The TLS of a route's hosts, or of the exchangers from DNS; credentials are for a server that is known."""
    if route is None:
        return "opportunistic"
    return "verify" if route.user is not None and route.tls == "opportunistic" else route.tls


@dataclass(frozen=True, slots=True)
class Approach:
    """`message_id` is whose mail the connections are for, `arrived` when it came, and `session` in which.

    `transcript_of` makes a transcript for each connection.
    """

    ways: Ways
    message_id: str
    arrived: datetime
    mode: TlsMode
    credentials: Credentials | None
    transcript_of: Callable[[Candidate], Transcript]
    session: str = ""

    async def open(self, candidate: Candidate, limits: Limits) -> Connection | Reply:
        """Connect."""
        return await self._connect(candidate, self.mode, limits)

    async def ready(self, connection: Connection) -> Connection | Reply:
        """The connection that is ready for MAIL: this one, or another to the same address in the clear."""
        candidate, conversation = connection.candidate, connection.conversation
        refusal = await connection.opening()
        if refusal is None:
            if connection.codec is not None:
                self.ways.handshakes.keep(candidate, self.mode, connection.codec)
            return connection
        if self.mode != "opportunistic" or not conversation.has_failed_tls:
            return refusal
        if not has_waited(self.arrived, datetime.now(UTC)):
            return refusal
        plain = await self._connect(candidate, "off", self.ways.limits)
        if isinstance(plain, Reply):
            return plain
        plain.is_fallback = True
        failure = await plain.opening()
        if failure is not None:
            return failure
        self.ways.write(
            events.DeliveryInClear(
                id=self.message_id,
                session=self.session,
                exchanger=candidate.exchanger,
                address=str(candidate),
                reply=str(refusal),
            )
        )
        return plain

    async def _connect(self, candidate: Candidate, mode: TlsMode, limits: Limits) -> Connection | Reply:
        ways, transcript = self.ways, self.transcript_of(candidate)
        if self.credentials is not None and mode == "require" and not candidate.address.is_loopback:
            # The name was this host's own, and DNS has made another of it.
            transcript.ended(_NOT_KNOWN)
            return _NOT_KNOWN
        terms = Terms(credentials=self.credentials, in_clear=mode == "off" and candidate.address.is_loopback)
        if mode != "off":
            terms = replace(terms, tls="opportunistic" if mode == "opportunistic" else "require")
        return await connect(
            candidate,
            Manner(ways.ehlo_name, terms, partial(ways.handshakes.codec, candidate, mode)),
            ways.source_of(candidate),
            limits=limits,
            transcript=transcript,
        )


def approach(
    ways: Ways,
    message_id: str,
    arrived: datetime,
    route: Route | None,
    transcript_of: Callable[[Candidate], Transcript],
    session: str = "",
) -> Approach | Reply:
    """How a message's connections come to MAIL; a Reply when the route's password cannot be had."""
    credentials = None
    if route is not None and route.user is not None:
        if route.password_file is None:
            return reply(451, "4.3.5", f"the route's user {route.user} has no password_file")
        try:
            credentials = Credentials(route.user, read_password(route.password_file))
        except PasswordError as error:
            return reply(451, "4.3.5", f"password_file {error}")
    return Approach(ways, message_id, arrived, tls_mode(route), credentials, transcript_of, session)
