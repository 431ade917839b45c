"""Places: how many connections there may be at once, of all destinations together.

Who comes when all are taken waits for the next that is given back. Refuses to know who it is.
"""

import asyncio


class Places:
    """`most` of them; each is held for as long as an `async with` lasts."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._semaphore = asyncio.Semaphore(most)
        self._wanted = 0

    @property
    def are_scarce(self) -> bool:
        """Whether all are taken.

        Each message asks: the semaphore's own answer, which looks through those that wait, takes ten times that.
        """
        return self._wanted >= self._most

    async def __aenter__(self) -> None:
        self._wanted += 1
        try:
            await self._semaphore.acquire()
        except BaseException:
            self._wanted -= 1
            raise

    async def __aexit__(self, *raised: object) -> None:
        self._wanted -= 1
        self._semaphore.release()
