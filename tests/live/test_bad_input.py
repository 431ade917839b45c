"""Bad input: whatever a command line, a configuration or a spool holds, a command says in one line what is wrong.

Each case is a process of the nursery, since a hundred starts of Python take their time; a few go through the real
command, to prove that it is the same.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.world import nursery
from tests.world.relay import USER, relay

ID = "1k14ajj039b3g9rrp"
USAGE, FAILED, NOT_RUNNING = 2, 1, 3
GOOD = """\
hostname = "relay.example.org"
[[listener]]
address = "127.0.0.1"
port = 0
[spool]
directory = "spool"
minimum_free = 0
"""


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    status: int
    output: str
    errors: str


class Desk:
    """A folder with a configuration and an empty spool, and what commands say there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "relayd.toml"
        self.spool = folder / "spool"
        self.config.write_text(GOOD + (f'[process]\nuser = "{USER}"\n' if USER else ""))

    def says(self, *words: str, uid: int | None = None) -> Said:
        """Carry out one command."""
        return carried_out(self.folder, *words, uid=uid)


def carried_out(folder: Path, *words: str, uid: int | None = None) -> Said:
    """Carry out one command in this folder."""
    done = nursery.carried_out(words, folder=folder, uid=uid)
    return Said(done.returncode, *(each.decode(errors="replace") for each in (done.stdout, done.stderr)))


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """With a spool that has been used."""
    with relay() as running:
        running.start()
        running.leave()
        yield Desk(running.folder)


def assert_one_line(said: Said, status: int, *expected: str) -> None:
    """The exit status, and one line on standard error with our name and what is wrong."""
    assert "Traceback" not in said.errors
    assert "defect" not in said.errors
    lines = said.errors.splitlines()
    assert len(lines) == 1, said
    assert said.status == status, said
    assert lines[0].startswith("relayd: ")
    assert lines[0].isprintable()
    assert len(lines[0]) < 1200
    for each in expected:
        assert each in lines[0]


