"""The user: a command that changes the spool is done as the user that the relay runs as, also when called by root.

Fails with PermissionError.
"""

from relayd.base.config import Config
from relayd.master import privileges
from relayd.master.trouble import StartFailed


def become(config: Config) -> None:
    """Become that user; raises PermissionError, as any other user would meet it."""
    try:
        privileges.drop(privileges.choose(config.process, config.spool.directory))
    except StartFailed as error:
        raise PermissionError(1, str(error), str(config.spool.directory)) from None
