"""An errand comes back in bounded time, whatever holds it up."""

import os
import time

from relayd.cli.errand import Errand


def hang() -> bytes:
    """As a disk does that does not answer: without ever using the processor."""
    reading, writing = os.pipe()
    os.read(reading, 1)
    return bytes(writing)


def spin() -> bytes:
    """Work without end."""
    while True:
        pass


def test_what_it_gives_comes_back_whole() -> None:
    """More than a pipe holds, and nothing at all."""
    assert Errand(lambda: b"x" * 1_000_000).result(5.0, 5.0) == b"x" * 1_000_000
    assert Errand(lambda: b"").result(5.0, 5.0) == b""


def test_one_that_fails_gives_nothing() -> None:
    """It was to put its troubles in words."""
    assert Errand(lambda: b"%d" % (1 // 0)).result(5.0, 5.0) == b""


def test_one_that_does_nothing_is_given_up_soon() -> None:
    """Long before the time that one that works may take."""
    errand = Errand(hang)
    began = time.monotonic()
    assert errand.result(0.3, 3600.0) is None
    # It would be an hour otherwise.
    assert time.monotonic() - began < 600.0


def test_one_that_works_is_given_up_at_the_end_alone() -> None:
    """It uses the processor, or wants it: it is not stuck."""
    errand = Errand(spin)
    began = time.monotonic()
    assert errand.result(0.05, 0.6) is None
    assert time.monotonic() - began >= 0.6
