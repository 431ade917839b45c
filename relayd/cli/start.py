"""`relayd start`: check, bind, fork, and return when the port answers; or be the master in the foreground.

In the background the master is a child of this process in a session of its own; it tells over a pipe how the
start went. Without `[log] file` it then logs to relayd.log in the spool's directory. In the foreground the sockets
may come from a service manager (LISTEN_FDS).
"""

import argparse
import os
import signal
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from relayd.base.config import Config
from relayd.base.source import Source
from relayd.cli.arguments import source_of
from relayd.cli.output import complain
from relayd.master import boot, control, descriptors, inherited
from relayd.master.control import NotRunning, StatusPlease
from relayd.master.herald import Herald, Told, listen
from relayd.master.inherited import Passed
from relayd.master.report import Listening
from relayd.master.trouble import StartFailed

_ANSWER_SECONDS = 10.0
_USAGE = 2


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    try:
        passed = inherited.passed(os.environ, os.getpid())
    except StartFailed as error:
        complain(str(error))
        return error.status
    if passed and not arguments.foreground:
        complain("sockets were passed (LISTEN_FDS), which is for the process that takes them: add --foreground")
        return _USAGE
    descriptors.give_up_foreign([one.fd for one in passed])
    source = source_of(arguments).read()
    config = source.config()
    if arguments.foreground:
        return _in_foreground(source, config, passed)
    log_file = config.log.file or config.spool.directory / "relayd.log"
    told = _in_background(source, config, log_file)
    for warning in told.warnings:
        complain(f"warning: {warning}")
    if told.failure is not None:
        complain(told.failure)
        return told.status
    try:
        report = control.ask(config.process.pid_file, StatusPlease())
    except NotRunning:
        complain(f"started, and stopped at once by somebody else; the log may say why: {log_file}")
        return 1
    # A proxy's port has no word for anyone else.
    open_ones = [each for each in report.listening if not each.proxy]
    asked = (open_ones or report.listening)[0]
    try:
        greeting = f": {greeting_of(asked)}" if open_ones else ""
    except OSError as error:
        complain(f"started (pid {report.pid}), but {asked.place} does not answer: {error}")
        return 1
    places = ", ".join(each.place for each in report.listening)
    print(f"relayd is running (pid {report.pid}) and answers at {places}{greeting}")
    print(f"log: {log_file}")
    return 0


def _in_foreground(source: Source, config: Config, passed: Sequence[Passed]) -> int:
    # A terminal is for whoever sits there, and no process of ours reads from it.
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    herald = Herald()
    try:
        status = boot.run(source, config, config.log.file, herald, passed)
    except StartFailed as error:
        complain(str(error))
        return error.status
    if herald.told is not None and herald.told.failure is not None:
        complain(herald.told.failure)
    return status


def _in_background(source: Source, config: Config, log_file: Path) -> Told:
    """Fork the master, and wait for what it says."""
    reading, writing = os.pipe()
    master = os.fork()
    if master == 0:
        os.close(reading)
        os._exit(_be_master(source, config, log_file, Herald(writing)))
    os.close(writing)
    try:
        told = listen(reading)
    except KeyboardInterrupt:
        # Whoever does not want to wait for it does not want it later either.
        os.kill(master, signal.SIGTERM)
        raise
    return told or Told(f"the master ended while it started; the log may say why: {log_file}", 1)


def _be_master(source: Source, config: Config, log_file: Path, herald: Herald) -> int:
    try:
        os.setsid()
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nothing, fd)
        os.close(nothing)
        return boot.run(source, config, log_file, herald)
    except StartFailed as error:
        herald.tell(Told(str(error), error.status))
        return error.status
    except BaseException as error:
        herald.tell(Told(f"unexpected {type(error).__name__}: {error}", 1))
        raise


def greeting_of(asked: Listening) -> str:
    """The 220 line of a listener; raises OSError."""
    host, _, port = asked.place.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))
    with socket.create_connection((host, int(port)), _ANSWER_SECONDS) as plain:
        connection = _encrypted(plain) if asked.tls == "implicit" else plain
        greeting = connection.recv(512)
        connection.sendall(b"QUIT\r\n")
    if not greeting.startswith(b"220"):
        raise OSError(f"it says {greeting[:80]!r}")
    return greeting.decode("ascii", "replace").strip()


def _encrypted(plain: socket.socket) -> ssl.SSLSocket:
    # It is asked whether it answers, at an address that its certificate need not name.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)
