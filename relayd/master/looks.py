"""Looks: what a configuration comes to on this host, as the user that the relay runs as meets it.

At a start and at each reload. Refuses to change anything. Fails with StartFailed.
"""

import os
import time
from pathlib import Path

from relayd.base import config as configuration
from relayd.base.config import Config
from relayd.master import credentials, descriptors, extras
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


def second_looks(config: Config, identity: Identity, files: int) -> list[str]:
    """As the user: what works and deserves one; StartFailed for what cannot be used, or is not there."""
    found = credentials.look(config, identity.name, time.time())
    missing = extras.trouble(config)
    troubles = [*found.troubles, *([] if missing is None else [missing])]
    if troubles:
        raise StartFailed("; ".join(troubles), _CONFIGURATION)
    limit = descriptors.warning(files)
    return [*configuration.warnings(config), *found.warnings, *([] if limit is None else [limit])]
