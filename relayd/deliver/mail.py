"""The mail: the mail data of a parcel as couriers ask for it, from memory or from a disk that may be slow.

Refuses to know connections. Fails with SpoolError.
"""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

from relayd.deliver.parcel import Parcel
from relayd.spool.protocol import Delivering

_READERS = 8


class Mail:
    """All mail data of one spool."""

    def __init__(self, spool: Delivering) -> None:
        self._spool = spool
        # Not the event loop's own threads: it would wait for them at its end, and so for a disk that hangs.
        self._threads = ThreadPoolExecutor(_READERS, "mail")

    def cached(self, parcel: Parcel) -> bytes | None:
        """All of it when it is in memory."""
        return self._spool.cached(parcel.job)

    def reserve(self, parcel: Parcel) -> None:
        """To be called before it goes; raises SpoolFull when what comes of it could not be written down."""
        self._spool.reserve(parcel.job)

    async def stream(self, parcel: Parcel) -> AsyncGenerator[bytes, None]:
        """Chunks of it; each is read in a thread."""
        loop = asyncio.get_running_loop()
        chunks = self._spool.read(parcel.job)
        while chunk := await loop.run_in_executor(self._threads, next, chunks, b""):
            yield chunk
