"""The guard: how much one client may send in an hour, against an application that runs away.

On by default and generous. It counts what was accepted, in all workers together, by the user where one has proved
to be it and else by the client's address (an IPv6 network of 64 bits is one client). Pure but for the tally: it is
given the time. It fails open: whom the tally has no place for is not held back.
"""

from relayd.base.sections import Relay
from relayd.base.tally import Hand
from relayd.smtp.reply import Reply, reply

_HOUR_SECONDS = 3600
# Of so many clients it is remembered that they were told of in this hour.
_MOST_TOLD = 10_000


class Guard:
    """One worker's."""

    def __init__(self, tally: Hand, relay: Relay) -> None:
        self._tally = tally
        self._messages = relay.messages_per_hour
        self._recipients = relay.recipients_per_hour
        self._told: set[bytes] = set()
        self._told_in = 0

    def mail(self, client: bytes, now: float) -> Reply | None:
        """Why no further message is taken of this client now."""
        if not self._messages:
            return None
        messages, _ = self._tally.in_hour(client, now)
        return _refusal("messages", self._messages) if messages >= self._messages else None

    def rcpt(self, client: bytes, already: int, now: float) -> Reply | None:
        """Why no further recipient is taken, beside those that the transaction has `already`."""
        if not self._recipients:
            return None
        _, recipients = self._tally.in_hour(client, now)
        return _refusal("recipients", self._recipients) if recipients + already >= self._recipients else None

    def accepted(self, client: bytes, recipients: int, now: float) -> None:
        """A message of the client was taken."""
        if self._messages or self._recipients:
            self._tally.sent(client, now, messages=1, recipients=recipients)

    def is_to_tell(self, client: bytes, now: float) -> bool:
        """Whether a refusal is to be written down: once for each client in an hour."""
        hour = int(now // _HOUR_SECONDS)
        if hour != self._told_in:
            self._told_in = hour
            self._told.clear()
        if client in self._told or len(self._told) >= _MOST_TOLD:
            return False
        self._told.add(client)
        return True


def _refusal(what: str, limit: int) -> Reply:
    return reply(450, "4.7.1", f"Error: more than {limit} {what} in an hour from one client; try again later")
