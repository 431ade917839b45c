"""Units: durations, sizes and rates as people write them. Fails with ValueError, which says what is allowed."""

import re

_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([A-Za-z]+)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*/\s*(s|min|h|d)", re.ASCII)
_PER = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_OCTETS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

# Beyond these a number is a slip of the hand, and clocks and files would refuse it much later.
_LONGEST = 3650 * 86400.0
_LARGEST = 10**15
_FASTEST, _SLOWEST = 10**6, 1 / 86400

DURATION_FORM = 'write a number and a unit: ms, s, m, h or d, like "5m"'
SIZE_FORM = 'write a number of octets, or a number and a unit: B, KB, MB, GB, KiB, MiB or GiB, like "50 MB"'

RATE_FORM = 'write a number, a slash and s, min, h or d, like "100/min"'


def duration(written: object) -> float:
    """Seconds from a text such as "5m" or "1.5h". A bare number is refused: its unit would be a guess."""
    match = _NUMBER.fullmatch(written.strip()) if isinstance(written, str) else None
    if match is None or match[2] not in _SECONDS:
        raise ValueError(f"not a duration; {DURATION_FORM}")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST:
        raise ValueError('too long; at most "3650d"')
    return seconds


def interval(written: object) -> float:
    """Seconds as `duration` reads them, and more than none."""
    seconds = duration(written)
    if seconds == 0:
        raise ValueError('too short; more than "0s"')
    return seconds


def size(written: object) -> int:
    """Octets from a text such as "50 MB" (MB = 10^6) or from a whole number."""
    if isinstance(written, int) and not isinstance(written, bool) and written >= 0:
        octets = written
    else:
        match = _NUMBER.fullmatch(written.strip()) if isinstance(written, str) else None
        if match is None or match[2] not in _OCTETS:
            raise ValueError(f"not a size; {SIZE_FORM}")
        octets = int(float(match[1]) * _OCTETS[match[2]])
    if octets > _LARGEST:
        raise ValueError('too large; at most "1000000 GB"')
    return octets


def some_size(written: object) -> int:
    """Octets as `size` reads them, and more than none."""
    octets = size(written)
    if octets == 0:
        raise ValueError("too small; at least 1 octet")
    return octets


def rate(written: object) -> float:
    """How many a second, from a text such as "100/min" or "5/s"; more than none."""
    match = _RATE.fullmatch(written.strip()) if isinstance(written, str) else None
    if match is None:
        raise ValueError(f"not a rate; {RATE_FORM}")
    a_second = float(match[1]) / _PER[match[2]]
    if not _SLOWEST <= a_second <= _FASTEST:
        raise ValueError('too slow or too fast; at least "1/d", at most "1000000/s"')
    return a_second


def in_words(seconds: float) -> str:
    """A duration for people: "3s", "5m", "2h 10m", "4d 3h"."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return _in_two(whole // 60, "m", whole % 60, "s")
    if whole < 86400:
        return _in_two(whole // 3600, "h", whole % 3600 // 60, "m")
    return _in_two(whole // 86400, "d", whole % 86400 // 3600, "h")


def _in_two(count: int, unit: str, rest: int, smaller: str) -> str:
    return f"{count}{unit} {rest}{smaller}" if rest else f"{count}{unit}"
