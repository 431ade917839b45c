"""Tests of what bin/relayd and bin/test do first: the making of .venv, with a stand-in Python.

They know nothing of relayd itself, and download nothing. They fail when a set-up runs that should not, or
does not run where it should.
"""

import ast
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent

# Stands for python3 and, copied by its own `-m venv`, for .venv/bin/python: notes each call in $CALLS, and
# ends with 1 when its arguments hold $FAILING.
PYTHON = """#!/bin/sh
case $1 in
    --version) echo "${VERSION:-Python 3.11.4}"; exit ;;
esac
echo "$@" >>"$CALLS"
case "$*" in
    *"${FAILING:-nothing fails}"*) echo "stand-in: $FAILING failed"; exit 1 ;;
    "-I -m venv "*)
        mkdir -p "$4/bin" "$4/lib/python3.11/site-packages"
        echo "command = python3 -m venv $4" >"$4/pyvenv.cfg"
        cp "$0" "$4/bin/python"
        ;;
esac
"""


class Checkout:
    """A copy of the bootstrap files, with the stand-in as its Python."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.venv = top / ".venv"
        shutil.copytree(TOP / "bin", top / "bin")
        shutil.copy(TOP / "setup.py", top)
        self.python = top / "python3"
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)
        self.log = top / "calls"
        self.log.touch()

    def start(self, command: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start bin/COMMAND with nothing in its environment but what is given."""
        given = {"PATH": "/usr/bin:/bin", "PYTHON": str(self.python), "CALLS": str(self.log), **environment}
        return subprocess.Popen(
            [self.top / "bin" / command, *arguments], env=given, stderr=subprocess.PIPE, text=True
        )

    def run(self, command: str, *arguments: str, **environment: str) -> tuple[int, list[str]]:
        """Run bin/COMMAND; return its exit status and the lines of its standard error."""
        process = self.start(command, *arguments, **environment)
        _, said = process.communicate()
        return process.returncode, said.splitlines()

    def calls(self, module: str) -> list[str]:
        """Return the arguments of each call of `-m MODULE` so far."""
        lines = self.log.read_text().splitlines()
        return [line.partition(f"-m {module}")[2].strip() for line in lines if f"-m {module}" in line]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Return a fresh clone."""
    return Checkout(tmp_path)


@pytest.fixture
def others() -> Iterator[Checkout]:
    """Yield a fresh clone that belongs to another user, below folders which that user may enter."""
    if os.geteuid() != 0:
        pytest.skip("needs root: gives the checkout to another user")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        checkout = Checkout(Path(folder) / "checkout")
        for path in (checkout.top, *checkout.top.rglob("*")):
            os.chown(path, 65534, 65534)
        yield checkout


def pinned(*names: str) -> list[str]:
    """Return the pins in the lists NAMES of setup.py, as Python reads them."""
    body = ast.parse((TOP / "setup.py").read_text()).body
    lists = {ast.unparse(node.targets[0]): node.value for node in body if isinstance(node, ast.Assign)}
    return [pin for name in names for pin in ast.literal_eval(lists[name])]


def test_the_first_run_installs_the_pins_and_runs(checkout: Checkout) -> None:
    """A fresh clone: .venv is made from the list in setup.py, said in two lines; then relayd runs."""
    status, said = checkout.run("relayd", "status", "-c", "a b")
    assert status == 0
    assert len(said) == 2
    assert checkout.calls("pip")[0].endswith(" ".join(pinned("RUNTIME", "METRICS")))
    assert checkout.calls("relayd") == ["status -c a b"]
    assert not (checkout.top / ".venv.new").exists()
    assert f"venv {checkout.venv}\n" in (checkout.venv / "pyvenv.cfg").read_text()


def test_a_second_run_only_runs(checkout: Checkout) -> None:
    """A stamp that matches: nothing is installed, nothing said."""
    checkout.run("relayd")
    assert checkout.run("relayd") == (0, [])
    assert len(checkout.calls("pip")) == 1
    assert len(checkout.calls("relayd")) == 2


def test_the_test_command_adds_its_own_pins(checkout: Checkout) -> None:
    """bin/test after bin/relayd installs its packages too, once, and bin/relayd is content with that."""
    checkout.run("relayd")
    checkout.run("test", "-k", "x")
    assert checkout.calls("pip")[1].endswith(" ".join(pinned("RUNTIME", "METRICS", "TEST")))
    assert checkout.run("test", "-k", "x") == (0, [])
    assert checkout.run("relayd") == (0, [])
    assert len(checkout.calls("pip")) == 2
    assert checkout.calls("pytest") == ["-k x", "-k x"]


def test_the_test_command_runs_every_check(checkout: Checkout) -> None:
    """Without arguments: one check that fails does not hide the others, and is the exit status."""
    assert checkout.run("test", FAILING="-m mypy")[0] == 1
    assert [len(checkout.calls(name)) for name in ("ruff", "mypy", "pytest")] == [1, 1, 1]


@pytest.mark.parametrize(("command", "module"), [("bench", "tests.bench"), ("pages", "tests.packaging.pages")])
def test_what_measures_and_makes_has_the_packages_of_the_tests(
    checkout: Checkout, command: str, module: str
) -> None:
    """bin/bench and bin/pages run code of tests/."""
    assert checkout.run(command)[0] == 0
    assert checkout.calls("pip")[0].endswith(" ".join(pinned("RUNTIME", "METRICS", "TEST")))
    assert checkout.calls(module) == [""]


def test_changed_pins_are_installed(checkout: Checkout) -> None:
    """A stamp of other pins: set-up runs again."""
    checkout.run("relayd")
    setup = checkout.top / "setup.py"
    setup.write_text(setup.read_text().replace("psutil==7", "psutil==8"))
    checkout.run("relayd")
    assert "psutil==8" in checkout.calls("pip")[1]


def test_another_python_gets_a_new_venv(checkout: Checkout) -> None:
    """A stamp of another X.Y: set-up runs again; another patch level is the same Python."""
    checkout.run("relayd")
    assert checkout.run("relayd", VERSION="Python 3.11.9") == (0, [])
    checkout.run("relayd", VERSION="Python 3.12.1")
    assert len(checkout.calls("pip")) == 2


@pytest.mark.parametrize("left", [".venv", ".venv.new"])
def test_a_half_made_venv_is_made_again(checkout: Checkout, left: str) -> None:
    """What a killed set-up left has no stamp: it is removed and made again."""
    (checkout.top / left / "bin").mkdir(parents=True)
    (checkout.top / left / "half").touch()
    assert checkout.run("relayd")[0] == 0
    assert len(checkout.calls("pip")) == 1
    assert not list(checkout.top.glob(".venv*/half"))


def test_a_missing_venv_module_names_the_package(checkout: Checkout) -> None:
    """Debian's python3 without python3-venv: one line that says what to install."""
    status, said = checkout.run("relayd", FAILING="import ensurepip, venv")
    assert (status, len(said)) == (1, 1)
    assert "apt-get install python3-venv" in said[0]
    assert not checkout.venv.exists()


