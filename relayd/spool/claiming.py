"""Claiming: how a message that stands in a folder comes into the delivery process's hands.

It is read, its journal folded, and what is not a sound message of ours goes to failed/ with the reason in the log.
Refuses to know when a message is due, but for a file that says itself that it is not. OSError is the disk's.
"""

import errno
import math
import os
from collections.abc import Callable
from datetime import datetime

from relayd.base import events
from relayd.spool.aside import Aside
from relayd.spool.by_hand import ByHand
from relayd.spool.claim import Claim
from relayd.spool.claims import Claims
from relayd.spool.disk import Disk
from relayd.spool.errors import NoSuchMessage, NotSound
from relayd.spool.intake import WHOLE
from relayd.spool.job import Job
from relayd.spool.journal import Journal
from relayd.spool.layout import Layout, name_of, parse_name
from relayd.spool.message import Message, StillWritten, open_message
from relayd.spool.outcome import State, fold
from relayd.spool.recovery import Sweep
from relayd.spool.schedule import NOW, Place
from relayd.spool.troubles import Troubles
from relayd.spool.unfinished import Unfinished
from relayd.spool.watch import Watch

OPENING = "open messages"

# A file whose mtime is further ahead than this was touched since it was scheduled.
_SLACK_SECONDS = 1.0
# What a process wrote so shortly before this one began may not be on the medium yet, if it was killed.
_DOUBTFUL_SECONDS = 300.0
# What is in new/ and was not written just now was moved there by a person, who wants it tried now. The ID does not
# tell: that of a notification is as old as the message that it is about.
_FRESH_SECONDS = 60.0
# Where an operator's claim looks, the likeliest place first; what is in failed/ is no message of ours.
_CLAIMED_FROM = ("hold", "cur", "new")


class Claiming:
    """Fills the claims of one queue."""

    def __init__(
        self,
        layout: Layout,
        disk: Disk,
        claims: Claims,
        watch: Watch,
        sweep: Sweep,
        aside: Aside,
        by_hand: ByHand,
        troubles: Troubles,
        report: Callable[[events.Event], None],
        now: Callable[[], datetime],
    ) -> None:
        self._layout = layout
        self._disk = disk
        self._claims = claims
        self._watch = watch
        self._sweep = sweep
        self._aside = aside
        self._by_hand = by_hand
        self._troubles = troubles
        self._report = report
        self._now = now
        self._began = now().timestamp()
        self._unfinished = Unfinished(layout, disk)

    def find(self, message_id: str) -> Place:
        """Where a message stands, due or not, also in hold/; raises NoSuchMessage."""
        for state in _CLAIMED_FROM:
            for name in self._disk.names(self._layout.folder(state)):
                parsed = parse_name(name)
                if parsed is not None and parsed[0] == message_id:
                    return Place(NOW, *parsed, state)
        raise NoSuchMessage(f"no message in the queue has the ID {message_id}")

    def claim(self, place: Place, now: float = math.inf) -> Job | None:
        """The job of what stands there, or None when there is nothing to do there at `now`; raises OSError."""
        name = name_of(place.id, place.size)
        journal = Journal(self._disk, self._layout, place.id)
        try:
            self._sweep.finish(place.id, self._now)
            path = self._layout.message(place.state, name)
            # Whose hint has come is durable. What was only seen in new/ may not be.
            is_seen = place.state == "new" and not place.is_fresh
            message = open_message(
                self._disk, path, place.size, WHOLE, is_known=place.is_fresh, heeds_lock=is_seen
            )
            self._unfinished.check(place, message)
            if place.state == "cur" and message.mtime > now + _SLACK_SECONDS:
                self._watch.place(place.state, place.id, place.size)
                return None
            if not self._watch.is_first(place):
                return None
            entries = [] if place.is_untried else journal.read(self._is_doubtful)
            state = fold(len(message.envelope.recipients), entries)
        except FileNotFoundError:
            # Moved by hand since it was seen; a scan finds it where it is.
            self._by_hand.missing(place)
            return None
        except StillWritten:
            self._watch.postpone(place)
            return None
        except NotSound as error:
            if self._unfinished.drop(place):
                self._report(events.MessageUnfinished(id=place.id, reason=str(error)))
            else:
                self._aside.put(place.state, name, str(error))
            return None
        except MemoryError:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None
        except OSError:
            raise
        except Exception as error:
            # Whatever it is, it must hold up neither the others nor those that were claimed before it.
            self._aside.put(place.state, name, f"reading it raised {type(error).__name__}: {error}")
            return None
        self._troubles.over(OPENING)
        self._troubles.over(f"open {place.id}")
        if message.links > 1:
            self._report(events.MessageLinked(id=place.id, state=place.state, links=message.links))
        return self._hand_over(place, message, journal, state, now)

    def _hand_over(self, place: Place, message: Message, journal: Journal, state: State, now: float) -> Job:
        claim = Claim(
            id=place.id,
            token=self._claims.new_token(),
            state=place.state,
            size=place.size,
            due=place.due,
            offset=message.offset,
            mail_data=message.mail_data if self._claims.may_cache else None,
            journal=journal,
            open=set(state.open),
            untold=list(state.owed),
            unentered=list(state.owed),
        )
        self._claims.add(claim)
        return Job(
            id=place.id,
            token=claim.token,
            envelope=message.envelope,
            open=state.open,
            attempt=state.attempts + 1,
            size=place.size - message.offset,
            owed=state.owed,
            is_cut=state.is_cut,
            is_warned=state.is_warned,
            is_urgent=place.state == "new" and (state.attempts > 0 or abs(now - message.mtime) > _FRESH_SECONDS),
        )

    def _is_doubtful(self, mtime: float) -> bool:
        return self._began - _DOUBTFUL_SECONDS <= mtime <= self._began + _SLACK_SECONDS
