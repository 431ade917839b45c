"""The floors of the house: imports only run down, and what each floor refuses to know it does not import."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "relayd"

# What a floor may import of ours, beside itself. "?" is a name that is made up at run time.
_BELOW = {"smtp", "base", "spool", "__version__"}
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "smtp": set(),
    "base": set(),
    "spool": {"smtp", "base"},
    "receive": _BELOW,
    "deliver": _BELOW,
    "observe": {"base", "spool", "__version__"},
    "master": _BELOW | {"receive", "deliver", "observe", "?"},
    "cli": _BELOW | {"receive", "deliver", "observe", "master", "?"},
    "__main__": {"cli"},
}
# SMTP is built here on sockets, whatever else a floor may do.
FOREIGN = {"smtplib", "smtpd", "aiosmtpd"}
# A pure floor has no socket, clock, file, log or loop.
IMPURE = {
    "asyncio",
    "logging",
    "os",
    "pathlib",
    "random",
    "select",
    "selectors",
    "socket",
    "ssl",
    "threading",
    "time",
}
# One selector, no threads, no asyncio; getting the children going is another matter.
MASTER_WITHOUT = {"asyncio", "threading", "concurrent"}


def violations(sources: Iterable[tuple[str, str]]) -> list[str]:
    """What breaks the rules in modules of the package, given as pairs of a path ("smtp/reply.py") and source."""
    return [line for path, source in sources for line in _violations(path, source)]


def _violations(path: str, source: str) -> Iterator[str]:
    floor = path.partition("/")[0].removesuffix(".py")
    if floor not in ALLOWED:
        yield f"{path}: {floor} is no floor of the house"
        return
    for line, module in _imports(path, ast.parse(source)):
        top, _, below = module.partition(".")
        target = below.partition(".")[0]
        wrong = (
            top in FOREIGN
            or (floor == "smtp" and top in IMPURE)
            or (floor == "master" and top in MASTER_WITHOUT)
            or (top == "relayd" and target not in {floor} | ALLOWED[floor])
        )
        if wrong:
            yield f"{path}:{line}: {floor} must not import {module}"


def _imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every module that is imported, in whatever way and wherever in the file, with its line."""
    package = ["relayd", *path.split("/")[:-1]]
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom():
                base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
                origin = ".".join(part for part in (base, node.module) if part)
                if origin == "relayd":
                    # `from relayd import deliver` names the floor after the import.
                    yield from ((node.lineno, f"relayd.{alias.name}") for alias in node.names)
                else:
                    yield node.lineno, origin
            case ast.Call(func=ast.Name(id="__import__") | ast.Attribute(attr="import_module"), args=[name, *_]):
                yield node.lineno, str(name.value) if isinstance(name, ast.Constant) else "relayd.?"


def own_modules() -> list[tuple[str, str]]:
    """All modules of the package."""
    return [
        (path.relative_to(PACKAGE).as_posix(), path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
    ]


def test_imports_only_run_down() -> None:
    """In every module of the package."""
    assert violations(own_modules()) == []


def test_every_floor_is_looked_at() -> None:
    """The check sees the house as it stands."""
    floors = {path.partition("/")[0] for path, _ in own_modules()}
    assert floors >= {"smtp", "base", "spool", "receive", "deliver", "observe", "master", "cli", "__init__.py"}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("smtp/server.py", "from relayd.base.log import Log"),
        ("smtp/server.py", "import socket"),
        ("smtp/server.py", "from relayd import __version__"),
        ("base/log.py", "import relayd"),
        ("smtp/server.py", "def f():\n    from os import path"),
        ("smtp/server.py", "import os.path"),
        ("base/log.py", "from relayd.smtp import reply"),
        ("spool/queue.py", "import relayd.deliver.retry"),
        ("receive/worker.py", "from relayd.deliver.retry import after"),
        ("receive/worker.py", "from relayd import deliver"),
        ("receive/worker.py", "from ..deliver import retry"),
        ("receive/worker.py", "from .. import deliver"),
        ("receive/worker.py", "import importlib\nimportlib.import_module('relayd.deliver')"),
        ("receive/worker.py", "__import__('relayd.' + floor)"),
        ("receive/worker.py", "if TYPE_CHECKING:\n    from relayd.master import Master"),
        ("deliver/delivery.py", "from relayd.receive.worker import Post"),
        ("deliver/delivery.py", "import smtplib"),
        ("observe/metrics.py", "from relayd.smtp.reply import Reply"),
        ("master/master.py", "from relayd.cli import main"),
        ("master/master.py", "import asyncio"),
        ("cli/start.py", "from aiosmtpd.controller import Controller"),
        ("__main__.py", "from relayd.master.boot import run"),
        ("__init__.py", "from relayd.cli import main"),
        ("manager/all.py", "pass"),
    ],
)
def test_a_violation_is_found(path: str, source: str) -> None:
    """However it is written."""
    assert len(violations([(path, source)])) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("smtp/server.py", "import re\nfrom relayd.smtp.reply import Reply\nfrom . import reply"),
        ("base/loop.py", "import asyncio, importlib\nimportlib.import_module('uvloop')"),
        ("receive/worker.py", "from relayd import __version__\nfrom relayd.spool.intake import Intake"),
        ("receive/worker.py", "from .policy import Policy\nfrom ..base import log"),
        ("master/boot.py", "from relayd.receive import worker\nfrom relayd.deliver import delivery"),
        ("cli/start.py", "from relayd.master import boot\nfrom relayd.base.config import load"),
        ("__main__.py", "from relayd.cli import main"),
    ],
)
def test_what_runs_down_is_no_violation(path: str, source: str) -> None:
    """Floors below, oneself, and other people's packages."""
    assert violations([(path, source)]) == []
