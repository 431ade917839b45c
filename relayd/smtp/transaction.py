"""A transaction as the client sees it: the order, what the server has said to it so far, and the result.

Refuses to know the conversation around it.
"""

import msgspec

from relayd.smtp.order import Order
from relayd.smtp.reply import Reply, reply
from relayd.smtp.transcript import Transcript


class Result(msgspec.Struct, frozen=True):
    """What the server said of one transaction: a reply to each forward-path, in the order given.

    A reply to MAIL, DATA or the final dot that refuses stands for each forward-path it concerns. `in_doubt`
    are the indexes of those whose connection ended between the final dot and its reply (RFC 1047).
    `is_unheard`: the server has answered none of it, not even MAIL.
    `deferred_rest` are those that were too many for one transaction, and may go in another one at once: their
    replies are transient, whatever the server called it (RFC 5321 section 4.5.3.1.10).
    """

    replies: tuple[Reply, ...]
    in_doubt: frozenset[int] = frozenset()
    deferred_rest: tuple[int, ...] = ()
    is_unheard: bool = False


class Transaction(msgspec.Struct):
    """An order under way. `mail` and `data` are the replies to these commands, `recipients` those to RCPT.

    `transcript` has what is said in it. It `is_behind` when its commands went behind mail data, `has_recipient`
    when the server took a forward-path, and `has_refusal` when it took one not.
    """

    order: Order
    transcript: Transcript
    mail: Reply | None = None
    recipients: list[Reply] = []
    data: Reply | None = None
    # Whether the mail data was sent to somebody and answered.
    is_answered: bool = False
    is_behind: bool = False
    has_recipient: bool = False
    has_refusal: bool = False

    @property
    def next_place(self) -> int | None:
        """The place of the first forward-path that has no reply yet."""
        place = len(self.recipients)
        return place if place < len(self.order.forward_paths) else None

    def hear_rcpt(self, answer: Reply) -> None:
        """The reply for the next forward-path; 251 is a promise to forward (RFC 5321 section 3.4)."""
        self.recipients.append(answer)
        if answer.is_positive:
            self.has_recipient = True
        else:
            self.has_refusal = True

    @property
    def taken(self) -> tuple[int, ...]:
        """The places of the forward-paths that the server took: nobody else gets the mail data."""
        return tuple(place for place, answer in enumerate(self.recipients) if answer.is_positive)

    def result(self, last: Reply, *, in_doubt: bool = False) -> Result:
        """What it came to. `last` is for the forward-paths that no reply has refused before."""
        # What refuses all of them, whatever they were told themselves, and what refuses those who were taken.
        before = self.mail if self.mail is not None and not self.mail.is_positive else None
        after = self.data if self.data is not None and not self.data.is_positive else None
        if not (self.has_refusal or before or after or in_doubt):
            return Result((last,) * len(self.order.forward_paths), is_unheard=self.mail is None)
        answers = self.recipients
        replies: list[Reply] = []
        doubtful: list[int] = []
        rest: list[int] = []
        was_taken = False
        for place in range(len(self.order.forward_paths)):
            own = answers[place] if place < len(answers) else None
            refusal = before or after
            if own is not None and own.is_positive:
                was_taken = True
            elif own is not None:
                if was_taken and _says_too_many(own):
                    own = reply(452, "4.5.3", *own.lines)
                    rest.append(place)
                refusal = before or own
            replies.append(refusal or last)
            if in_doubt and refusal is None:
                doubtful.append(place)
        # A server that has no time for the first of them is not asked to take the rest.
        goes_on = not in_doubt and self.is_answered and not last.is_transient
        return Result(tuple(replies), frozenset(doubtful), tuple(rest) if goes_on else (), self.mail is None)


def _says_too_many(answer: Reply) -> bool:
    """Whether a reply to RCPT, after one that took a forward-path, is about their number.

    The bare codes are read so (section 4.5.3.1.10); a mailbox that is full has an enhanced code of its own.
    """
    return answer.code in (452, 552) and (answer.enhanced is None or answer.enhanced[1:] == ".5.3")
