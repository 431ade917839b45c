"""Privileges: what is left of root after a start, in every process, as the kernel shows it in /proc."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.test_bad_input import carried_out
from tests.world.relay import USER, relay

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status by name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def descriptors(pid: int) -> list[str]:
    """What a process has open: paths, "socket:[4711]", "pipe:[4711]"."""
    folder = f"/proc/{pid}/fd"
    found = []
    for fd in os.listdir(folder):
        try:
            found.append(os.readlink(f"{folder}/{fd}"))
        except FileNotFoundError:
            continue
    return found


def sockets(pid: int) -> set[str]:
    """Its sockets."""
    return {each for each in descriptors(pid) if each.startswith("socket:")}


def listening_tcp() -> set[str]:
    """All sockets of the host that listen, as `descriptors` names them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"}


def unix_at(name: str) -> set[str]:
    """The UNIX sockets bound to a path that ends so."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {f"socket:[{row[6]}]" for row in rows if len(row) > 7 and row[7].endswith(name)}


def assert_nothing_of_root(pids: list[int], groups: str | None = None) -> None:
    """All ids, groups and sets of capabilities; no way back."""
    for pid in pids:
        found = status(pid)
        for name in ("Uid", "Gid"):
            assert len(found[name].split()) == 4
            assert "0" not in found[name].split()
            assert len(set(found[name].split())) == 1
        assert "0" not in found["Groups"].split()
        assert groups is None or found["Groups"] == groups
        assert {name: int(found[name], 16) for name in SETS[:3] + SETS[4:]} == dict.fromkeys(
            SETS[:3] + SETS[4:], 0
        )
        assert (found["NoNewPrivs"], found["Umask"]) == ("1", "0077")


@as_root
def test_nothing_of_root_is_left_in_any_process() -> None:
    """All four user and group ids, the groups, every set of capabilities; NoNewPrivs and the umask."""
    with relay() as running:
        running.starts_python = True
        running.start()
        assert_nothing_of_root(running.pids())
        for pid in running.pids():
            # Only root may take from the bounding set, and then it is empty.
            assert int(status(pid)["CapBnd"], 16) == 0
            for thread in Path(f"/proc/{pid}/task").iterdir():
                assert_nothing_of_root([int(thread.name)])


@as_root
@pytest.mark.parametrize("role", ["worker 1", "delivery"])
def test_a_child_that_is_started_again_has_nothing_of_root_either(role: str) -> None:
    """It is forked by a master that has been a user for long."""
    with relay() as running:
        running.start()
        running.replace(role)
        assert_nothing_of_root(running.pids())


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
def test_a_user_with_a_capability_for_the_port_loses_it() -> None:
    """As AmbientCapabilities=CAP_NET_BIND_SERVICE of systemd gives it: it binds port 25 and is gone."""
    with relay() as running:
        capability = ("--inh-caps", "-all,+net_bind_service", "--ambient-caps", "-all,+net_bind_service")
        words = ["setpriv", "--reuid", USER, "--regid", "nogroup", "--clear-groups", *capability, sys.executable]
        words += ["-I", "-B", "-m", "relayd", "start", "--port", "986", "-c", str(running.config)]
        shutil.chown(running.folder, USER)
        said = subprocess.run(words, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        assert running.status()["listening"] == ["127.0.0.1:986"]
        assert_nothing_of_root(running.pids())
        running.stop()


# Become nobody as the master does, then try all ways back.
DROP = """
import ctypes, os, subprocess, sys
from relayd.master.privileges import Identity, drop
libc = ctypes.CDLL(None)
{before}
drop(Identity("nobody", 65534, 65534, (65534,)))
for name, back in (
    ("setuid", lambda: os.setuid(0)),
    ("seteuid", lambda: os.seteuid(0)),
    ("setreuid", lambda: os.setreuid(0, 0)),
    ("setresuid", lambda: os.setresuid(-1, 0, -1)),
    ("setgid", lambda: os.setgid(0)),
    ("setresgid", lambda: os.setresgid(-1, 0, -1)),
    ("setgroups", lambda: os.setgroups([0])),
    ("chroot", lambda: os.chroot("/")),
    ("shadow", lambda: open("/etc/shadow")),
):
    try:
        back()
    except PermissionError:
        continue
    print("came back by", name)