@pytest.mark.parametrize("version", ["Python 2.7.18", "Python 3.9.2", "Python 3.10.13"])
def test_an_old_python_is_refused(checkout: Checkout, version: str) -> None:
    """Older than 3.11: one line that says which it is."""
    status, said = checkout.run("relayd", VERSION=version)
    assert (status, len(said)) == (1, 1)
    assert f"{version}; 3.11 or newer is needed" in said[0]


def test_no_python_is_one_line(checkout: Checkout) -> None:
    """PYTHON names nothing that runs: one line that says what to install."""
    status, said = checkout.run("relayd", PYTHON="/nonexistent/python3")
    assert (status, len(said)) == (1, 1)
    assert "apt-get install python3 " in said[0]


def test_a_failing_pip_leaves_the_old_venv(checkout: Checkout) -> None:
    """pip's last lines and a clear one; the .venv that was there is untouched, the new one gone."""
    checkout.run("relayd")
    before = (checkout.venv / ".stamp").read_text()
    status, said = checkout.run("test", FAILING="-m pip")
    assert status == 1
    assert said[1] == "stand-in: -m pip failed"
    assert "pip could not install" in said[2]
    assert (checkout.venv / ".stamp").read_text() == before
    assert not (checkout.top / ".venv.new").exists()
    assert checkout.run("relayd") == (0, [])


def test_a_second_set_up_waits_for_the_first(checkout: Checkout) -> None:
    """Under another's lock: it waits, and then uses what the other has made."""
    checkout.run("relayd")
    checkout.venv.rename(checkout.top / "made")
    lock = os.open(checkout.top / "bin", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = checkout.start("relayd")
        assert process.stderr is not None
        assert "waiting" in process.stderr.readline()
        (checkout.top / "made").rename(checkout.venv)
    finally:
        os.close(lock)
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert len(checkout.calls("pip")) == 1
    assert len(checkout.calls("relayd")) == 2


def test_root_sets_up_as_the_owner(others: Checkout) -> None:
    """sudo bin/relayd: .venv belongs to the checkout's owner, and no compiled file is left by root."""
    assert others.run("relayd")[0] == 0
    owners = {path.lstat().st_uid for path in (others.venv, *others.venv.rglob("*"))}
    assert owners == {65534}
    assert "-I -B -m relayd" in others.log.read_text()
