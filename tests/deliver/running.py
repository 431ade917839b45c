"""Runs a test's coroutine on the event loops that delivery runs on.

A coroutine that hangs fails with TimeoutError instead of keeping the whole run.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
import uvloop

R = TypeVar("R")

LONGEST_SECONDS = 20.0
LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}

on_each_loop = pytest.mark.parametrize("loop", LOOPS)


def run(main: Callable[[], Coroutine[Any, Any, R]], loop: str = "asyncio") -> R:
    """Run to the end, on the loop of this name."""

    async def bounded() -> R:
        async with asyncio.timeout(LONGEST_SECONDS):
            return await main()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(bounded())


async def turn() -> None:
    """Let everything happen that can happen without waiting for anybody."""
    for _ in range(10):
        await asyncio.sleep(0)
