"""The files in etc/ for supervisord and systemd: their times fit the relay's, and their programs take them."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from relayd.base import sections
from relayd.base.config import load
from relayd.cli.arguments import parse
from relayd.cli.stop import _MARGIN_SECONDS

ETC = Path(__file__).parents[2] / "etc"
SUPERVISORD = ("supervisord.conf", "supervisord-program.conf")
# A mistake in the configuration; see relayd.cli.
_USAGE = "2"


def process() -> sections.Process:
    """The defaults."""
    return load(ETC / "relayd.toml").process


def supervised(name: str) -> configparser.RawConfigParser:
    """A configuration of supervisord."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read_string((ETC / name).read_text())
    return parser


def unit(name: str) -> dict[str, list[str]]:
    """The settings of a systemd unit; one may be there more than once."""
    found: dict[str, list[str]] = {}
    for line in (ETC / name).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", SUPERVISORD)
def test_supervisord_waits_for_longer_than_a_stop_takes(name: str) -> None:
    """A KILL while sessions have their time would leave processes behind."""
    waits = supervised(name).getint("program:relayd", "stopwaitsecs")
    assert waits >= process().stop_timeout + _MARGIN_SECONDS


@pytest.mark.parametrize(
    ("section", "places"),
    [
        ("program:relayd", {"command", "stdout_logfile"}),
        ("eventlistener:relayd-health", {"command", "stderr_logfile"}),
    ],
)
def test_the_two_files_of_supervisord_run_the_same(section: str, places: set[str]) -> None:
    """A checkout and an installed package differ in places only."""
    one, other = (dict(supervised(name)[section]) for name in SUPERVISORD)
    assert {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)} == places


@pytest.mark.parametrize("name", SUPERVISORD)
def test_what_supervisord_starts_is_a_command_of_ours(name: str) -> None:
    """In the foreground, as it must be."""
    program = supervised(name)["program:relayd"]["command"]
    words = program.replace('"', "").split()
    assert parse(words[1:]).foreground
    assert words[0].endswith("/bin/relayd")
    listener = supervised(name)["eventlistener:relayd-health"]["command"].replace('"', "").split()[0]
    assert (ETC / Path(listener).name).stat().st_mode & 0o111


def test_supervisord_takes_the_program_of_an_installed_relayd(tmp_path: Path) -> None:
    """Read by supervisord's own reader, under a [supervisord] like Debian's."""
    python = _interpreter("supervisord")
    found = []
    for name in SUPERVISORD:
        text = (ETC / name).read_text().replace("/var/log/supervisor", str(tmp_path))
        if "[supervisord]" not in text:
            text = "[supervisord]\n" + text
        # What is read is checked for existence too.
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "spool").mkdir(exist_ok=True)
        (tmp_path / "etc" / name).write_text(text)
        code = (
            "import sys; from supervisor.options import ServerOptions; options = ServerOptions(); "
            "options.realize(['-c', sys.argv[1]]); print(*(each.name for each in options.process_group_configs))"
        )
        done = subprocess.run(
            [python, "-c", code, str(tmp_path / "etc" / name)], check=False, stdout=subprocess.PIPE, text=True
        )
        found.append(sorted(done.stdout.split()))
    assert found == [["relayd", "relayd-health"]] * 2


def _interpreter(script: str) -> str:
    """The Python that has the packages of a command."""
    path = shutil.which(script)
    if path is None:
        pytest.skip(f"no {script} here")
    first = Path(path).read_text().splitlines()[0]
    return first.removeprefix("#!").strip()


def test_systemd_waits_for_longer_than_a_stop_takes() -> None:
    """As supervisord; and TERM is for the master alone."""
    service = unit("relayd.service")
    assert float(service["TimeoutStopSec"][0]) >= process().stop_timeout + _MARGIN_SECONDS
    assert service["KillMode"] == ["mixed"]


def test_systemd_does_not_repeat_what_cannot_go_well() -> None:
    """A mistake in the configuration; everything else is tried again for ever."""
    service = unit("relayd.service")
    assert service["RestartPreventExitStatus"] == [_USAGE]
    assert service["StartLimitIntervalSec"] == ["0"]


@pytest.mark.parametrize("key", ["ExecStart", "ExecReload"])
def test_what_systemd_starts_is_a_command_of_ours(key: str) -> None:
    """With the configuration of the system, in the foreground."""
    words = unit("relayd.service")[key][0].split()
    arguments = parse(words[1:])
    assert words[0] == "/opt/relayd/bin/relayd"
    assert arguments.config == Path("/etc/relayd.toml")
    assert key != "ExecStart" or arguments.foreground


def test_systemd_lets_it_write_where_it_writes() -> None:
    """The default spool of a configuration in /etc."""
    assert unit("relayd.service")["ReadWritePaths"] == [str(load_in_etc().spool.directory)]


def load_in_etc() -> sections.Config:
    """The shipped configuration as it is at /etc/relayd.toml."""
    return load(Path("/etc/relayd.toml"), text=(ETC / "relayd.toml").read_text())


def test_a_configuration_in_etc_has_its_spool_in_var() -> None:
    """A folder beside /etc would be one in the root of the file system; however the path is written."""
    text = (ETC / "relayd.toml").read_text()
    for path in ("/etc/relayd.toml", "/etc/relayd/relayd.toml", "/opt/../etc/relayd.toml"):
        assert load(Path(path), text=text).spool.directory == Path("/var/spool/relayd")
    assert load(Path("/opt/relayd/etc/relayd.toml"), text=text).spool.directory == Path("/opt/relayd/spool")
    written = load(Path("/etc/relayd.toml"), text='[spool]\ndirectory = "queue"')
    assert written.spool.directory == Path("/etc/queue")


def test_the_sockets_of_systemd_are_the_default_listeners() -> None:
    """localhost is both addresses."""
    (listener,) = load(ETC / "relayd.toml").listeners
    assert listener.address == "localhost"
    assert unit("relayd.socket")["ListenStream"] == [f"127.0.0.1:{listener.port}", f"[::1]:{listener.port}"]


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """No setting that it does not know, and hardened as its own judgement has it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    for name in ("relayd.service", "relayd.socket"):
        # The program and its pages need not be installed here.
        text = (ETC / name).read_text().replace("/opt/relayd/bin/relayd", "/bin/true")
        (tmp_path / name).write_text(re.sub("^Documentation=.*\n", "", text, flags=re.MULTILINE))
    paths = [str(tmp_path / name) for name in ("relayd.service", "relayd.socket")]
    done = subprocess.run(["systemd-analyze", "verify", *paths], check=False, capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if "relayd" in line] == []
    # The scale is of systemd, tenths of ten points; what is left is the network.
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", paths[0]],
        check=False,
        capture_output=True,
        text=True,
    )
    assert judged.returncode == 0, judged.stdout.splitlines()[-1:] or judged.stderr
