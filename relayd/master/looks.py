"""Looks: what a configuration comes to on this host, as the user that the relay runs as meets it.

At a start and at each reload. Refuses to change anything. Fails with StartFailed.
"""

import errno
import os
import socket
import time
from pathlib import Path

from relayd.base import config as configuration
from relayd.base.config import Config
from relayd.base.sections import Metrics
from relayd.master import credentials, descriptors, extras, listeners
from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed

_CONFIGURATION = 2


def reach_spool(directory: Path, identity: Identity) -> None:
    """As the user, once root is gone: fail when a folder above the spool keeps it out."""
    for folder in reversed((directory, *directory.parents)):
        if not os.access(folder, os.X_OK):
            raise StartFailed(
                f"spool {directory}: user {identity.name} may not enter {folder}; "
                "choose another place with [spool] directory or --spool"
            )


def reach_port(listen: Metrics | None, before: Metrics | None) -> None:
    """As the user: fail when the process of [metrics] cannot listen there, where it did not `before`."""
    if listen is None or listen == before:
        return
    place = listen.address, listen.port
    try:
        with socket.socket(socket.AF_INET6 if ":" in listen.address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        # The one that has the port now may be the one that goes first.
        if error.errno != errno.EADDRINUSE or before is None or before.port != listen.port:
            why = error.strerror or str(error)
            raise StartFailed(f"[metrics] listen: cannot listen at {listeners.shown(*place)}: {why}") from None


def second_looks(config: Config, identity: Identity, files: int) -> list[str]:
    """As the user: what works and deserves one; StartFailed for what cannot be used, or is not there."""
    found = credentials.look(config, identity.name, time.time())
    missing = extras.trouble(config)
    troubles = [*found.troubles, *([] if missing is None else [missing])]
    if troubles:
        raise StartFailed("; ".join(troubles), _CONFIGURATION)
    limit = descriptors.warning(files)
    return [*configuration.warnings(config), *found.warnings, *([] if limit is None else [limit])]
