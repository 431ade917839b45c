"""Privileges: who the processes are once the port is bound, and how root becomes that user for good.

`choose` decides, `drop` does it. Refuses to run as root unless the configuration names root. Fails with
StartFailed, whose line says what to do.
"""

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from relayd.base.sections import Process
from relayd.master import capabilities
from relayd.master.trouble import StartFailed

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
    """Become that user, with no way back, and take no privilege from any program that is executed later.

    Who was never root may have capabilities all the same, for the port (AmbientCapabilities= of systemd); they
    have done their service and go too. Only where the configuration names root does root keep what it has.
    """
    os.umask(0o077)
    try:
        if os.geteuid() == 0 and identity.uid != 0:
            # Only root may take from the bounding set, so it is the first to go.
            capabilities.empty_bounding_set()
        if os.geteuid() == 0:
            os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
        if identity.uid != 0:
            # The change of user empties neither what is inheritable nor, with the securebits of some containers,
            # anything at all.
            capabilities.empty()
    except OSError as error:
        raise StartFailed(f"cannot become user {identity.name}: {error.strerror}") from None
    capabilities.gain_nothing()
    if identity.uid != 0:
        _prove_it_is_gone(identity)


def _prove_it_is_gone(identity: Identity) -> None:
    if os.getresuid() != (identity.uid,) * 3 or os.getresgid() != (identity.gid,) * 3 or capabilities.held():
        raise StartFailed("root was dropped, and not all of it is gone; not started")
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
    except (KeyError, ValueError):
        raise StartFailed(
            f'[process] user = "{user}": no such user; make it: '
            f"useradd --system --no-create-home --shell /usr/sbin/nologin {user}",
            _USAGE,
        ) from None
    gid = entry.pw_gid
    if group is not None:
        try:
            gid = grp.getgrnam(group).gr_gid
        except (KeyError, ValueError):
            raise StartFailed(
                f'[process] group = "{group}": no such group; make it: groupadd --system {group}', _USAGE
            ) from None
    if entry.pw_uid == 0:
        return Identity(user, 0, gid, tuple(os.getgrouplist(user, gid)))
    if gid == 0:
        raise StartFailed(
            f"user {user} has the group of root, and would read what is root's; "
            "set [process] group to another one",
            _USAGE,
        )
    # Whatever the host's files give this user: the group of root is a part of root.
    return Identity(user, entry.pw_uid, gid, tuple(each for each in os.getgrouplist(user, gid) if each != 0))


def _owner(spool: Path) -> int:
    """Who owns the spool, or the nearest folder above it that is there."""
    for path in (spool, *spool.parents):
        try:
            return path.stat().st_uid
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StartFailed(f"spool {spool}: {error.strerror}") from None
    return 0
