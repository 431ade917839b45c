"""A herald: how whoever started the master hears how the start went, once, over a pipe.

In the foreground nobody waits, and `pipe` is None. The end of file without a word means that the master died.
"""

import contextlib
import os

import msgspec


class Told(msgspec.Struct, frozen=True):
    """`failure` is None when everything runs; else why not, with the exit status of `start`."""

    failure: str | None = None
    status: int = 0
    warnings: list[str] = []


class Herald:
    """The master's end of the pipe."""

    def __init__(self, pipe: int | None = None) -> None:
        self._pipe = pipe
        self.told: Told | None = None

    def tell(self, told: Told) -> None:
        """Say it; only the first word counts."""
        if self.told is None:
            self.told = told
            if self._pipe is not None:
                # Whoever asked may have gone meanwhile (Ctrl-C); the relay that runs then goes on.
                with contextlib.suppress(BrokenPipeError):
                    os.write(self._pipe, msgspec.json.encode(told))
            self.close()

    def close(self) -> None:
        """Give the pipe up: a child that kept it would keep the other end waiting."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


def listen(pipe: int) -> Told | None:
    """Wait at the other end for what is said; None when the master died without a word."""
    with open(pipe, "rb") as said:
        word = said.read()
    return msgspec.json.decode(word, type=Told) if word else None
