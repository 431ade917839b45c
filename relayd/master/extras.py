"""Extras: packages that only some configurations need, such as prometheus-client for [metrics].

Refuses to install anything. What is missing is one line that says how to have it.
"""

import importlib
import os
from collections.abc import Callable
from importlib.util import find_spec

from relayd.base.sections import Config
from relayd.master.trouble import StartFailed

_CONFIGURATION = 2
_METRICS = "prometheus_client"


def trouble(config: Config, find: Callable[[str], object] = find_spec) -> str | None:
    """What is missing, or None; `find` gives None for a package that is not there."""
    if config.metrics is not None and find(_METRICS) is None:
        return (
            "[metrics] listen: prometheus-client is not installed; pip install 'relayd[metrics]', or leave it out"
        )
    return None


def load(config: Config, load_module: Callable[[str], object] = importlib.import_module) -> None:
    """Import it before root is dropped and before the fork, as `preload` does; raises StartFailed.

    Root imports what is there in any case: a later configuration may want it, whose user may not read it.
    """
    missing = trouble(config)
    if missing is not None:
        raise StartFailed(missing, _CONFIGURATION)
    if config.metrics is None and (os.geteuid() or find_spec(_METRICS) is None):
        return
    try:
        load_module("relayd.observe.process")
    except (ImportError, OSError) as error:
        # Half installed, or not to be read by who starts this.
        if config.metrics is not None:
            reason = f"[metrics] listen: prometheus-client cannot be imported: {error}"
            raise StartFailed(reason, _CONFIGURATION) from error