# Words that cannot be understood. What follows "->" must be in the line.
LINES = """
                                            -> COMMAND
--nonsense                                  -> COMMAND
nonsense                                    -> 'nonsense' (choose from 'start', 'stop',
Start                                       -> 'Start' (choose from
start --port                                -> --port: expected one argument
start --port x                              -> write a whole number from 0 to 65535
start --port -1                             -> --port
start --port 65536                          -> write a whole number from 0 to 65535
start --port 1.5                            -> write a whole number from 0 to 65535
start --port 0x19                           -> write a whole number from 0 to 65535
start --port +25                            -> write a whole number from 0 to 65535
start --port 25,26                          -> write a whole number from 0 to 65535
start --port {empty}                        -> write a whole number from 0 to 65535
start --port {long}                         -> write a whole number from 0 to 65535
start --port ²                              -> write a whole number from 0 to 65535
start {empty}                               -> write one like "localhost"
start 256.0.0.1                             -> write one like "localhost"
start 127.0.0.1:25                          -> write one like "localhost"
start {long}                                -> write one like "localhost"
start {bytes}                               -> write one like "localhost"
start {control}                             -> write one like "localhost"
start 192.0.2.1                             -> [relay] postmaster: required
start --foreground=x                        -> --foreground
start --nonsense                            -> unrecognized arguments: --nonsense
stop now                                    -> unrecognized arguments: now
stop --json                                 -> unrecognized arguments: --json
status x                                    -> unrecognized arguments: x
status --jsn                                -> unrecognized arguments: --jsn
check x                                     -> unrecognized arguments: x
check -c                                    -> -c: expected one argument
check -c {empty}                            -> write a path
check -c /nonexistent                       -> /nonexistent: cannot be read: No such file
check -c /tmp                               -> /tmp: cannot be read: Is a directory
check -c /dev/zero                          -> /dev/zero: no configuration: longer than 4 MB
check -c /dev/null/x                        -> cannot be read: Not a directory
check -c {long}                             -> cannot be read: File name too long
check -c {bytes}                            -> cannot be read: No such file
check -c {control}                          -> cannot be read: No such file
check --spool                               -> --spool: expected one argument
check --spool {empty}                       -> write a path
check --spool /dev/null                     -> no directory
reload x                                    -> unrecognized arguments: x
upgrade x                                   -> unrecognized arguments: x
route                                       -> ADDRESS
route a b                                   -> unrecognized arguments: b
route {empty}                               -> not a domain
route @                                     -> local-part@domain
route a@b@c                                 -> local-part@domain
route user@                                 -> local-part@domain
route @example.org                          -> local-part@domain
route a@..                                  -> not an address
route a@[1.2.3]                             -> not an address literal
route a@[IPv6:x]                            -> not an address
route {long}                                -> not a domain
route {bytes}@example.org                   -> not an address
route {control}@example.org                 -> not an address
route -- --probe=x                          -> not a domain
user                                        -> COMMAND
user nonsense                               -> choose from 'add', 'remove', 'list'
user add                                    -> NAME
user add {empty}                            -> [auth]
user add x                                  -> [auth]
user remove x y                             -> unrecognized arguments: y
user list x                                 -> unrecognized arguments: x
queue                                       -> COMMAND
queue nonsense                              -> choose from 'list', 'show',
queue show                                  -> ID
queue show {id} x                           -> unrecognized arguments: x
queue show --raw --transcript {id}          -> not allowed with argument
queue hold                                  -> say which messages are meant
queue release                               -> say which messages are meant
queue remove                                -> say which messages are meant
queue remove --yes                          -> say which messages are meant
queue list --state x                        -> choose from 'new', 'cur', 'hold', 'failed'
queue list --by x                           -> choose from 'destination'
queue list --older soon                     -> like "5m"
queue list --older {empty}                  -> like "5m"
queue list --older {long}                   -> like "5m"
queue list --older -5m                      -> --older
queue fail                                  -> ID
queue fail x                                -> "x" is no ID
queue fail {id} b c                         -> unrecognized arguments: c
queue pause a b                             -> unrecognized arguments: b
trace                                       -> ID
trace x                                     -> "x" is no ID
trace ../../etc/passwd                      -> is no ID
trace {long}                                -> is no ID
trace {bytes}                               -> is no ID
audit x                                     -> unrecognized arguments: x
demo x                                      -> unrecognized arguments: x
""".strip("\n").split("\n")
WORDS = {"empty": "", "long": "9" * 5000, "bytes": "a\udcff", "control": "\x1b[31m\u202e", "id": ID}


def words_of(line: str) -> list[str]:
    """The words, with what cannot be written in a table put in."""
    return [word.format(**WORDS) for word in line.split()]


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.partition("->")[0].split()) or "nothing")
def test_words_that_cannot_be_understood_are_one_line_and_2(desk: Desk, line: str) -> None:
    """It says what was wrong or what is allowed."""
    words, _, expected = line.partition("->")
    asked = words_of(words)
    if asked and not asked[0].startswith("-") and asked[0] != "Start" and "-c" not in asked:
        asked[1:1] = ["-c", str(desk.config)] if asked[0] not in ("user", "queue") else []
        if asked[0] in ("user", "queue"):
            asked += ["-c", str(desk.config)]
    assert_one_line(desk.says(*asked), USAGE, expected.strip())


