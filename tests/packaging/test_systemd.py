"""The relay as systemd starts it: by relayd.service's user and one capability, and by relayd.socket's descriptors.

There is no systemd here: setpriv and systemd-socket-activate do what the units say.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.world.network import free_port
from tests.world.relay import Relay, relay

ETC = Path(__file__).parents[2] / "etc"
_SECONDS = 30.0
# MemoryDenyWriteExecute=yes: prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN), Linux 6.3.
_NO_NEW_CODE = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)


@contextmanager
def in_foreground(running: Relay, *before: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`relayd start --foreground` behind other words; ended by SIGTERM, which must end it with 0."""
    words = [*before, sys.executable, "-I", "-m", "relayd", "start", "--foreground", "-c", str(running.config)]
    with open(running.log_file, "ab") as log:
        started = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env={**os.environ, **environment}
        )
    try:
        yield started
        started.send_signal(signal.SIGTERM)
        assert started.wait(_SECONDS) == 0, running.log_text()
    finally:
        if started.poll() is None:
            started.kill()
            started.wait()


def privileged_port() -> int:
    """A free port that only root, or who has the capability, may bind."""
    for port in range(1023, 600, -1):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    pytest.skip("no port below 1024 is free")


def greeting(port: int) -> bytes:
    """What a client hears first."""
    with socket.create_connection(("127.0.0.1", port), _SECONDS) as client:
        return client.recv(512)


def hears_ready(ear: socket.socket) -> bool:
    """Whether systemd would know by now that it is started."""
    with contextlib.suppress(BlockingIOError):
        while b"READY=1" not in ear.recv(4096):
            pass
        return True
    return False


def of_service(key: str) -> str:
    """A setting of relayd.service that is there once."""
    (value,) = re.findall(f"^{key}=(.*)$", (ETC / "relayd.service").read_text(), re.MULTILINE)
    return str(value)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_it_binds_its_port_as_the_service_and_keeps_no_capability() -> None:
    """One capability, for the port: given up in every process once systemd hears that it is ready."""
    assert of_service("AmbientCapabilities") == of_service("CapabilityBoundingSet") == "CAP_NET_BIND_SERVICE"
    only = "-all,+net_bind_service"
    given = [
        sys.executable,
        "-I",
        "-c",
        _NO_NEW_CODE,
        "setpriv",
        "--reuid=nobody",
        "--regid=nogroup",
        "--clear-groups",
        "--no-new-privs",
    ]
    given += [f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"]
    port = privileged_port()
    settings = f'[[listener]]\naddress = "127.0.0.1"\nport = {port}\n'
    with relay(settings) as running, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(running.folder / "notify"))
        (running.folder / "notify").chmod(0o666)
        ear.setblocking(False)
        with in_foreground(running, *given, NOTIFY_SOCKET=str(running.folder / "notify")) as master:
            running.wait(lambda: hears_ready(ear) or master.poll() is not None, "READY=1 for systemd")
            assert greeting(port).startswith(b"220 ")
            # psutil's view belongs to whoever asks; /proc has the kernel's.
            children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
            assert len(children) == 3
            for pid in (str(master.pid), *children):
                status = dict(
                    line.split(":\t", 1)
                    for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                    if ":\t" in line
                )
                held = {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
                assert set(held.values()) == {"0" * 16}, held
                assert status["NoNewPrivs"] == "1"
                assert set(status["Uid"].split()) == {"65534"}


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="no systemd-socket-activate here")
def test_it_takes_the_ports_that_systemd_has_bound() -> None:
    """The client whose connection starts it is served."""
    port = free_port()
    settings = f'[[listener]]\naddress = "127.0.0.1"\nport = {port}\n'
    with relay(settings) as running:
        # It insists on the first descriptor after standard error.
        alone = ("sh", "-c", 'exec 3<&- 4<&-; exec "$@"', "sh")
        with in_foreground(running, *alone, "systemd-socket-activate", "-l", f"127.0.0.1:{port}"):
            running.wait(lambda: connects(port), "port")
            assert greeting(port).startswith(b"220 ")
        # It is not relayd's to close: the program that bound it has become relayd here, and ended with it.
        assert not connects(port)


def connects(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
