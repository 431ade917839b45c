"""Every block of README and docs that says it is run is run, and every other one says why it is not."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.documents.blocks import KINDS, asked, blocks, commands, differs, with_id

TOP = Path(__file__).parents[2]
DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
# Whose checkout it is, and so the relay's user.
OWNER = "nobody"

# Why a block is not run, by its first line.
_WHEEL = "tests/packaging installs the wheel; pip would ask an index for the packages"
_MINUTES = "it takes minutes, and measures nothing beside other tests"
REASONS: dict[str, str] = {
    "bin/test": "it is what runs these tests",
    "bin/test -m long tests/crash": _MINUTES,
    "bin/bench             every case beside Postfix and beside the limits: ten to fifteen minutes": _MINUTES,
    "python3 -m venv /opt/relayd && /opt/relayd/bin/pip install .": _WHEEL,
    "python3 -m venv /opt/relayd && /opt/relayd/bin/pip install '.[metrics]'": _WHEEL,
    "cp /opt/relayd/share/relayd/relayd.service /etc/systemd/system/": "systemd would have to run",
    'swaks --server 192.0.2.1 --port 2525 --proxy-version 1 --proxy "TCP4 198.51.100.7 192.0.2.1 4711 25" \\': (
        "it is said on the proxy's host; tests/live/test_clients.py has the same on loopback"
    ),
}

_PARTS = ("bin", "etc", "relayd", "LICENSE", "README.md", "pyproject.toml", "setup.py")
_SECONDS = 240.0
_TOOLS = ("bash", "openssl", "supervisord", "swaks", "telnet", "unshare")


@contextmanager
def checkout() -> Iterator[Path]:
    """A copy of the checkout that belongs to somebody who is not root, with the .venv of this one."""
    folder = Path(tempfile.mkdtemp(prefix="relayd-documents-"))
    try:
        folder.chmod(0o755)
        for part in _PARTS:
            if (TOP / part).is_dir():
                shutil.copytree(TOP / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(TOP / part, folder / part)
        (folder / "spool").mkdir()
        shutil.copy2(TOP / "spool" / "README.md", folder / "spool")
        (folder / ".venv").symlink_to(TOP / ".venv")
        # What a document does as another user it does here as the one who is there already.
        (folder / "commands").mkdir()
        (folder / "commands" / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (folder / "commands" / "sudo").chmod(0o755)
        subprocess.run(["chown", "-Rh", OWNER, str(folder)], check=True)
        yield folder
    finally:
        shutil.rmtree(folder)


def why_not() -> str:
    """Why documents cannot be played here, or nothing."""
    if os.geteuid() != 0:
        return "only root makes networks and listens on port 25"
    absent = [tool for tool in _TOOLS if shutil.which(tool) is None]
    return f"missing: {', '.join(absent)}" if absent else ""


def is_run(document: Path) -> bool:
    """Whether a document has anything to run."""
    text = document.read_text()
    return any(each.kind not in ("text", "sh by-hand") for each in blocks(text)) or any(asked(text))


# The longest is for the long run.
PLAYED = [
    pytest.param(each, marks=[pytest.mark.long] if each.name == "operation.md" else [])
    for each in DOCUMENTS
    if is_run(each)
]


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "nothing is missing")
@pytest.mark.parametrize("document", PLAYED, ids=lambda path: path.name)
def test_what_a_document_shows_is_what_happens(document: Path) -> None:
    """Each block is run in a checkout, a network and a table of processes that nobody else uses."""
    alone = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with checkout() as folder:
        played = subprocess.run(
            [*alone, sys.executable, "-m", "tests.documents.player", str(folder), str(document)],
            check=False,
            cwd=TOP,
            env={
                **os.environ,
                "PATH": f"{folder / 'commands'}:{os.environ['PATH']}:/usr/sbin:/sbin",
                "LC_ALL": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    assert played.returncode == 0, played.stdout + played.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_of_each_block_it_is_known_whether_it_is_run(document: Path) -> None:
    """No block is of a kind that nobody plays, and no code stands there without a fence."""
    found = list(blocks(document.read_text()))
    assert {each.kind for each in found} <= KINDS, [each for each in found if each.kind not in KINDS]


def test_what_is_not_run_has_a_reason() -> None:
    """Here, and each reason is of a block that is still there."""
    by_hand = {each.first for path in DOCUMENTS for each in blocks(path.read_text()) if each.kind == "sh by-hand"}
    assert by_hand == set(REASONS)


def test_blocks_are_told_by_their_fences() -> None:
    """Each with its first line and its kind."""
    text = "Words\n\n```console\n$ a \\\n    b\nc\n$ d\n```\n\n```toml alone\n[x]\n```\n"
    first, second = blocks(text)
    assert (first.line, first.kind, second.line, second.kind) == (4, "console", 11, "toml alone")
    assert [(each.line, each.words, each.shown) for each in commands(first)] == [(4, "a b", ("c",)), (7, "d", ())]


def test_code_without_a_fence_is_found() -> None:
    """Else it would be run by nobody, and nobody would know."""
    with pytest.raises(ValueError, match="line 3"):
        list(blocks("Words\n\n    rm -rf spool\n"))
    with pytest.raises(ValueError, match="does not end"):
        list(blocks("```sh\nls\n"))


def test_what_a_table_asks_is_a_command() -> None:
    """In the column of that name, however many there are."""
    text = "| you see | ask | it means |\n|---|---|---|\n| `x` | `a b`, `c` | `d` |\n\n| ask |\n"
    assert [each.words for each in asked(text)] == ["a b", "c"]


@pytest.mark.parametrize(
    ("shown", "said", "line"),
    [
        (["3 messages in 5 ms"], ["before", "12  messages in 0 ms", "after"], None),
        (["a", "b"], ["b", "a"], "b"),
        (["queued as 1mqp3a2v9wkr7d4hx"], ["queued as 1nbq8xq9vwkr7d4hx"], None),
        (["from ... to", "", "..."], ["from here to"], None),
        (["x"], ["x y"], "x"),
        ([], ["anything"], None),
    ],
)
def test_what_varies_is_not_compared(shown: list[str], said: list[str], line: str | None) -> None:
    """Numbers, IDs and blanks vary; words and their order do not."""
    assert differs(shown, said) == line


def test_the_id_of_the_documents_stands_for_the_real_one() -> None:
    """So that what is shown of a message is asked of the one that is there."""
    assert with_id("queue show 1mqp3a2v9wkr7d4hx", "0" * 17) == "queue show " + "0" * 17
