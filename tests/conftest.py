"""What holds for all tests: a plain run tries the same examples each time, the long one looks for new ones.

So a change is judged by the same tests as the one before it, and chance finds its cases where there is time. No
example has a deadline: how long it takes says more about the machine than about the code.
"""

import gc
from collections.abc import Iterator

import hypothesis
import pytest

from tests.world.relay import Relay


def pytest_configure(config: pytest.Config) -> None:
    """Choose by the marker that was asked for; relays come from the nursery, but where a test says otherwise."""
    is_plain = config.getoption("markexpr") == "not long"
    hypothesis.settings.register_profile("relayd", deadline=None, derandomize=is_plain)
    hypothesis.settings.load_profile("relayd")
    Relay.starts_python = False


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Thousands of tests stay until the end: the collector need not look at them, now or again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
