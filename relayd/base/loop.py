"""The event loop of a child: uvloop, or asyncio's own.

asyncio's own serves where RELAYD_LOOP=asyncio asks for it or uvloop is missing. Never fails for want of uvloop.
"""

import asyncio
import importlib
import os
from collections.abc import Callable, Coroutine
from typing import Any


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run to the end and give the exit status."""
    with asyncio.Runner(loop_factory=factory()) as runner:
        return runner.run(main)


def factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes a loop; called before the fork too, so that children share the imported code."""
    if os.environ.get("RELAYD_LOOP") != "asyncio":
        try:
            uvloop = importlib.import_module("uvloop")
        except ImportError:
            return asyncio.new_event_loop
        made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return made
    return asyncio.new_event_loop
