"""`relayd user …`: who may relay with a password. It writes the file of [auth]; workers see the change at once.

Called by root it leaves the file to the user that the relay runs as, who must read it. A password is asked for
twice at a terminal, or is one line of standard input; it is never an argument, which `ps` would show to everyone.
"""

import argparse
import contextlib
import fcntl
import getpass
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from relayd.base.config import Config
from relayd.base.mistake import ConfigError
from relayd.base.users import LONGEST_PASSWORD, Users, UsersError, check_name
from relayd.cli.arguments import config_path, configuration
from relayd.cli.output import clean, complain
from relayd.master import privileges
from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed

_FAILED = 1
# A character has four octets at most, and the line its end.
_LONGEST_LINE = 4 * LONGEST_PASSWORD + 2


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    config = configuration(arguments)
    if config.auth is None:
        source = config_path(arguments) or "built-in defaults"
        raise ConfigError(f'{source}: [auth] users: required; write a table [auth] with users = "users"')
    path = config.auth.users
    try:
        match arguments.user_command:
            case "add":
                _add(config, path, arguments.name)
            case "remove":
                _change(config, path, lambda users: users.removed(arguments.name))
                print(f"user {clean(arguments.name)} is removed")
            case "list":
                for name in Users.load(path).names:
                    print(clean(name))
    except UsersError as error:
        complain(str(error))
        return _FAILED
    return 0


def _add(config: Config, path: Path, name: str) -> None:
    # Before anybody types a password for nothing.
    name = check_name(name)
    password = _password()
    before = _change(config, path, lambda users: users.added(name, password))
    print(f"user {name} has a new password" if name in before else f"user {name} is added")


def _password() -> str:
    if sys.stdin.isatty():
        return asked(getpass.getpass)
    octets = sys.stdin.buffer.readline(_LONGEST_LINE)
    try:
        return octets.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsersError("the password on standard input is not UTF-8") from None


def asked(ask: Callable[[str], str]) -> str:
    """Ask for a new password until it is typed the same twice, three times at most; raise UsersError."""
    for _ in range(3):
        try:
            password = ask("Password: ")
            if password == ask("Again: "):
                return password
        except EOFError:
            break
        complain("the two differ")
    raise UsersError("no password was given")


def _change(config: Config, path: Path, change: Callable[[Users], Users]) -> Users:
    """Replace the file by what the change makes of it; give what it was before."""
    owner = _writer(config, path)
    with _alone(path.parent):
        try:
            before = Users.load(path)
        except FileNotFoundError:
            before = Users({})
        change(before).write(path, owner)
    return before


def _writer(config: Config, path: Path) -> tuple[int, int] | None:
    """Whom root gives the file to when it has written it; None when this process writes it as who it is then.

    Where that user can put other folders in the way, root becomes the user first: it would write, and give away, a
    file in any folder that the user chooses.
    """
    if os.geteuid() != 0:
        return None
    try:
        identity = privileges.choose(config.process, config.spool.directory)
    except StartFailed as error:
        raise ConfigError(str(error)) from None
    if identity.uid != 0 and any(may_change(folder.stat(), identity) for folder in _folders(path)):
        privileges.drop(identity)
        return None
    return identity.uid, identity.gid


def _folders(path: Path) -> set[Path]:
    """All that lead to a file, and to where their links lead."""
    return {*path.parents, *path.parent.resolve().parents, path.parent.resolve()}


def may_change(folder: os.stat_result, identity: Identity) -> bool:
    """Whether the user can put something else in the place of what is in a folder and belongs to root."""
    if folder.st_uid == identity.uid:
        return True
    groups = (identity.gid, *identity.groups)
    writable = folder.st_mode & stat.S_IWOTH or (folder.st_mode & stat.S_IWGRP and folder.st_gid in groups)
    return bool(writable) and not folder.st_mode & stat.S_ISVTX


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Of two commands at once, the second begins with what the first has written."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
