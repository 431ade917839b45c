"""`relayd check`: read the configuration, and say what a start would say, without starting anything."""

import argparse
import os
from collections.abc import Callable

from relayd.base.config import Config, warnings
from relayd.base.mistake import ConfigError
from relayd.cli import medium
from relayd.cli.arguments import config_path, configuration
from relayd.cli.output import complain, plural
from relayd.master import privileges
from relayd.master.privileges import Identity
from relayd.master.trouble import StartFailed


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    source = config_path(arguments) or "built-in defaults"
    config = configuration(arguments)
    try:
        identity = privileges.choose(config.process, config.spool.directory)
    except StartFailed as error:
        raise ConfigError(f"{source}: {error}") from None
    found = warnings(config)
    medium_warning = medium.warning(config.spool.directory)
    if medium_warning is not None:
        found.append(medium_warning)
    for warning in found:
        complain(f"warning: {warning}")
    troubles = as_user(identity, lambda: _troubles(config))
    for trouble in troubles:
        complain(f"{source}: {trouble}")
    if troubles:
        return 1
    print(f"{source}: good" + (f", {plural(len(found), 'warning')}" if found else ""))
    return 0


def _troubles(config: Config) -> list[str]:
    """What the user that the relay runs as cannot do."""
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


def as_user(identity: Identity, look: Callable[[], list[str]]) -> list[str]:
    """Do the looking in a child that has become the user, since root may read everything."""
    if os.geteuid() != 0 or identity.uid == 0:
        return look()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            privileges.drop(identity)
            os.write(writing, "\n".join(look()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return said.splitlines() if status == 0 else [f"cannot become user {identity.name}"]
