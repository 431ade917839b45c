"""`relayd start`: check, bind, fork, and return when the port answers; or be the master in the foreground.

In the background the master is a child of this process in a session of its own; it tells over a pipe how the
start went. Without `[log] file` it then logs to relayd.log in the spool's directory.
"""

import argparse
import os
import socket
import ssl
import sys
from pathlib import Path

from relayd.base.config import Config
from relayd.cli.arguments import configuration
from relayd.cli.output import complain
from relayd.master import boot, control
from relayd.master.control import StatusPlease
from relayd.master.herald import Herald, Told, listen
from relayd.master.report import Listening
from relayd.master.trouble import StartFailed

_ANSWER_SECONDS = 10.0


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    config = configuration(arguments)
    if arguments.foreground:
        return _in_foreground(config)
    log_file = config.log.file or config.spool.directory / "relayd.log"
    told = _in_background(config, log_file)
    for warning in told.warnings:
        complain(f"warning: {warning}")
    if told.failure is not None:
        complain(told.failure)
        return told.status
    report = control.ask(config.process.pid_file, StatusPlease())
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


def _in_foreground(config: Config) -> int:
    herald = Herald()
    try:
        status = boot.run(config, config.log.file, herald)
    except StartFailed as error:
        complain(str(error))
        return error.status
    if herald.told is not None and herald.told.failure is not None:
        complain(herald.told.failure)
    return status


def _in_background(config: Config, log_file: Path) -> Told:
    """Fork the master, and wait for what it says."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        os.close(reading)
        os._exit(_be_master(config, log_file, Herald(writing)))
    os.close(writing)
    told = listen(reading)
    return told or Told(f"the master ended while it started; the log may say why: {log_file}", 1)


def _be_master(config: Config, log_file: Path, herald: Herald) -> int:
    try:
        os.setsid()
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nothing, fd)
        os.close(nothing)
        return boot.run(config, log_file, herald)
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
