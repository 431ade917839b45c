"""Capabilities: the parts of root that Linux gives and takes one by one, emptied for the calling process.

The standard library has none of these calls. Refuses to keep any of them. Fails with OSError; on a system that is
not Linux there is nothing to take, and nothing happens.
"""

import ctypes
import os
import sys
from pathlib import Path

# Of linux/prctl.h and linux/capability.h.
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x2008_0522
# A kernel knows some 40, and says EINVAL to the first that it does not know; the sets have room for so many.
_MOST = 64
_SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")
_STATUS = Path("/proc/self/status")


class _Header(ctypes.Structure):
    # pid 0 is the calling thread; the master has no other.
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Words(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def empty_bounding_set() -> None:
    """Let no program that is executed later have a capability, whatever its file says; as root.

    A container's root may not be allowed to; then the kernel's NoNewPrivs holds it alone.
    """
    for capability in range(_MOST):
        if not _prctl(_PR_CAPBSET_DROP, capability):
            return


def empty() -> None:
    """Give up every capability that this process has or could take."""
    # A kernel before 4.3 has no ambient set.
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if not _is_linux():
        return
    # The second half of each set comes behind the first.
    words = (_Words * 2)()
    if _libc().capset(ctypes.byref(_Header(_VERSION_3, 0)), words):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def gain_nothing() -> None:
    """Let no program that is executed later have more than this process, by set-user-ID or by its file."""
    # A failure (a kernel before 3.5) only means that nothing is gained.
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def held() -> bool:
    """Whether any set but the bounding one still has something, as the kernel shows it."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        # Without /proc there is nobody to ask.
        return False
    return any(int(line.partition(":")[2], 16) for line in lines if line.startswith(_SETS))


def _prctl(option: int, argument: int) -> bool:
    return _is_linux() and _libc().prctl(option, *map(ctypes.c_ulong, (argument, 0, 0, 0))) == 0


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _is_linux() -> bool:
    return sys.platform == "linux"
