"""Progress: what a conversation tells of itself, as values: that it is ready, wants mail data, or something ended.

Refuses to know how it came to that.
"""

from dataclasses import dataclass

from relayd.smtp.reply import Reply
from relayd.smtp.transaction import Result


@dataclass(frozen=True, slots=True)
class Ready:
    """EHLO or HELO was accepted; a transaction may begin. `greeting` is the server's 220."""

    greeting: Reply
    extensions: frozenset[str]


@dataclass(frozen=True, slots=True)
class SendContent:
    """The server said 354 and at least one forward-path stands: send the mail data, then its end."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The transaction is over; the conversation goes on unless `phase` is CLOSED."""

    result: Result


@dataclass(frozen=True, slots=True)
class Over:
    """The conversation ended outside a transaction; `reason`, never positive, is why mail that waits cannot go."""

    reason: Reply


Event = Ready | SendContent | Finished | Over
