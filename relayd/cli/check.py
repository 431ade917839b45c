"""`relayd check`: read the configuration, and say what a start would say, without starting anything."""

import argparse
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from relayd.base.config import Config, warnings
from relayd.base.mistake import ConfigError
from relayd.cli import medium, outward
from relayd.cli.arguments import config_path, configuration
from relayd.cli.output import complain, plural
from relayd.deliver.keeping import Keeping
from relayd.master import credentials, descriptors, extras, privileges
from relayd.master.credentials import Findings
from relayd.master.ownership import check_spool
from relayd.master.preload import preload
from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed
from relayd.spool.layout import Layout

# The exit status that says: the configuration.
_WRONG = 2
_ALL = os.R_OK | os.W_OK | os.X_OK


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    source = config_path(arguments) or "built-in defaults"
    config = configuration(arguments)
    try:
        identity = privileges.choose(config.process, config.spool.directory)
    except StartFailed as error:
        raise ConfigError(f"{source}: {error}") from None
    strange = _strange(config, identity)
    found = as_user(identity, lambda: _look(config, identity))
    limit = descriptors.warning(descriptors.raise_limit())
    memory = Keeping(Layout(str(config.spool.directory)), None, time.time, time.time).read()
    blocked = outward.warning(config, memory, time.time())
    hints = [*warnings(config), medium.warning(config.spool.directory), limit, blocked, *found.warnings]
    given = [hint for hint in hints if hint is not None]
    for warning in given:
        complain(f"warning: {warning}")
    # The packages are imported before root is dropped.
    missing = extras.trouble(config)
    troubles = [*strange, *found.troubles, *([] if missing is None else [missing])]
    for trouble in troubles:
        complain(f"{source}: {trouble}")
    if troubles:
        return _WRONG
    print(f"{source}: good" + (f", {plural(len(given), 'warning')}" if given else ""))
    return 0


def _look(config: Config, identity: Identity) -> Findings:
    """What the user that the relay runs as meets."""
    found = credentials.look(config, identity.name, time.time())
    return Findings([*_unreachable(config), *found.troubles], found.warnings)


def _unreachable(config: Config) -> list[str]:
    found = []
    if config.source is not None and not os.access(config.source, os.R_OK):
        found.append(f"user {os.geteuid()} cannot read the configuration itself")
    directory = config.spool.directory
    if directory.is_dir() and directory.stat().st_uid == os.geteuid() and not os.access(directory, _ALL):
        found.append(f"[spool] directory: {directory} is not readable and writable for the relay's user")
    return found


def _strange(config: Config, identity: Identity) -> list[str]:
    """As whoever starts it: what stands where the relay has its spool and its files, and will be refused."""
    directory = config.spool.directory
    # The other files may be in it.
    try:
        check_spool(directory, identity)
    except StartFailed as error:
        return [f"[spool] directory: {error}"]
    except OSError as error:
        return [f"[spool] directory: {directory}: {error.strerror}"]
    found = _unwritable("[process] pid_file", config.process.pid_file, identity)
    if config.log.file is not None:
        found += _unwritable("[log] file", config.log.file, identity)
    return found


def _unwritable(key: str, path: Path, identity: Identity) -> list[str]:
    try:
        status = path.lstat()
    except FileNotFoundError:
        # The folder of the log is nobody's to make; that of the pid file is.
        if key == "[log] file" and not path.parent.is_dir():
            return [f"{key}: {path}: there is no folder {path.parent}"]
        if path.parent.is_dir() and not os.access(path.parent, os.W_OK):
            return [f"{key}: {path} cannot be written"]
        return []
    except OSError as error:
        return [f"{key}: {path}: {error.strerror}"]
    if stat.S_ISLNK(status.st_mode):
        return [f"{key}: {path} is a symbolic link; it must not be one"]
    if not stat.S_ISREG(status.st_mode):
        return [f"{key}: {path} is not a regular file"]
    if status.st_uid not in (identity.uid, os.geteuid()):
        return [f"{key}: {path} belongs to uid {status.st_uid}, not to {identity.name}"]
    if not os.access(path, os.W_OK):
        return [f"{key}: {path} cannot be written"]
    return []


def as_user(identity: Identity, look: Callable[[], Findings]) -> Findings:
    """Do the looking in a child that has become the user, since root may read everything."""
    if os.geteuid() != 0 or identity.uid == 0:
        return look()
    preload()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            privileges.drop(identity)
            found = look()
        except BaseException as error:
            found = Findings([f"cannot look as user {identity.name}: {type(error).__name__}: {error}"])
        try:
            os.write(writing, msgspec.json.encode(found))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        return Findings([f"cannot look as user {identity.name}: the process that looked was killed"])
    return msgspec.json.decode(said, type=Findings)
