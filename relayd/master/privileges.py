"""Privileges: who the processes are once the port is bound, and how root becomes that user for good.

`choose` decides, `drop` does it. Refuses to run as root unless the configuration names root. Fails with
StartFailed, whose line says what to do.
"""

import ctypes
import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from relayd.base.sections import Process
from relayd.master.trouble import StartFailed

_PR_SET_NO_NEW_PRIVS = 38
_USAGE = 2


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and its groups, as numbers; the name is for people."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def choose(process: Process, spool: Path) -> Identity:
    """Who the relay runs as: the configured user, else whoever starts it, else, for root, the spool's owner."""
    if os.geteuid() != 0:
        return _myself(process)
    if process.user is not None:
        return _named(process.user, process.group)
    owner = _owner(spool)
    if owner == 0:
        raise StartFailed(
            f"started as root, and {spool} belongs to root; make a user for it: "
            "useradd --system --no-create-home --shell /usr/sbin/nologin relayd "
            f"&& mkdir -p {spool} && chown -R relayd: {spool}",
            _USAGE,
        )
    try:
        return _named(pwd.getpwuid(owner).pw_name, process.group)
    except KeyError:
        raise StartFailed(
            f"{spool} belongs to uid {owner}, which is no user of this host; set process.user", _USAGE
        ) from None


def drop(identity: Identity) -> None:
    """Become that user, with no way back, and take no privilege from any program that is executed later."""
    os.umask(0o077)
    if os.geteuid() == 0:
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
        if identity.uid != 0:
            _prove_it_is_gone()
    # Not in the standard library. A failure (a kernel before 3.5) only means that nothing is gained.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _prove_it_is_gone() -> None:
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise StartFailed("root could be had again after it was dropped; not started")


def _myself(process: Process) -> Identity:
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    if process.user is not None and process.user not in (name, str(uid)):
        raise StartFailed(
            f'[process] user = "{process.user}", and this is {name}: only root can become another user', _USAGE
        )
    return Identity(name, uid, os.getegid(), tuple(os.getgroups()))


def _named(user: str, group: str | None) -> Identity:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise StartFailed(
            f'[process] user = "{user}": no such user; make it: '
            f"useradd --system --no-create-home --shell /usr/sbin/nologin {user}",
            _USAGE,
        ) from None
    gid = entry.pw_gid
    if group is not None:
        try:
            gid = grp.getgrnam(group).gr_gid
        except KeyError:
            raise StartFailed(
                f'[process] group = "{group}": no such group; make it: groupadd --system {group}', _USAGE
            ) from None
    return Identity(user, entry.pw_uid, gid, tuple(os.getgrouplist(user, gid)))


def _owner(spool: Path) -> int:
    """Who owns the spool, or the nearest folder above it that is there."""
    for path in (spool, *spool.parents):
        try:
            return path.stat().st_uid
        except FileNotFoundError:
            continue
    return 0
