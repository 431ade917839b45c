"""The tally: what each client does in all workers together, in memory that they share.

Made by the master before the fork, or handed on by descriptor. Each worker writes a part of its own, and whoever
asks gets the sum of all, so that nothing is locked. A number is eight octets at an aligned place, so that a reader
never sees half of one; a sum may be a moment old. It never grows: a client for whom no place is left is not
counted, which is why it is a guard and no wall. Refuses to know what the numbers are compared with; the clock is
passed in.
"""

import mmap
import os
import secrets
from functools import lru_cache, partial
from hashlib import blake2b

# Each part is a table of clients: 640 KiB, of which only the pages in use cost memory.
_PLACES = 16_384
# So far from its home a client is looked for.
_REACH = 8
_HOUR_SECONDS = 3600
# Of so many clients the tag is remembered: it is asked for four times a session, and takes a microsecond.
_TAGS = 512
# An entry: whose it is, the hour that the next two are of, and the sessions open now. No client's tag is 0.
_TAG, _HOUR, _MESSAGES, _RECIPIENTS, _SESSIONS = range(5)
_FIELDS = 5
# Behind the table stands how many sessions are open in all, so that a new worker need not look at each entry:
# with memory of this kind, looking takes it.
_OPEN = _PLACES * _FIELDS
_PART = _OPEN + 1
# Before the parts: the layout, the key, and how many parts were ever used, since nobody need look at the others.
_LAYOUT_PLACE, _KEY, _USED, _HEADER = 0, 1, 3, 4
_LAYOUT = 0x7461_6C6C_7900 + _FIELDS


class Tally:
    """All parts. A client is any octets that name it: the caller says what one client is."""

    def __init__(self, parts: int) -> None:
        fd = os.memfd_create("relayd-tally", os.MFD_CLOEXEC)
        os.ftruncate(fd, (_HEADER + parts * _PART) * 8)
        self._map(fd)
        self._numbers[_LAYOUT_PLACE] = _LAYOUT
        # Nobody outside can choose addresses that crowd each other out.
        for place in range(_KEY, _USED):
            self._numbers[place] = secrets.randbits(64)

    @classmethod
    def of(cls, fd: int) -> "Tally":
        """The tally behind a descriptor, which is its own from now on; ValueError for one of another layout."""
        tally = cls.__new__(cls)
        tally._map(fd)
        if len(tally._numbers) < _HEADER or tally._numbers[_LAYOUT_PLACE] != _LAYOUT:
            raise ValueError("the tally is that of another version")
        return tally

    def _map(self, fd: int) -> None:
        self._fd = fd
        self._numbers = memoryview(mmap.mmap(fd, os.fstat(fd).st_size)).cast("Q")
        self.parts = (len(self._numbers) - _HEADER) // _PART

    def __del__(self) -> None:
        # What is mapped stays, by a descriptor of its own.
        os.close(self._fd)

    def fileno(self) -> int:
        """To hand the tally to another process."""
        return self._fd

    def use(self, number: int) -> None:
        """Have the part of this number, from 0, looked at by all; for one process, before another writes there."""
        if not 0 <= number < self.parts:
            raise ValueError(f"part {number} of {self.parts}")
        if self._numbers[_USED] <= number:
            self._numbers[_USED] = number + 1

    def hand(self, number: int) -> "Hand":
        """What the worker of this number writes with; one living process a number."""
        self.use(number)
        parts = [
            self._numbers[_HEADER + each * _PART : _HEADER + (each + 1) * _PART] for each in range(self.parts)
        ]
        return Hand(parts, number, self._numbers[:_HEADER])


