"""An ID: 17 lower-case characters that name a message and sort by its arrival.

Eleven characters are microseconds since 1970, six are random and drawn once for each process. Time never goes
back: a process gives max(now, last + 1), so that no ID comes twice and a rename never replaces a message.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable

# Crockford's base 32 in ASCII order (no i, l, o, u), so that IDs sort as their numbers do.
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
# Two at a time, which is cheaper.
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)
_TIME_DIGITS = 11
_RANDOM_DIGITS = 6
LENGTH = _TIME_DIGITS + _RANDOM_DIGITS
# As a regular expression.
ID_FORM = f"[{_DIGITS}]{{{LENGTH}}}"
_FORM = re.compile(ID_FORM)


class Ids:
    """The source of one process's IDs; make it after the fork."""

    def __init__(
        self, now: Callable[[], int] = time.time_ns, draw: Callable[[int], int] = secrets.randbelow
    ) -> None:
        self._now = now
        self._last = 0
        # The last four digits of the time are a second or so; what is before them is kept until it changes.
        self._high = -1
        self._beginning = ""
        self._suffix = _base32(draw(32**_RANDOM_DIGITS), _RANDOM_DIGITS)

    def next(self) -> str:
        """An ID that this process has not given before."""
        now = self._now() // 1000
        if now <= self._last:
            now = self._last + 1
        self._last = now
        high, low = now >> 20, now & 0xFFFFF
        if high != self._high:
            self._high, self._beginning = high, _base32(high, _TIME_DIGITS - 4)
        return f"{self._beginning}{_PAIRS[low >> 10]}{_PAIRS[low & 0x3FF]}{self._suffix}"


def derived(message_id: str, attempt: int) -> str:
    """The ID of the notification that a message's attempt causes: always the same, so that it exists once."""
    digest = hashlib.blake2b(f"{message_id} {attempt}".encode(), digest_size=8).digest()
    return message_id[:_TIME_DIGITS] + _base32(int.from_bytes(digest) % 32**_RANDOM_DIGITS, _RANDOM_DIGITS)


def is_id(text: str) -> bool:
    """Whether the text has the form of an ID."""
    return _FORM.fullmatch(text) is not None


def arrival(message_id: str) -> float:
    """When the message of this ID came, in seconds since 1970."""
    microseconds = 0
    for digit in message_id[:_TIME_DIGITS]:
        microseconds = microseconds * 32 + _DIGITS.index(digit)
    return microseconds / 1e6


def _base32(number: int, width: int) -> str:
    pairs = []
    for _ in range(0, width, 2):
        number, pair = divmod(number, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    return "".join(reversed(pairs))[-width:]
