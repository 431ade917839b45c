"""`relayd check`: read the configuration, and say what a start would say, without starting anything."""

import argparse
import os
import time
from collections.abc import Callable

import msgspec

from relayd.base.config import Config, warnings
from relayd.base.mistake import ConfigError
from relayd.cli import medium, outward
from relayd.cli.arguments import config_path, configuration
from relayd.cli.output import complain, plural
from relayd.deliver.keeping import Keeping
from relayd.master import credentials, descriptors, privileges
from relayd.master.credentials import Findings
from relayd.master.preload import preload
from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed
from relayd.spool.layout import Layout

# The exit status that says: the configuration.
_WRONG = 2


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    source = config_path(arguments) or "built-in defaults"
    config = configuration(arguments)
    try:
        identity = privileges.choose(config.process, config.spool.directory)
    except StartFailed as error:
        raise ConfigError(f"{source}: {error}") from None
    found = as_user(identity, lambda: _look(config, identity))
    limit = descriptors.warning(descriptors.raise_limit())
    memory = Keeping(Layout(str(config.spool.directory)), None, time.time, time.time).read()
    blocked = outward.warning(config, memory, time.time())
    hints = [*warnings(config), medium.warning(config.spool.directory), limit, blocked, *found.warnings]
    given = [hint for hint in hints if hint is not None]
    for warning in given:
        complain(f"warning: {warning}")
    for trouble in found.troubles:
        complain(f"{source}: {trouble}")
    if found.troubles:
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
    if directory.exists() and not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        found.append(f"[spool] directory: {directory} is not readable and writable for the relay's user")
    log = config.log.file
    if log is not None and not os.access(log if log.exists() else log.parent, os.W_OK):
        found.append(f"[log] file: {log} cannot be written")
    return found


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
