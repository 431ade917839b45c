"""The watch over new/ and cur/: which messages stand there, whoever put them there, and when they are due.

mtime is the only schedule: people may touch a file or move it at any time. A folder is read again when its own
time says that names changed; files are looked at again in portions, since a touch shows nowhere else. Names that
begin with a dot are the business of whatever program is at work there.
"""

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime

from relayd.spool.aside import Aside
from relayd.spool.by_hand import ByHand
from relayd.spool.claim import Claim
from relayd.spool.disk import Disk
from relayd.spool.ids import LENGTH
from relayd.spool.layout import STATES, Layout, name_of, parse_name
from relayd.spool.schedule import NOW, Place, Schedule
from relayd.spool.troubles import Troubles

# The clock of file systems stands still for so many seconds at most, and what changes meanwhile gets one time.
_TICK = 0.1
# How long a worker may take to make a message durable, as a rule.
_MOMENT = 0.1
# Two times of a file that differ by less are one that went through a float.
_SAME = 0.001


class Watch:
    """Fills the schedule; what is in `claims` is in flight and not put there."""

    def __init__(
        self,
        layout: Layout,
        disk: Disk,
        schedule: Schedule,
        claims: Mapping[str, Claim],
        aside: Aside,
        by_hand: ByHand,
        troubles: Troubles,
        longest: float,
        now: Callable[[], datetime],
    ) -> None:
        self._layout = layout
        self._disk = disk
        self._schedule = schedule
        self._claims = claims
        self._aside = aside
        self._by_hand = by_hand
        self._troubles = troubles
        self._longest = longest
        self._now = now
        self._read_at: dict[str, int] = {}

    def scan(self, state: str) -> None:
        """Read a folder when names in it changed."""
        doing = f"read {state}/"
        try:
            self.read(state)
        except OSError as error:
            self._troubles.met(doing, error.strerror or str(error))
        else:
            self._troubles.over(doing)

    def read(self, state: str) -> None:
        """The same; raises OSError."""
        folder = self._layout.folder(state)
        now = self._now().timestamp()
        changed = self._disk.lstat(folder).st_mtime_ns
        if self._read_at.get(state) == changed:
            return
        for name in self._disk.names(folder):
            self.note(state, name)
        # A change within the same tick as this reading would not show.
        if changed < (now - _TICK) * 1e9:
            self._read_at[state] = changed

    def look_again(self) -> bool:
        """Look at the next portion of what is scheduled; True when all was looked at."""
        for place in self._schedule.portion():
            if place.state == "cur":
                try:
                    self.place(place.state, place.id, place.size)
                except FileNotFoundError:
                    # A scan finds it where it is.
                    self._schedule.forget(place.id)
                    self._by_hand.missing(place)
                except OSError:
                    # Whoever takes it meets the same and says so.
                    continue
        if self._schedule.is_seen:
            # Then the folders too, whatever their times say.
            self._read_at.clear()
        return self._schedule.is_seen

    def note(self, state: str, name: str, *, is_fresh: bool = False) -> None:
        """Something has this name in new/ or cur/; it is fresh when it has come just now."""
        known = self._schedule.get(name[:LENGTH])
        if known is not None and known.state == state and name == name_of(known.id, known.size):
            if is_fresh and state == "new":
                # The folder was quicker than the word of it.
                self._schedule.put(known._replace(due=NOW, is_fresh=True))
            return
        parsed = parse_name(name)
        if parsed is None:
            if not (is_fresh or name.startswith(".")):
                self._aside.put(state, name, "it has no name of ours")
            return
        message_id, size = parsed
        claim = self._claims.get(message_id)
        if claim is not None:
            if claim.size != size:
                self._aside.put(state, name, "another file of its ID is being delivered")
            return
        if is_fresh and known is not None and not self._disk.exists(self._layout.message(state, name)):
            # The folder was quicker than the word of it, and an attempt too.
            return
        if known is not None and known.size != size and not self._prevails(state, name, known):
            return
        if known is not None and known.state != state and known.size == size and not is_fresh:
            self._by_hand.moved(message_id, known.state, state)
        try:
            self.place(state, message_id, size, is_fresh=is_fresh)
        except FileNotFoundError:
            return
        except OSError:
            # Whoever takes it meets the same and says so.
            self._schedule.put(Place(self._now().timestamp(), message_id, size, state))

    def place(self, state: str, message_id: str, size: int, *, is_fresh: bool = False) -> None:
        """Put a file into the schedule, at its mtime; raise OSError."""
        if state == "new":
            is_untried = is_fresh and message_id not in self._schedule
            self._schedule.put(Place(NOW, message_id, size, state, is_fresh, is_untried))
            return
        path = self._layout.message(state, name_of(message_id, size))
        due = self.due(path, self._disk.lstat(path).st_mtime)
        known = self._schedule.get(message_id)
        if known is None or known.state != state or known.size != size or abs(known.due - due) > _SAME:
            self._schedule.put(Place(due, message_id, size, state))

    def postpone(self, place: Place) -> None:
        """Somebody is not done with the file: look again in a moment, if no word of it comes before."""
        self._schedule.put(place._replace(due=self._now().timestamp() + _MOMENT))

    def due(self, path: str, mtime: float) -> float:
        """When a file in cur/ is due; a time in the far future (a copy, a restore, a clock) is brought near."""
        latest = self._now().timestamp() + self._longest
        if mtime <= latest:
            return mtime
        with contextlib.suppress(OSError):
            self._disk.touch(path, latest)
        return latest

    def is_first(self, place: Place) -> bool:
        """Whether this file counts for its ID; of several, the others are set aside.

        What has come just now has a new ID: that nobody has put another file of it anywhere saves three looks.
        """
        if place.is_fresh:
            return True
        name = name_of(place.id, place.size)
        for state in STATES:
            if state == place.state or not self._disk.exists(self._layout.message(state, name)):
                continue
            if STATES.index(state) > STATES.index(place.state):
                self._aside.put(state, name, f"{place.state}/ has a message of its ID, which counts")
                continue
            self._aside.put(place.state, name, f"{state}/ has a message of its ID, which counts")
            if state == "cur":
                self.note(state, name)
            return False
        return True

    def _prevails(self, state: str, name: str, known: Place) -> bool:
        """Whether a file counts although another, of another size, is known by its ID."""
        other = name_of(known.id, known.size)
        if not self._disk.exists(self._layout.message(known.state, other)):
            return True
        if STATES.index(state) < STATES.index(known.state):
            self._aside.put(known.state, other, f"{state}/ has a message of its ID, which counts")
            return True
        self._aside.put(state, name, f"{known.state}/ has a message of its ID, which counts")
        return False
