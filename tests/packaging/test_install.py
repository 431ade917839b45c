"""Source archive and wheel: what is in them, and that what they install works from any directory.

The build has no network: setuptools is pinned for the tests. A copy of the checkout is built, since a build leaves
files beside what it builds.
"""

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.world.code import interpreter, is_possible
from tests.world.network import free_port
from tests.world.relay import USER

TOP = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "build", "dist", "*.egg-info"
)


@dataclass(frozen=True, slots=True)
class Built:
    """What the build made, from a checkout in which somebody's secrets lie."""

    source: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The source archive, and the wheel that is made from it, so that nothing is missing there."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(TOP, folder / "checkout", ignore=left_out)
    for secret in (
        "etc/relay.example.org.key",
        "etc/users",
        "spool/new/1mqp3a2v9wkr7d4hx,S=1",
        "spool/relayd.log",
    ):
        path = folder / "checkout" / secret
        path.parent.mkdir(exist_ok=True)
        path.write_text("secret\n")
    build(folder / "checkout", "sdist", folder)
    (source,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(source, folder / "unpacked")
    (unpacked,) = (folder / "unpacked").iterdir()
    build(unpacked, "wheel", folder)
    (wheel,) = folder.glob("*.whl")
    return Built(source, wheel)


def left_out(folder: str, names: list[str]) -> set[str]:
    """What tools have left, and the mail of a relay that runs here."""
    if Path(folder) == TOP / "spool":
        return set(names) - {"README.md"}
    return _LEFT_OUT(folder, names)


def build(checkout: Path, kind: str, folder: Path) -> None:
    """As a front end of PEP 517 does it, without an environment of its own."""
    code = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=False, cwd=checkout, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "SetuptoolsDeprecationWarning" not in done.stderr, done.stderr


@dataclass(frozen=True, slots=True)
class Installed:
    """A virtual environment with relayd in it and nothing of the checkout."""

    prefix: Path

    def run(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run its `relayd` in a directory."""
        environment = {"PATH": "/usr/bin:/bin"}
        return subprocess.run(
            [self.prefix / "bin" / "relayd", *words],
            check=False,
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment,
            timeout=120,
        )


@pytest.fixture(scope="module")
def installed(built: Built) -> Iterator[Installed]:
    """The wheel alone is installed; the packages that it needs are those of the checkout, at their pins."""
    # Not pytest's own folder, which only its owner may enter: the relay's user must reach the code.
    folder = Path(tempfile.mkdtemp(prefix="relayd-test-"))
    folder.chmod(0o755)
    prefix = folder / "opt"
    python = interpreter() if is_possible() else sys.executable
    subprocess.run([python, "-m", "venv", "--without-pip", "--symlinks", str(prefix)], check=True)
    site = next((prefix / "lib").glob("python3*/site-packages"))
    # A folder that is added so has its own .pth files unread: the checkout is not on the path.
    (site / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip(prefix, "--no-deps", "--no-index", str(built.wheel))
    yield Installed(prefix)
    shutil.rmtree(folder)


def pip(prefix: Path, *words: str) -> None:
    """Install something there."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(prefix / "bin" / "python"), "install", "--no-input", *words],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_source_archive_has_all_that_is_in_the_repository(built: Built) -> None:
    """But for what only git needs."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files"], check=False, cwd=TOP, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("no repository here")
    known = {name for name in listed.stdout.splitlines() if (TOP / name).exists()} - {".gitignore"}
    with tarfile.open(built.source) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert known - packed == set()


def test_nothing_of_an_operator_is_packed(built: Built) -> None:
    """Keys, users and mail of the checkout that the archive is made in."""
    with tarfile.open(built.source) as archive, zipfile.ZipFile(built.wheel) as wheel:
        names = [*archive.getnames(), *wheel.namelist()]
    strangers = ("relay.example.org.key", "etc/users", "spool/new", "spool/relayd.log", "__pycache__", ".pyc")
    assert [name for name in names if any(each in name for each in strangers)] == []


def test_the_wheel_is_the_package_and_what_belongs_to_it(built: Built) -> None:
    """No tests; every module; what man, shells, supervisord, systemd and logrotate want."""
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        said = email.message_from_bytes(wheel.read(metadata))
    stem = metadata.partition(".dist-info/")[0]
    modules = {path.relative_to(TOP).as_posix() for path in (TOP / "relayd").rglob("*.py")}
    assert {name for name in names if name.startswith("relayd/")} == modules | {"relayd/py.typed"}
    shared = {name.removeprefix(f"{stem}.data/data/share/") for name in names if ".data/" in name}
    assert {name for name in shared if not name.startswith("doc/")} == {
        "bash-completion/completions/relayd",
        "fish/vendor_completions.d/relayd.fish",
        "man/man5/relayd.toml.5",
        "man/man8/relayd.8",
        "relayd/logrotate.conf",
        "relayd/relayd-health",
        "relayd/relayd.service",
        "relayd/relayd.socket",
        "relayd/relayd.toml",
        "relayd/supervisord-program.conf",
        "relayd/supervisord.conf",
        "zsh/site-functions/_relayd",
    }
    assert f"{stem}.dist-info/licenses/LICENSE" in names
    assert said["License-Expression"] == "MIT"
    assert set(said.get_all("Provides-Extra", [])) == {"metrics", "test"}


def test_every_file_in_etc_is_packed_or_a_completion() -> None:
    """A file that is added there must be named in setup.py and MANIFEST.in."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "etc"], check=False, cwd=TOP, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("no repository here")
    for name in listed.stdout.splitlines():
        assert name.startswith("etc/completion/") or f'"{name}"' in (TOP / "setup.py").read_text(), name


def test_it_says_its_version_anywhere(installed: Installed, tmp_path: Path) -> None:
    """Also in a folder that has a relayd/ of its own, which must not be what runs."""
    (tmp_path / "relayd").mkdir()
    (tmp_path / "relayd" / "__init__.py").write_text("raise SystemExit('the wrong one')\n")
    done = installed.run("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout.split()[0]) == (0, "relayd")


def test_without_a_configuration_it_says_where_one_belongs(installed: Installed, tmp_path: Path) -> None:
    """No spool appears in whatever folder the command is used in; what it names is there."""
    if Path("/etc/relayd.toml").exists():
        pytest.skip("this machine has a relayd of its own")
    for words in (["start"], ["check"], ["status"], ["queue", "list"]):
        done = installed.run(*words, cwd=tmp_path)
        example = installed.prefix / "share" / "relayd" / "relayd.toml"
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"relayd: no configuration: /etc/relayd.toml is not there; copy {example} to it, "
            "or name a file with -c FILE\n"
        )
        assert example.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_is_installed_can_be_executed(installed: Installed) -> None:
    """supervisord starts the listener by its name."""
    health = installed.prefix / "share" / "relayd" / "relayd-health"
    assert os.access(health, os.X_OK)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a configuration and a spool, which the relay's user reaches."""
    with tempfile.TemporaryDirectory(prefix="relayd-test-") as folder:
        top = Path(folder)
        top.chmod(0o755)
        user = f'[process]\nuser = "{USER}"\n' if USER else ""
        (top / "relayd.toml").write_text(
            f'hostname = "relay.example.org"\n[[listener]]\naddress = "127.0.0.1"\nport = {free_port()}\n'
            f'[spool]\ndirectory = "spool"\nminimum_free = 0\n{user}'
        )
        (top / "spool").mkdir()
        if USER:
            shutil.chown(top / "spool", USER)
        yield top


def test_it_runs_from_another_directory(installed: Installed, place: Path) -> None:
    """Start, status, reload, upgrade and stop, with the configuration named as it is from there."""
    (place / "elsewhere").mkdir()
    here, config = place / "elsewhere", "../relayd.toml"
    try:
        for words in (["start"], ["status"], ["status", "--check"], ["reload"], ["queue", "list"]):
            done = installed.run(*words, "-c", config, cwd=here)
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        if is_possible():
            # Otherwise its Python is root's alone.
            done = installed.run("upgrade", "-c", config, cwd=here)
            assert done.returncode == 0, done.stderr
        processes = installed.run("status", "--json", "-c", config, cwd=here).stdout
        assert '"delivery"' in processes
    finally:
        stopped = installed.run("stop", "-c", config, cwd=here)
    assert stopped.returncode == 0, stopped.stderr
    assert list(here.iterdir()) == []


@pytest.mark.long
def test_the_demo_runs(installed: Installed, tmp_path: Path) -> None:
    """The whole way of a mail, with nothing of a checkout."""
    done = installed.run("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_it_installs_with_its_packages_into_a_clean_environment(built: Built, tmp_path: Path) -> None:
    """As README says it, from the wheel, with the extra; pip finds nothing that does not fit."""
    venv.create(tmp_path / "opt", symlinks=True)
    pip(tmp_path / "opt", f"{built.wheel}[metrics]")
    python = tmp_path / "opt" / "bin" / "python"
    checked = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout
    installed = Installed(tmp_path / "opt")
    done = installed.run("check", "-c", str(TOP / "etc" / "relayd.toml"), "--spool", "s", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert installed.run("--version", cwd=Path("/")).returncode == 0
    found = subprocess.run(
        [python, "-c", "import prometheus_client, relayd; print(relayd.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert found.stdout.startswith(str(tmp_path / "opt"))