# What is understood and cannot be done.
@pytest.mark.parametrize(
    ("line", "status", "expected"),
    [
        ("queue show x", FAILED, "x"),
        ("queue show ../../etc/passwd", FAILED, "passwd"),
        ("queue show {id}", FAILED, ID),
        ("queue show {bytes}", FAILED, "a\\udcff"),
        ("queue list --spool /nonexistent", FAILED, "/nonexistent: not there"),
        ("queue list --spool /dev/null", FAILED, "/dev/null"),
        ("queue list --spool {long}", FAILED, "not there"),
        ("audit --spool /nonexistent", FAILED, "/nonexistent: not there"),
        ("audit --spool /etc/passwd", FAILED, "/etc/passwd"),
        ("start --spool /dev/null", FAILED, "/dev/null"),
        ("start --spool /proc/nonexistent", FAILED, "/proc/nonexistent"),
        ("start --spool /etc/passwd/x", FAILED, "/etc/passwd"),
        ("start --spool {long}", FAILED, "File name too long"),
        ("trace {id} --log /nonexistent", FAILED, "/nonexistent: not there"),
        ("trace {id} --spool /nonexistent", FAILED, "/nonexistent: not there"),
        ("reload", NOT_RUNNING, "not running"),
        ("upgrade", NOT_RUNNING, "not running"),
        ("reload --spool /dev/null", NOT_RUNNING, "not running"),
        ("reload --spool {long}", NOT_RUNNING, "not running"),
    ],
)
def test_what_cannot_be_done_is_one_line(desk: Desk, line: str, status: int, expected: str) -> None:
    """Exit status 1, or 3 where it needs a relay that runs."""
    assert_one_line(desk.says(*words_of(line), "-c", str(desk.config)), status, expected)


@pytest.mark.parametrize(
    "line", ["stop", "status", "status --check", "stop --spool {long}", "stop --spool /dev/null"]
)
def test_what_needs_a_relay_says_that_none_runs(desk: Desk, line: str) -> None:
    """Exit status 3, a line on standard output or error, and nothing else."""
    said = desk.says(*words_of(line), "-c", str(desk.config))
    assert said.status == NOT_RUNNING
    assert "relayd is not running" in said.output + said.errors
    assert "Traceback" not in said.errors


