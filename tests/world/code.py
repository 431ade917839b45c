"""Other code: copies of the package, each with an interpreter of its own, for a relay that is upgraded to them.

A relay that root started executes them as somebody else, who has to be able to read them. A copy may be of another
version, or broken. Nothing here imports relayd.
"""

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TOP = Path(__file__).parents[2]
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True, slots=True)
class Code:
    """One copy: its folder, and what runs it."""

    folder: Path
    python: str


def code(folder: Path, version: str, *, added: Mapping[str, str] | None = None, packages: bool = True) -> Code:
    """A copy in a new folder; `added` are lines for the ends of modules, and `packages` are what it needs."""
    folder.mkdir()
    changes = {"__init__.py": f'__version__ = "{version}"', **(added or {})}
    (folder / "relayd").mkdir()
    # What is not changed is there by a link, with what is compiled, which the relay's user could not write.
    apart = {"__pycache__", *(Path(name).parts[0] for name in changes)}
    for each in (_TOP / "relayd").iterdir():
        if each.is_dir() and each.name in apart:
            shutil.copytree(each, folder / "relayd" / each.name, copy_function=os.symlink)
        else:
            (folder / "relayd" / each.name).symlink_to(each)
    for name, lines in changes.items():
        module = folder / "relayd" / name
        text = module.read_text()
        module.unlink()
        module.write_text(f"{text}\n\n{lines}\n")
    python = interpreter()
    site = folder / ".venv" / "lib" / _PYTHON / "site-packages"
    site.mkdir(parents=True)
    (folder / ".venv" / "bin").mkdir()
    (folder / ".venv" / "bin" / "python").symlink_to(python)
    (folder / ".venv" / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    paths = [str(folder), *([sysconfig.get_path("purelib")] if packages else [])]
    (site / "code.pth").write_text("\n".join(paths))
    return Code(folder, str(folder / ".venv" / "bin" / "python"))


def interpreter() -> Path:
    """The one that runs the tests, or the system's of the same version, where the first is for root alone."""
    own = Path(os.path.realpath(sys.executable))
    return own if os.geteuid() != 0 or _is_for_all(own) else Path("/usr/bin") / _PYTHON


def is_possible() -> bool:
    """Whether there is an interpreter that the relay's user can execute, and whether it can read this checkout."""
    return os.geteuid() != 0 or (_is_for_all(interpreter()) and _is_for_all(_TOP))


def _is_for_all(path: Path) -> bool:
    return path.exists() and all(each.stat().st_mode & 0o001 for each in (path, *path.parents))
