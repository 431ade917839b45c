"""A transaction as the client sees it: the order, what the server has said to it so far, and the result.

Refuses to know the conversation around it.
"""

from dataclasses import dataclass, field

from relayd.smtp.order import Order
from relayd.smtp.reply import Reply


@dataclass(frozen=True, slots=True)
class Result:
    """What the server said of one transaction: a reply to each forward-path, in the order given.

    A reply to MAIL, DATA or the final dot that refuses stands for each forward-path it concerns. `in_doubt`
    are the indexes of those whose connection ended between the final dot and its reply (RFC 1047).
    """

    replies: tuple[Reply, ...]
    in_doubt: frozenset[int] = frozenset()


@dataclass(slots=True)
class Transaction:
    """An order under way. `mail` and `data` are the replies to these commands, `recipients` those to RCPT."""

    order: Order
    mail: Reply | None = None
    recipients: list[Reply] = field(default_factory=list)
    data: Reply | None = None

    @property
    def next_place(self) -> int | None:
        """The place of the first forward-path that has no reply yet."""
        place = len(self.recipients)
        return place if place < len(self.order.forward_paths) else None

    @property
    def has_recipient(self) -> bool:
        """Whether the server took a forward-path; 251 is a promise to forward (RFC 5321 section 3.4)."""
        return any(answer.is_positive for answer in self.recipients)

    def result(self, last: Reply, *, in_doubt: bool = False) -> Result:
        """What it came to. `last` is for the forward-paths that no reply has refused before."""
        replies: list[Reply] = []
        doubtful: set[int] = set()
        for index in range(len(self.order.forward_paths)):
            own = self.recipients[index] if index < len(self.recipients) else None
            refusal = next((each for each in (self.mail, own, self.data) if each and not each.is_positive), None)
            replies.append(refusal or last)
            if in_doubt and refusal is None:
                doubtful.add(index)
        return Result(tuple(replies), frozenset(doubtful))