# Files that are no configuration.
NUL = "a\\u0000b"
FILES: dict[str, tuple[bytes, str]] = {
    "a NUL": (b"\0", "not TOML"),
    "every octet": (bytes(range(256)), "not UTF-8 at octet 128"),
    "UTF-16": (GOOD.encode("utf-16"), "not UTF-8 at octet 0"),
    "Latin-1": (b'hostname = "\xe4.example.org"\n', "not UTF-8 at octet 12"),
    "an open bracket": (b"[spool\n", "at the end of a table declaration"),
    "the same twice": (b'hostname = "a.example"\nhostname = "b.example"\n', "at line 2"),
    "brackets in brackets": (b"x = " + b"[" * 100_000, "nested too deeply"),
    "tables in tables": (b"x = " + b"{a=" * 50_000, "nested too deeply"),
    "a number of 5000 digits": (b"[process]\nworkers = " + b"9" * 5000, "a number too long"),
    "a number of 4000 digits": (b"[process]\nworkers = " + b"9" * 4000, "from 0 to 256"),
    "infinity": (b"[process]\nworkers = inf\n", "from 0 to 256"),
    "not a number": (b"[process]\nworkers = nan\n", "from 0 to 256"),
    "a date": (b"[process]\nworkers = 2020-01-01\n", "from 0 to 256"),
    "20,000 keys": (b"".join(b"k%d = 1\n" % number for number in range(20_000)), "unknown key; known:"),
    "a dotted key of 5,000": (b".".join([b"a"] * 5_000) + b" = 1\n", "unknown table; known:"),
    "a long key": (b"a" * 100_000 + b" = 1\n", "unknown key"),
    "a key with a line end": (b'"a\\nb" = 1\n', "unknown key"),
    "a key for the terminal": (b'"\\u001b[31m" = 1\n', "unknown key"),
    "an unknown table": (b"[nonsense]\n", "unknown table; known: hostname,"),
    "a misspelt key": (b'[spool]\ndirektory = "x"\n', "did you mean directory?"),
    "a table that is a list": (b"[[spool]]\n", "spool"),
    "a list that is a number": (b"listener = 1\n", "[[listener]]"),
    "too much": (b"#" * 4_000_001, "longer than 4 MB"),
    "NUL in the spool": (f'[spool]\ndirectory = "{NUL}"\n'.encode(), "not a path"),
    "NUL in the log": (f'[log]\nfile = "{NUL}"\n'.encode(), "not a path"),
    "NUL in the pid file": (f'[process]\npid_file = "{NUL}"\n'.encode(), "not a path"),
    "NUL in the host name": (f'hostname = "{NUL}"\n'.encode(), "not a host name"),
    "NUL in a route": (f'[routes]\n"example.net" = "smtp://{NUL}"\n'.encode(), "not a route"),
    "NUL in the user": (f'[process]\nuser = "{NUL}"\n'.encode(), "user"),
    "no spool": (b'[spool]\ndirectory = ""\n', "not a path"),
    "a negative time": (b'[process]\nstop_timeout = "-1s"\n', "not a duration"),
    "a time without a unit": (b"[process]\nstop_timeout = 5\n", "not a duration"),
    "a time without end": (b'[process]\nstop_timeout = "99999999999999999999d"\n', "not a duration"),
    "a size without end": (b'[session]\nmaximum_message = "99999999999999999999 GB"\n', "not a size"),
    "a port of six digits": (b'[[listener]]\naddress = "127.0.0.1"\nport = 999999\n', "from 0 to 65535"),
    "everyone": (b'[relay]\nallow = ["0.0.0.0/0"]\n', "everyone could relay"),
    "a word for a list": (b'[relay]\nallow = "127.0.0.1"\n', "write a list of networks"),
    "no intervals": (b"[delivery]\nretry = []\n", "write a list of one duration or more"),
    "a format": (b'[log]\nformat = "xml"\n', 'write "text" or "json"'),
    "no certificate": (
        b'[tls]\ncertificate = "/nonexistent"\nkey = "/nonexistent"\n',
        "/nonexistent is not there",
    ),
    "a folder for a certificate": (b'[tls]\ncertificate = "/tmp"\nkey = "/tmp"\n', "not a regular file"),
    "a device for a certificate": (b'[tls]\ncertificate = "/dev/zero"\nkey = "/dev/zero"\n', "not a regular file"),
    "metrics nowhere": (b'[metrics]\nlisten = "x"\n', "not an address and a port"),
    "a folder for a pid file": (b'[process]\npid_file = "/tmp"\n', "/tmp is not a regular file"),
    "a folder for a log": (b'[log]\nfile = "/tmp"\n', "/tmp is not a regular file"),
    "a log in no folder": (b'[log]\nfile = "/nonexistent/relayd.log"\n', "no folder /nonexistent"),
    "a log with a long name": (b'[log]\nfile = "' + b"a" * 5000 + b'"\n', "File name too long"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_configuration_is_one_line_and_2(desk: Desk, name: str) -> None:
    """File, place, what stands there and what is allowed; the same for every command that reads it."""
    octets, expected = FILES[name]
    path = desk.folder / "bad.toml"
    if USER and b"[process]" not in octets and octets.startswith(b"["):
        octets += f'\n[process]\nuser = "{USER}"\n'.encode()
    if b"[spool]" not in octets and octets.startswith(b"["):
        octets += b'\n[spool]\ndirectory = "spool"\n'
    if b"hostname" not in octets and octets.startswith(b"["):
        octets = b'hostname = "relay.example.org"\n' + octets
    path.write_bytes(octets)
    said = desk.says("check", "-c", str(path))
    assert_one_line(said, USAGE, str(path), expected)
    # What is seen without looking at the machine, every command sees.
    if "no folder" not in expected and "not a regular" not in expected and "there" not in expected:
        for command in (["status"], ["stop"], ["queue", "list"]):
            other = desk.says(*command, "-c", str(path))
            assert other == said or other.status != USAGE


def test_a_configuration_that_may_not_be_read_is_one_line(desk: Desk) -> None:
    """As a user whose file it is not."""
    if os.geteuid() != 0:
        pytest.skip("needs root: becomes another user")
    path = desk.folder / "secret.toml"
    path.write_text(GOOD)
    path.chmod(0o600)
    said = desk.says("check", "-c", str(path), uid=65534)
    assert_one_line(said, USAGE, f"{path}: cannot be read: Permission denied")


@pytest.mark.parametrize(
    ("words", "status", "errors"),
    [
        (["nonsense"], USAGE, "relayd: argument COMMAND: invalid choice: 'nonsense'"),
        (
            ["check", "-c", "/nonexistent"],
            USAGE,
            "relayd: /nonexistent: cannot be read: No such file or directory",
        ),
        (["check", "-c", "\udcff\n"], USAGE, "relayd: \\udcff\\n: cannot be read: No such file or directory"),
        (["check", "-c", "/dev/zero"], USAGE, "relayd: /dev/zero: no configuration: longer than 4 MB"),
    ],
)
def test_the_real_command_says_the_same(words: list[str], status: int, errors: str) -> None:
    """Through Python's own start, with the C locale, whose standard error is ASCII."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    said = subprocess.run(
        [sys.executable, "-m", "relayd", *words], capture_output=True, text=True, check=False, env=environment
    )
    assert (said.returncode, said.stdout) == (status, "")
    assert len(said.stderr.splitlines()) == 1
    assert said.stderr.startswith(errors)


# What cannot be written.


@pytest.mark.parametrize("command", ["status", "queue list", "--version", "route a@example.org", "audit"])
def test_a_full_disk_below_the_output_is_one_line(desk: Desk, command: str) -> None:
    """/dev/full: what the command has to say is lost, and that is said."""
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-I", "-m", "relayd", *command.split()]
        words += [] if command.startswith("-") else ["-c", str(desk.config)]
        said = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
        assert said.returncode != 0
        assert len(said.stderr.splitlines()) == 1, said.stderr
        assert "No space left on device" in said.stderr


# Spools that somebody else wrote.


def make(path: Path, what: str) -> None:
    """Put something there that is not what it should be."""
    match what:
        case "folder":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path)
        case "dangling link":
            path.symlink_to("/nonexistent")
        case "link to a device":
            path.symlink_to("/dev/zero")
        case "nothing in it":
            path.touch()
        case "octets":
            path.write_bytes(bytes(range(256)) * 100)
        case "brackets":
            path.write_bytes(b"relayd 1\n" + b"[" * 100_000 + b"\n\n")
        case "another format":
            path.write_bytes(b"relayd 99\n{}\n\n")
    if USER:
        os.lchown(path, *owner_of(path.parent))


def owner_of(path: Path) -> tuple[int, int]:
    """Whose a folder is."""
    found = path.stat()
    return found.st_uid, found.st_gid


STRANGE = (
    "folder",
    "FIFO",
    "dangling link",
    "link to a device",
    "nothing in it",
    "octets",
    "brackets",
    "another format",
)
# What could make a command hang, read for ever or recurse for ever; the long run has all.
OFTEN = ("folder", "FIFO", "link to a device", "brackets")
COMMANDS = ("status", "queue list", f"queue show {ID}", f"trace {ID}", "audit", f"queue fail {ID}", "check")


@pytest.mark.parametrize(
    "place",
    [f"new/{ID},S=10", f"failed/{ID},S=10", f"journal/{ID}", "ledger/2026-01-01", "exchangers", "pause", "format"],
)
@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[] if what in OFTEN else [pytest.mark.long]) for what in STRANGE]
)
def test_a_strange_file_in_the_spool_is_no_traceback(desk: Desk, place: str, what: str) -> None:
    """No command hangs, dies or prints what a terminal would obey; those that cannot go on say why in one line."""
    path = desk.spool / place
    if path.exists():
        path.unlink()
    make(path, what)
    try:
        for command in COMMANDS:
            said = desk.says(*command.split(), "-c", str(desk.config))
            assert "Traceback" not in said.errors, said
            assert "defect" not in said.errors, said
            assert said.status in (0, FAILED, USAGE, NOT_RUNNING), said
            assert said.errors.replace("\n", "").isprintable()
            assert said.output.replace("\n", "").isprintable()
    finally:
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        if place == "format":
            path.write_text("relayd 1\n")
            if USER:
                os.chown(path, *owner_of(desk.spool))
