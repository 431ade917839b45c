"""A private Postfix: Debian's programs with a configuration and a queue of their own, made for speed.

The system's own Postfix, its configuration, queue and log are left alone: the master is started directly, in a
mount namespace where it finds no system log, which also saves it that work. An fsync for each message stays, as
Postfix has it by default. Needs root and Debian's package; `missing` says what is not there.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.cases import DESTINATIONS
from tests.bench.client import Load, send
from tests.bench.counting import program, wait_until_it_listens
from tests.bench.family import Family, family
from tests.world.authority import Papers
from tests.world.network import free_port

_DAEMONS = Path("/usr/lib/postfix/sbin")
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_STEP = 0.02
_DEAD = "dead.test"
# When the first of the deferred is due again: long after the run.
_DUE_SECONDS = 4 * 3600.0

# A slash before a name: of the user postfix. The others are root's, as postfix-files(5) has them.
_FOLDERS = (
    "/active /bounce /corrupt /defer /deferred /flush /hold /incoming /saved /trace /private /public /maildrop pid"
)

_MAIN = """\
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.example.org
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
message_size_limit = 50000000
mailbox_size_limit = 0
# Nothing is asked, looked up, rewritten or counted that mail does not need.
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions =
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtp_host_lookup = native
transport_maps = texthash:{transport}
default_transport = smtp:[127.0.0.2]:{port}
relay_transport = smtp:[127.0.0.2]:{port}
receive_override_options = no_address_mappings, no_header_body_checks, no_unknown_recipient_checks
local_header_rewrite_clients =
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_error_sleep_time = 0s
in_flow_delay = 0s
# Processes live long, and there are enough of them.
default_process_limit = 200
max_use = 100000
max_idle = 600s
qmgr_message_active_limit = 40000
qmgr_message_recipient_limit = 40000
# Connections are kept on demand, as by default: kept for every destination they cost a fifth more processor time.
initial_destination_concurrency = 20
default_destination_concurrency_limit = 20
smtp_tls_security_level = {outward}
"""
_TLS = """\
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key}, {certificate}
smtpd_tls_session_cache_database =
"""
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""
# In the namespace of its own only.
_WITHOUT_SYSLOG = '[ ! -e /dev/log ] || mount --bind /dev/null "$(readlink -f /dev/log)"; exec "$@"'


def missing() -> str:
    """Why there can be none here, or an empty string."""
    if os.geteuid() != 0:
        return "it needs root"
    if not (_DAEMONS / "master").exists():
        return "Debian's package postfix is not installed"
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    return ""


def version() -> str:
    """Its version; raises subprocess.SubprocessError."""
    command = [program("postconf"), "-d", "-h", "mail_version"]
    # It wants a configuration, and the system has none where the package was never set up.
    done = subprocess.run([*command, "-c", "/usr/share/postfix"], check=False, capture_output=True, text=True)
    return done.stdout.strip() or "of unknown version"


@dataclass(slots=True)
class Postfix:
    """A running one."""

    port: int
    family: Family
    queue: Path

    name = "postfix"

    def is_empty(self) -> bool:
        """Whether no message is on its way through; deferred ones stay."""
        return not any(
            any(each.is_file() for each in self._folder(name).iterdir()) for name in ("incoming", "active")
        )

    def _folder(self, name: str) -> Path:
        return self.queue / name


@contextmanager
def postfix(
    ground: Path, exchanger_port: int, papers: Papers | None, waiting: int, *, is_secured_out: bool = False
) -> Iterator[Postfix]:
    """Start one, with so many deferred messages in its queue, and stop it at the end."""
    folder = ground / "postfix"
    port = free_port()
    _prepare(folder, port, exchanger_port, papers, outward="may" if is_secured_out else "none")
    with family("postfix") as members:
        try:
            with members.birth():
                process = _start(folder)
            members.root = psutil.Process(process.pid)
            try:
                wait_until_it_listens("127.0.0.1", port, _START_SECONDS)
                made = Postfix(port, members, folder / "queue")
                if waiting:
                    _fill(made, waiting)
                yield made
            finally:
                _stop(process)
                # Those that the master did not take with it.
                members.end()
        finally:
            shutil.rmtree(folder)


def _prepare(folder: Path, port: int, exchanger_port: int, papers: Papers | None, *, outward: str) -> None:
    owner = pwd.getpwnam("postfix")
    queue, data, configuration = folder / "queue", folder / "data", folder / "etc"
    for each in (folder, queue, data, configuration):
        each.mkdir()
        each.chmod(0o755)
    os.chown(data, owner.pw_uid, owner.pw_gid)
    for name in _FOLDERS.split():
        made = queue / name.lstrip("/")
        made.mkdir(mode=0o755 if name == "pid" else 0o700)
        if name != "pid":
            os.chown(made, owner.pw_uid, owner.pw_gid)
    transport = configuration / "transport"
    lines = [f"d{number}.test smtp:[127.0.1.{number}]:{exchanger_port}\n" for number in range(1, DESTINATIONS + 1)]
    transport.write_text("".join([f"{_DEAD} retry:4.4.1 dead\n", *lines]))
    main = _MAIN.format(queue=queue, data=data, port=exchanger_port, transport=transport, outward=outward)
    if papers is not None:
        main += _TLS.format(key=papers.key, certificate=papers.certificate)
    (configuration / "main.cf").write_text(main)
    (configuration / "master.cf").write_text(_MASTER.format(port=port))


def _start(folder: Path) -> subprocess.Popen[bytes]:
    master = [str(_DAEMONS / "master"), "-c", str(folder / "etc")]
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", _WITHOUT_SYSLOG, "sh", *master],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _fill(made: Postfix, count: int) -> None:
    """Let one message be deferred, and copy it; a queue ID is a time and a number, in hexadecimal digits."""
    send(made.port, Load(messages=1, sessions=1, octets=1000, domains=(_DEAD,)), _START_SECONDS)
    deadline = time.monotonic() + _START_SECONDS
    while not (found := [path for path in (made.queue / "deferred").rglob("*") if path.is_file()]):
        if time.monotonic() >= deadline:
            raise TimeoutError("Postfix has deferred nothing")
        time.sleep(_STEP)
    original = found[0]
    content, owner = original.read_bytes(), original.stat()
    due = time.time() + _DUE_SECONDS
    for number in range(count - 1):
        name = f"{number * 7919 % 0x100000:05X}{number + 0x1000000:X}"
        path = made.queue / "deferred" / name[0] / name
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700)
            os.chown(path.parent, owner.st_uid, owner.st_gid)
        path.write_bytes(content)
        path.chmod(0o700)
        os.chown(path, owner.st_uid, owner.st_gid)
        os.utime(path, (due, due))
    os.utime(original, (due, due))
    os.sync()