class Hand:
    """One worker's hand on the tally."""

    def __init__(self, parts: "list[memoryview[int]]", number: int, header: "memoryview[int]") -> None:
        self._all = parts
        self._own = parts[number]
        self._header = header
        self._tag = lru_cache(_TAGS)(partial(_tag, bytes(header[_KEY:_USED])))
        self._parts = parts[: header[_USED]]

    def _used(self) -> "list[memoryview[int]]":
        """Those that may have counted something: others come into use while workers are replaced."""
        if len(self._parts) != self._header[_USED]:
            self._parts = self._all[: self._header[_USED]]
        return self._parts

    def begin(self) -> None:
        """The worker before this one is gone, and so are its sessions; what was sent in this hour counts on."""
        if not self._own[_OPEN]:
            return
        for entry in range(0, _OPEN, _FIELDS):
            if self._own[entry + _SESSIONS]:
                self._own[entry + _SESSIONS] = 0
        self._own[_OPEN] = 0

    def opened(self, client: bytes, now: float) -> None:
        """A session of the client began."""
        if (entry := self._claim(client, now)) is not None:
            # First the sum: a worker that dies in between leaves one that is too large, and nothing is overlooked.
            self._own[_OPEN] += 1
            self._own[entry + _SESSIONS] += 1

    def closed(self, client: bytes) -> None:
        """One of its sessions ended. Of a client that was not counted it may be another's: never below nothing."""
        entry = _find(self._own, self._tag(client))
        if entry is not None and self._own[entry + _SESSIONS]:
            self._own[entry + _SESSIONS] -= 1
            self._own[_OPEN] -= 1

    def sessions(self, client: bytes) -> int:
        """How many the client has open in all workers."""
        tag, sessions = self._tag(client), 0
        for part in self._used():
            if (entry := _find(part, tag)) is not None:
                sessions += part[entry + _SESSIONS]
        return sessions

    def lead(self) -> int:
        """How many more sessions than this worker the one with the most of them has; 0 for that one itself."""
        return max(part[_OPEN] for part in self._used()) - self._own[_OPEN]

    def own_sessions(self, client: bytes) -> int:
        """How many of them this worker has."""
        entry = _find(self._own, self._tag(client))
        return 0 if entry is None else self._own[entry + _SESSIONS]

    def sent(self, client: bytes, now: float, *, messages: int = 0, recipients: int = 0) -> None:
        """The client sent something; `now` in seconds of a clock that all processes share, which is monotonic."""
        entry = self._claim(client, now)
        if entry is None:
            return
        hour = _hour(now)
        if self._own[entry + _HOUR] != hour:
            self._own[entry + _MESSAGES] = self._own[entry + _RECIPIENTS] = 0
            self._own[entry + _HOUR] = hour
        self._own[entry + _MESSAGES] += messages
        self._own[entry + _RECIPIENTS] += recipients

    def in_hour(self, client: bytes, now: float) -> tuple[int, int]:
        """How many messages and recipients the client has sent in this hour of the clock, by all workers."""
        tag, hour = self._tag(client), _hour(now)
        messages = recipients = 0
        for part in self._used():
            entry = _find(part, tag)
            if entry is not None and part[entry + _HOUR] == hour:
                messages += part[entry + _MESSAGES]
                recipients += part[entry + _RECIPIENTS]
        return messages, recipients

    def _claim(self, client: bytes, now: float) -> int | None:
        """The client's entry in the own part, a new one if need be; None where all are taken by open sessions."""
        tag = self._tag(client)
        if (entry := _find(self._own, tag)) is not None:
            return entry
        own, hour = self._own, _hour(now)
        near = (_near(tag, step) for step in range(_REACH))
        idle = [entry for entry in near if not own[entry + _SESSIONS]]
        if not idle:
            return None
        # What is least worth keeping: an earlier hour's, then whoever has sent the least.
        entry = min(idle, key=lambda each: own[each + _MESSAGES] if own[each + _HOUR] == hour else -1)
        # While the numbers change it is nobody's.
        own[entry + _TAG] = own[entry + _MESSAGES] = own[entry + _RECIPIENTS] = 0
        own[entry + _HOUR] = hour
        own[entry + _TAG] = tag
        return entry


def _tag(key: bytes, client: bytes) -> int:
    return int.from_bytes(blake2b(client, digest_size=8, key=key).digest()) | 1


def _hour(now: float) -> int:
    # From 1, since an entry that was never used says 0.
    return int(now // _HOUR_SECONDS) + 1


def _near(tag: int, step: int) -> int:
    """Where an entry of this tag may be, so many places from its home."""
    return ((tag >> 1) + step) % _PLACES * _FIELDS


def _find(part: "memoryview[int]", tag: int) -> int | None:
    home = _near(tag, 0)
    if part[home + _TAG] == tag:
        # As nearly always.
        return home
    for step in range(_REACH):
        entry = _near(tag, step)
        found = part[entry + _TAG]
        if found == tag:
            return entry
        if not found:
            # An entry is never freed, so that nothing lies behind one that was never used.
            return None
    return None