print(subprocess.run([sys.argv[1], "-u"], capture_output=True, text=True).stdout.strip())
print([line for line in open("/proc/self/status") if line.startswith("Cap") and int(line.split()[1], 16)])
"""


@as_root
@pytest.mark.parametrize(
    "before",
    [
        pytest.param("", id="plain root"),
        # SECBIT_KEEP_CAPS and SECBIT_NO_SETUID_FIXUP, which some containers set.
        pytest.param("assert libc.prctl(28, 0x14, 0, 0, 0) == 0", id="securebits that keep capabilities"),
        pytest.param("os.setgroups([0, 4, 27])", id="groups of root"),
        pytest.param("os.setresuid(65534, 0, 0); os.setresgid(65534, 0, 65534)", id="half a root"),
    ],
)
def test_there_is_no_way_back(before: str) -> None:
    """From inside: no call makes it root again, and no program with the set-user-ID bit does."""
    with public_folder() as folder:
        program = folder / "id"
        shutil.copy("/usr/bin/id", program)
        program.chmod(0o4755)
        words = [sys.executable, "-I", "-c", DROP.format(before=before), str(program)]
        said = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (said.stdout, said.stderr) == ("65534\n[]\n", "")


@as_root
def test_the_program_with_the_bit_would_work_otherwise() -> None:
    """What makes the test above able to fail: without a drop the bit counts."""
    with public_folder() as folder:
        program = folder / "id"
        shutil.copy("/usr/bin/id", program)
        program.chmod(0o4755)
        said = subprocess.run([program, "-u"], user=65534, capture_output=True, text=True, check=True)
        assert said.stdout == "0\n"


@as_root
def test_a_kernel_that_does_not_let_go_of_root_is_one_line_and_no_start() -> None:
    """A container without CAP_SETUID: exit status 1 with the reason, and nothing is left behind."""
    with relay() as running:
        words = ["setpriv", "--bounding-set", "-setuid", "--inh-caps", "-setuid", sys.executable]
        words += ["-I", "-m", "relayd", "start", "-c", str(running.config)]
        said = subprocess.run(words, capture_output=True, text=True, check=False)
        assert said.returncode == 1
        assert said.stderr == f"relayd: cannot become user {USER}: Operation not permitted\n"
        assert not {"relayd.pid", "relayd.sock"} & {path.name for path in running.spool.iterdir()}


@as_root
@pytest.mark.parametrize(("name", "value"), [("user", "root"), ("group", "root")])
def test_root_only_where_it_is_named_and_never_half_of_it(name: str, value: str) -> None:
    """The user root is root's own wish; the group of root for another user is nobody's."""
    with relay(process="" if name == "user" else f'{name} = "{value}"') as running:
        if name == "user":
            running.config.write_text(running.config.read_text().replace(f'user = "{USER}"', 'user = "root"'))
            os.chown(running.spool, 0, 0)
            running.start()
            assert status(running.pids("master")[0])["Uid"].split() == ["0"] * 4
            return
        said = running.command("start")
        assert said.returncode == 2
        assert "has the group of root" in said.stderr
        assert len(said.stderr.splitlines()) == 1


@as_root
def test_a_spool_that_nobody_can_own_is_one_line() -> None:
    """Below a file, where the user is to be the spool's owner."""
    with relay() as running:
        running.config.write_text(running.config.read_text().replace(f'user = "{USER}"', ""))
        spool = running.config / "spool"
        said = running.command("start", "--spool", str(spool))
        assert (said.returncode, said.stderr) == (1, f"relayd: spool {spool}: Not a directory\n")


# Descriptors.


def test_no_child_has_what_belongs_to_the_master_or_to_another_child() -> None:
    """Neither the pid file's lock, the control socket nor a channel; and delivery has no listener."""
    with relay() as running:
        running.starts_python = True
        running.start()
        master, *children = running.pids()
        of_master = sockets(master)
        control, listeners = unix_at("/relayd.sock"), listening_tcp()
        assert len(of_master & control) == 1
        shared = []
        for pid in children:
            opened = descriptors(pid)
            assert not [path for path in opened if path.endswith((".lock", ".pid")) and "delivery" not in path]
            assert not sockets(pid) & control
            shared.append(sockets(pid) & of_master - listeners)
        # What all children share with the master is the pair that carries the hints.
        assert len(shared[0]) == 2
        assert all(each == shared[0] for each in shared)
        for one in children:
            for other in children:
                assert one == other or sockets(one) & sockets(other) - listeners == shared[0]
        assert all(sockets(pid) & listeners for pid in running.pids("worker"))
        assert not sockets(running.pids("delivery")[0]) & listeners
        # The lock of the spool is delivery's alone.
        holders = [pid for pid in running.pids() if any("delivery.lock" in each for each in descriptors(pid))]
        assert holders == running.pids("delivery")


def test_a_child_that_is_started_again_has_no_channel_of_the_others() -> None:
    """It is forked while the master holds an end of each."""
    with relay() as running:
        running.start()
        running.replace("worker 1")
        master, *children = running.pids()
        listeners = listening_tcp()
        shared = [sockets(pid) & sockets(master) - listeners for pid in children]
        assert all(len(each) == 2 for each in shared)


