"""Places: they are scarce as long as all are taken, and whoever stops waiting is not counted."""

import asyncio
import contextlib

from relayd.deliver.places import Places


def test_places_are_scarce_while_all_are_taken() -> None:
    """Who waits has the next; who gives up waiting leaves nothing behind."""

    async def main() -> None:
        places, has_come = Places(1), asyncio.Event()

        async def stay() -> None:
            async with places:
                has_come.set()
                await asyncio.Event().wait()

        assert not places.are_scarce
        async with places:
            assert places.are_scarce
            first, second = asyncio.create_task(stay()), asyncio.create_task(stay())
            await asyncio.sleep(0)
            second.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await second
        # There is no moment in which the place seems free to anybody but the one that has waited.
        assert places.are_scarce
        await has_come.wait()
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        assert not places.are_scarce

    asyncio.run(main())
