"""Arguments: the words of a command line, and the function that each command stands for.

A command's module is imported only when it is asked for, so that `status` does not pay for `start`. Words that
cannot be understood are one line on standard error and exit status 2.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, cast

from relayd import __version__
from relayd.base.config import Config, load
from relayd.cli.output import complain

Command = Callable[[argparse.Namespace], int]

_CHECKOUT = Path(__file__).parents[2] / "etc" / "relayd.toml"
_SYSTEM = Path("/etc/relayd.toml")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        complain(f"{message} (see {self.prog} --help)")
        sys.exit(2)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words; ends the process for --help, --version and words that cannot be understood."""
    common = _Parser(add_help=False)
    common.add_argument(
        "-c",
        dest="config",
        metavar="FILE",
        type=Path,
        default=argparse.SUPPRESS,
        help="the configuration (default: etc/relayd.toml of this checkout, else /etc/relayd.toml)",
    )
    common.add_argument(
        "--spool",
        metavar="DIR",
        type=Path,
        default=argparse.SUPPRESS,
        help="the spool, instead of the configured one",
    )
    top = _Parser(
        prog="relayd", description="An outbound mail relay that one person can understand.", parents=[common]
    )
    top.add_argument("--version", action="version", version=f"relayd {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name: str, does: str, of: "argparse._SubParsersAction[_Parser]" = commands) -> _Parser:
        return of.add_parser(name, help=does, description=does[0].upper() + does[1:] + ".", parents=[common])

    start = command("start", "start the relay; returns when it answers")
    start.add_argument(
        "addresses", metavar="ADDRESS", nargs="*", help="where to listen, instead of the configured"
    )
    start.add_argument(
        "--port", type=int, metavar="N", help="the port of all listeners, instead of the configured"
    )
    start.add_argument(
        "--foreground", action="store_true", help="stay in the foreground and log to standard error (supervisord)"
    )
    command("stop", "stop the relay: sessions may end, for process.stop_timeout at most")
    _json(command("status", "show the processes, what waits in the spool, and what went through"))
    command("check", "read the configuration and say what is wrong with it")
    queue = command("queue", "look at the messages that wait").add_subparsers(
        dest="queue_command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    _json(command("list", "one line for each message in the spool", queue))
    show = command("show", "one message: envelope, what happened to it, headers", queue)
    show.add_argument("id", metavar="ID")
    show.add_argument("--raw", action="store_true", help="print the mail data as it will be sent")
    command("demo", "show the relay at work on this machine, in ten seconds, without network or root")
    return top.parse_args(words, argparse.Namespace(config=None, spool=None))


def command_of(arguments: argparse.Namespace) -> Command:
    """The function that carries the command out."""
    module = importlib.import_module(f"relayd.cli.{arguments.command}")
    return cast(Command, module.run)


def configuration(arguments: argparse.Namespace) -> Config:
    """The configuration that the common options name; raises ConfigError."""
    return load(
        config_path(arguments),
        spool=arguments.spool,
        addresses=getattr(arguments, "addresses", ()),
        port=getattr(arguments, "port", None),
    )


def config_path(arguments: argparse.Namespace) -> Path | None:
    """The file to read; None is the built-in defaults, where neither checkout nor system has a file."""
    if arguments.config is not None:
        return cast(Path, arguments.config)
    return next((path for path in (_CHECKOUT, _SYSTEM) if path.is_file()), None)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the same for programs")