@pytest.mark.parametrize("words", [(), ("--foreground",)])
def test_what_whoever_starts_it_has_open_is_in_no_process(words: tuple[str, ...]) -> None:
    """A lock, a pipe, a terminal: it would stay open for as long as the relay runs."""
    reading, writing = os.pipe()
    with relay() as running:
        command = [sys.executable, "-I", "-m", "relayd", "start", *words, "-c", str(running.config)]
        with (
            open(running.folder / "secret", "w") as secret,
            open(running.log_file, "ab") as log,
            subprocess.Popen(
                command, stdin=reading, stdout=subprocess.DEVNULL, stderr=log, pass_fds=(writing, secret.fileno())
            ) as started,
        ):
            running.wait(lambda: any(e["role"] == "master" for e in running.events("process.ready")), "start")
            pipe = f"pipe:[{os.fstat(writing).st_ino}]"
            for pid in running.pids():
                opened = descriptors(pid)
                assert pipe not in opened
                assert str(running.folder / "secret") not in opened
            running.stop()
            assert started.wait(10) == 0
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_start_without_standard_descriptors_works(closed: str) -> None:
    """No socket gets the number of standard error, and nobody's mail what is printed there."""
    with relay() as running:
        line = f'exec "$0" -I -m relayd start -c "$1" {closed}'
        done = subprocess.run(
            ["/bin/sh", "-c", line, sys.executable, running.config], capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, running.log_text()
        for pid in running.pids():
            assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null"] * 3
        running.stop()


# Files.


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    with relay() as running:
        yield running.folder


def make_strange(path: Path, what: str, kept: Path) -> None:
    """Put something at the path that the relay must not write to."""
    match what:
        case "link":
            path.symlink_to(kept)
        case "dangling link":
            path.symlink_to(kept.parent / "nothing")
        case "directory":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path)
            shutil.chown(path, USER)
        case "file of another user":
            path.write_text("keep me")
            os.chown(path, 4711, 4711)
        case "second name":
            os.link(kept, path)


@as_root
@pytest.mark.parametrize("where", ["pid_file", "lock", "log"])
@pytest.mark.parametrize(
    "what", ["link", "dangling link", "directory", "FIFO", "file of another user", "second name"]
)
def test_a_strange_file_is_refused_in_one_line_and_left_alone(where: str, what: str) -> None:
    """The relay's user may make such a thing in its own folder, and root would write where it leads."""
    with relay() as running:
        kept = running.folder / "kept"
        kept.write_text("keep me")
        kept.chmod(0o600)
        path = running.spool / {"pid_file": "relayd.pid", "lock": "relayd.pid.lock", "log": "relayd.log"}[where]
        make_strange(path, what, kept)
        before = os.lstat(path)
        said = running.command("start")
        assert said.returncode == 1, said.stdout
        assert path.name in said.stderr
        assert len(said.stderr.splitlines()) == 1
        assert (kept.read_text(), kept.stat().st_uid, kept.stat().st_mode & 0o777) == ("keep me", 0, 0o600)
        assert not (running.folder / "nothing").exists()
        after = os.lstat(path)
        assert (after.st_mode, after.st_uid, after.st_size) == (before.st_mode, before.st_uid, before.st_size)
        for command in ("status", "stop"):
            assert carried_out(running.folder, command, "-c", str(running.config)).status == 3


@as_root
@pytest.mark.parametrize("name", ["", "new", "journal"])
@pytest.mark.parametrize("what", ["link", "file of another user", "directory of another user"])
def test_a_strange_spool_is_refused_in_one_line(name: str, what: str) -> None:
    """The spool itself and the folders in it: neither a link nor a file nor somebody else's."""
    with relay() as running:
        running.start()
        running.leave()
        path = running.spool / name
        aside = running.folder / "aside"
        path.rename(aside)
        match what:
            case "link":
                path.symlink_to(aside)
            case "file of another user":
                make_strange(path, what, aside)
            case _:
                path.mkdir()
                os.chown(path, 4711, 4711)
        before = sorted(aside.iterdir())
        said = running.command("start")
        assert said.returncode == 1, said.stdout
        assert str(path) in said.stderr
        assert len(said.stderr.splitlines()) == 1
        assert sorted(aside.iterdir()) == before
        if path.is_dir() and what != "link":
            assert list(path.iterdir()) == []
        path.unlink() if not path.is_dir() or path.is_symlink() else path.rmdir()
        aside.rename(path)


@as_root
def test_a_log_file_that_root_has_made_is_given_to_the_user() -> None:
    """As logrotate's `create` or a person's `touch` leaves it."""
    with relay() as running:
        running.log_file.touch(0o600)
        os.chown(running.log_file, 0, 0)
        running.start()
        assert running.log_file.owner() == USER
        assert running.events("process.ready")


def test_the_files_that_a_start_makes_are_for_the_user_alone() -> None:
    """The log may be read by its group; nothing may be written, and no mail read, by anybody else."""
    with relay() as running:
        running.starts_python = True
        running.start()
        for path in running.spool.rglob("*"):
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode & 0o022 == 0, path
            if path.name not in ("relayd.pid", "relayd.log"):
                assert mode & 0o077 == 0 or path.name == "format", path
            assert path.lstat().st_uid == running.spool.stat().st_uid
        running.stop()
