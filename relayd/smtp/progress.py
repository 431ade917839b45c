"""Progress: what a conversation tells of itself, as values: that it is ready, wants mail data, or something ended.

Refuses to know how it came to that.
"""

import msgspec

from relayd.smtp.reply import Reply
from relayd.smtp.transaction import Result
from relayd.smtp.transcript import Transcript


class Ready(msgspec.Struct, frozen=True):
    """EHLO or HELO was accepted; a transaction may begin. `greeting` is the server's 220."""

    greeting: Reply
    extensions: frozenset[str]


class SendContent(msgspec.Struct, frozen=True):
    """The server said 354 and at least one forward-path stands: send the mail data, then its end."""


class Finished(msgspec.Struct, frozen=True):
    """A transaction is over, the first of those that have begun; `transcript` has what was said in it.

    The conversation goes on unless `phase` is CLOSED.
    """

    result: Result
    transcript: Transcript


class Over(msgspec.Struct, frozen=True):
    """The conversation ended outside a transaction; `reason`, never positive, is why mail that waits cannot go."""

    reason: Reply


Event = Ready | SendContent | Finished | Over
