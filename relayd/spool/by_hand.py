"""By hand: what people did to messages' files, noticed afterwards and told, for whoever asks what became of one.

Commands move files as `mv` does, so they are noticed in the same way. Moves between new/ and cur/ show where these
are read anyway; hold/ is read when its own time says that names changed. What comes and goes between two looks is
not noticed, nor what is done while no delivery process runs. It moves no file itself, and never fails.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from relayd.base import events
from relayd.spool.claim import Claim
from relayd.spool.disk import Disk
from relayd.spool.layout import STATES, Layout, name_of, parse_name
from relayd.spool.schedule import Place, Schedule

_REASON = "by the operator"
_GONE = "its file was taken away"
# As in `watch`: the clock of file systems stands still for so many seconds at most.
_TICK = 0.1


class ByHand:
    """For one queue; what is in `claims` is in flight, what is in `schedule` waits in new/ or cur/."""

    def __init__(
        self,
        layout: Layout,
        disk: Disk,
        schedule: Schedule,
        claims: Mapping[str, Claim],
        report: Callable[[events.Event], None],
        now: Callable[[], datetime],
    ) -> None:
        self._layout = layout
        self._disk = disk
        self._schedule = schedule
        self._claims = claims
        self._report = report
        self._now = now
        # The names in hold/, by ID.
        self._held: dict[str, str] = {}
        self._read_at = -1

    def begin(self) -> None:
        """What is in hold/ now was there before."""
        held = self._changed()
        self._held = held or {}

    def look(self) -> None:
        """Tell what has come to hold/ and gone from there. New/ was read just before."""
        held = self._changed()
        if held is None:
            return
        for message_id in held.keys() - self._held.keys():
            self._came(message_id)
        for message_id in self._held.keys() - held.keys():
            self._went(message_id, self._held[message_id])
        self._held = held

    def holds(self, message_id: str, name: str) -> None:
        """We have put it into hold/."""
        self._held[message_id] = name

    def ended(self, message_id: str) -> None:
        """We have taken it away, wherever it was."""
        self._held.pop(message_id, None)

    def moved(self, message_id: str, was: str, now: str) -> None:
        """A message stands in another folder than before."""
        self._report(events.QueueMoved(id=message_id, was=was, now=now, reason=_REASON))

    def missing(self, place: Place) -> None:
        """A message is not where it was seen: in cur/, since word of one in new/ may come when it is done with."""
        if place.state != "cur":
            return
        name = name_of(place.id, place.size)
        state = self._state_of(name)
        if not state:
            self._report(events.MessageRemoved(id=place.id, reason=_GONE))
        elif state not in ("hold", place.state):
            # What is in hold/ is told when that is read.
            self.moved(place.id, place.state, state)

    def _changed(self) -> dict[str, str] | None:
        """The names in hold/, or None where they are as before, or cannot be read."""
        folder = self._layout.folder("hold")
        now = self._now().timestamp()
        try:
            changed = self._disk.lstat(folder).st_mtime_ns
            if changed == self._read_at:
                return None
            names = self._disk.names(folder)
        except OSError:
            return None
        # A change within the same tick as this reading would not show.
        self._read_at = changed if changed < (now - _TICK) * 1e9 else -1
        return {parsed[0]: name for name in names if (parsed := parse_name(name)) is not None}

    def _came(self, message_id: str) -> None:
        place = self._schedule.get(message_id)
        claim = self._claims.get(message_id)
        was = place.state if place is not None else claim.state if claim is not None else ""
        if place is not None and not self._disk.exists(
            self._layout.message(place.state, name_of(place.id, place.size))
        ):
            # It must not be looked for where it was, nor come back from there.
            self._schedule.forget(message_id)
        self.moved(message_id, was, "hold")

    def _went(self, message_id: str, name: str) -> None:
        place = self._schedule.get(message_id)
        claim = self._claims.get(message_id)
        if claim is not None and claim.state == "hold":
            # An order about it is being carried out.
            return
        now = place.state if place is not None else claim.state if claim is not None else self._state_of(name)
        if now:
            self.moved(message_id, "hold", now)
        else:
            self._report(events.MessageRemoved(id=message_id, reason=_GONE))

    def _state_of(self, name: str) -> str:
        """The folder that a file is in, or "" when it is in none."""
        return next(
            (state for state in STATES if self._disk.exists(self._layout.message(state, name))),
            "",
        )
