"""A source: where a running relay's configuration comes from, and what stood there when it was read.

The file alone is not enough: the command line of `start` overrides it, and its paths are relative to a folder
that the master has left. Refuses to know what is done with a configuration. Fails with ConfigError.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from relayd.base import config as configuration
from relayd.base.sections import Config


class Source(msgspec.Struct, frozen=True):
    """A file (None: the built-in defaults) and what overrides it; all paths are absolute.

    `text` is what stood in the file when it was last read, None before that.
    """

    path: str | None
    spool: str | None = None
    addresses: tuple[str, ...] = ()
    port: int | None = None
    text: str | None = None

    @classmethod
    def of(
        cls,
        path: Path | None,
        *,
        spool: Path | None = None,
        addresses: Sequence[str] = (),
        port: int | None = None,
    ) -> "Source":
        """What a command line names, relative to the working directory."""
        if path is None and spool is None:
            # The built-in defaults have their spool in the working directory, which is not always the same.
            spool = Path("spool")
        return cls(
            None if path is None else str(path.absolute()),
            None if spool is None else str(spool.absolute()),
            tuple(addresses),
            port,
        )

    def read(self) -> "Source":
        """The same with what stands in the file now."""
        text = None if self.path is None else configuration.read(Path(self.path))
        return msgspec.structs.replace(self, text=text)

    def config(self) -> Config:
        """The configuration, of the text where there is one."""
        return configuration.load(
            None if self.path is None else Path(self.path),
            spool=None if self.spool is None else Path(self.spool),
            addresses=self.addresses,
            port=self.port,
            text=self.text,
        )
