"""What is fixed while a relay runs: the parts of a configuration that only a start can change. Pure.

They are in words, so that they can be held against those of other code, in other processes and versions. Refuses
to say what is to be done about a change.
"""

from collections.abc import Mapping

from relayd.base.sections import Config


def fixed(config: Config) -> dict[str, str]:
    """Each part under the name that people know it by."""
    process = config.process
    return {
        "[[listener]] address or port": ", ".join(
            sorted(f"{each.address} {each.port}" for each in config.listeners)
        ),
        "[process] user": str(process.user),
        "[process] group": str(process.group),
        "[process] workers": str(process.workers),
        "[process] pid_file": str(process.pid_file),
        "[spool] directory": str(config.spool.directory),
        "[log] file": str(config.log.file),
    }


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    """The first part that is not the same, or None; a part that only one of them knows is no change."""
    return next((name for name, value in before.items() if after.get(name, value) != value), None)
