"""Resources: what this process and the machine have left for sessions, as the system says it."""

import os
import resource
import sys

import psutil

# Beside those that are open when all is ready, for the ledger, the log, a folder.
_SPARE_DESCRIPTORS = 32


def most_sessions() -> int:
    """How many sessions are certain to get what they need: two descriptors, a socket and a message's draft."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(1, (files - len(os.listdir("/proc/self/fd")) - _SPARE_DESCRIPTORS) // 2)


def available_memory() -> float:
    """The share of the machine's memory that is available without swapping."""
    memory = psutil.virtual_memory()
    return float(memory.available / memory.total)
