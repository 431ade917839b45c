"""Limits: how long delivery waits for what, and how much it has under way. Values only; durations are seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relayd.smtp.client import TIMEOUTS, Phase


@dataclass(frozen=True)
class Limits:
    """The defaults are for the real world.

    A connection: RFC 5321 names no timeout for connect(), and the kernel's own of two minutes would hold up the
    next exchanger too long. `replies` are those of section 4.5.3.2, by what is waited for. An exchanger that takes
    nearly all of each has `opening` from the connection to MAIL, and `transaction` from there to the final dot,
    since it holds a place that other mail needs. A kept connection is given back after `transactions`, when it is
    older than `age`, or when it had nothing to do for `idle`; while others wait for its place, as soon as it has
    nothing to do, or after a `turn` of messages. A message whose slot by a configured rate is further away than
    `idle` waits without a connection. An exchanger that has answered mail data in less than `quick` is sent the
    next transaction's commands along with the mail data that follows; one that did not answer those is not for
    `alone`.

    A destination: after `reach` no further address is tried in the same attempt; no further connection is
    opened for `growth` after one was refused beside others that work. While the queue is full, a destination
    keeps what it would carry in `backlog` seconds, and in any case `backlog_least` parcels or, if that is less,
    its even share of half the queue; the rest is looked at again after `untried`, so that its wait does not become
    everybody's. It is looked after every `relief` then, and has `patience` to show what it carries. What waits for
    a destination that rests comes within `spread` of the end of that. Where a rate is configured, what is beyond
    the next `backlog` seconds comes again when its slot is near.

    An originator gets `notices` notifications an hour, and the rest of the hour's as a summary; what is to go into
    it is collected for `collect`.

    The process: at most `in_flight` messages are claimed, `at_once` in one turn. While `unrecorded` messages that
    exchangers have taken are not yet recorded, no further one begins, since a kill would send each of them again.
    The folders are read every `poll_new` and `poll_cur`. After an error of the disk the next try is `trouble`
    away, then twice as far, up to `trouble_most`. At a stop, servers have `farewell` to answer QUIT and the disk
    `last_write`.
    """

    connect: float = 30.0
    replies: Mapping[Phase, float] = field(default_factory=lambda: TIMEOUTS)
    opening: float = 900.0
    transaction: float = 7200.0
    idle: float = 2.0
    transactions: int = 100
    age: float = 300.0
    turn: int = 10
    quick: float = 1.0
    alone: float = 86_400.0

    reach: float = 600.0
    growth: float = 30.0
    backlog: float = 10.0
    backlog_least: int = 100
    relief: float = 0.2
    patience: float = 0.4
    untried: float = 30.0
    spread: float = 5.0

    notices: int = 100
    collect: float = 2.0

    in_flight: int = 2000
    at_once: int = 200
    unrecorded: int = 20
    poll_new: float = 1.0
    poll_cur: float = 30.0
    trouble: float = 10.0
    trouble_most: float = 120.0
    lock: float = 5.0
    recovery: float = 30.0
    farewell: float = 1.0
    last_write: float = 10.0
