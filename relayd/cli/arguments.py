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
from relayd.base.config import Config, ConfigError, load
from relayd.base.source import Source
from relayd.cli.output import complain

Command = Callable[[argparse.Namespace], int]

_CHECKOUT = Path(__file__).parents[2] / "etc" / "relayd.toml"
_SYSTEM = Path("/etc/relayd.toml")
# Where an installed package has it.
_EXAMPLE = Path(sys.prefix) / "share" / "relayd" / "relayd.toml"
# Commands whose module has another name.
_MODULES = {"user": "users"}


class _Parser(argparse.ArgumentParser):
    # Whether the words must say which messages are meant: for what cannot be taken back.
    needs_choice = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        found, rest = super().parse_known_args(args, namespace)
        if self.needs_choice and not rest:
            chosen = (found.targets, found.all, found.destination, found.reverse_path, found.state, found.older)
            if not any(chosen):
                self.error("say which messages are meant: IDs, a domain, a filter, or --all")
        return found, rest

    def error(self, message: str) -> NoReturn:
        complain(f"{message} (see {self.prog} --help)")
        sys.exit(2)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words; ends the process for --help, --version and words that cannot be understood."""
    return parser().parse_args(words, argparse.Namespace(config=None, spool=None, is_gentle=False))


def parser() -> argparse.ArgumentParser:
    """All commands with their words and meanings; relayd(8) and the completion of shells are made from it."""
    common = _Parser(add_help=False)
    common.add_argument(
        "-c",
        dest="config",
        metavar="FILE",
        type=_path,
        default=argparse.SUPPRESS,
        help="the configuration (default: etc/relayd.toml of a checkout; installed, /etc/relayd.toml)",
    )
    common.add_argument(
        "--spool",
        metavar="DIR",
        type=_path,
        default=argparse.SUPPRESS,
        help="the spool, instead of the configured one",
    )
    top = _Parser(
        prog="relayd", description="An outbound mail relay that one person can understand.", parents=[common]
    )
    top.add_argument("--version", action="version", version=f"relayd {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name: str, does: str, of: "argparse._SubParsersAction[_Parser]" = commands) -> _Parser:
        return of.add_parser(name, help=does, description=_sentence(does), parents=[common])

    start = command("start", "start the relay; returns when it answers")
    start.add_argument(
        "addresses", metavar="ADDRESS", nargs="*", help="where to listen, instead of the configured"
    )
    start.add_argument(
        "--port", type=_port, metavar="N", help="the port of all listeners, instead of the configured"
    )
    start.add_argument(
        "--foreground",
        action="store_true",
        help="stay in the foreground and log to standard error, for supervisord and systemd",
    )
    command("stop", "stop the relay: sessions may end, for process.stop_timeout at most")
    status = command("status", "show the processes, what waits in the spool, and what went through")
    status.add_argument(
        "--check",
        action="store_true",
        help="say in one line whether mail makes progress; exit 0 when it does, 1 when not, 3 when not running",
    )
    _json(status)
    command("reload", "read the configuration anew and replace all processes; no session is lost")
    command("upgrade", "put this code in the place of the one that runs; the port stays open")
    command("check", "read the configuration and say what is wrong with it")
    route = command("route", "show where mail for an address would go now, and why")
    route.add_argument("address", metavar="ADDRESS", help='a recipient, like "user@example.org", or a domain')
    route.add_argument("--probe", action="store_true", help="connect to every exchanger and measure it now")
    _json(route)
    _add_user(command)
    _add_queue(command)
    _json(command("audit", "hold the ledger against the spool: is every accepted recipient accounted for?"))
    command("reopen", "have the log file opened anew, after it was renamed (logrotate)")
    trace = command("trace", "show one message's life as a timeline, from log, journal and ledger")
    trace.add_argument("id", metavar="ID", help="of a message, of a notification, or of a session")
    trace.add_argument(
        "--log",
        metavar="FILE",
        type=_path,
        help="the log to read, with its rotated files (default: [log] file, else relayd.log in the spool)",
    )
    _json(trace)
    # It reads whole logs, and mail goes first.
    trace.set_defaults(is_gentle=True)
    command("demo", "show the relay at work on this machine, in ten seconds, without network or root")
    return top


def _sentence(clause: str) -> str:
    return clause[0].upper() + clause[1:] + ("" if clause.endswith("?") else ".")


def _add_user(command: Callable[..., _Parser]) -> None:
    """The commands below `user`."""
    commands = command("user", "who may relay with a password: the users in the file of [auth]").add_subparsers(
        dest="user_command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    for name, does in (
        ("add", "add a user, or give one a new password, which is asked for or read from standard input"),
        ("remove", "take a user out"),
    ):
        command(name, does, commands).add_argument("name", metavar="NAME")
    command("list", "the names of all users", commands)


def _add_queue(command: Callable[..., _Parser]) -> None:
    """The commands below `queue`."""
    commands = command("queue", "look at the messages that wait, and steer them").add_subparsers(
        dest="queue_command", metavar="COMMAND", required=True, parser_class=_Parser
    )

    def chooses(name: str, does: str, targets: str = "ID or DOMAIN") -> _Parser:
        parser = command(name, does, commands)
        if targets:
            parser.add_argument("targets", metavar=targets, nargs="*", help="the messages that are meant")
        _add_filters(parser)
        return parser

    listing = chooses("list", "one line for each message in the spool")
    listing.add_argument("--by", choices=("destination",), help="sums instead of messages")
    _json(listing)
    # It may be long, and mail goes first.
    listing.set_defaults(is_gentle=True)
    show = command("show", "one message: envelope, what happened to it, header", commands)
    show.add_argument("id", metavar="ID")
    instead = show.add_mutually_exclusive_group()
    instead.add_argument("--raw", action="store_true", help="print the mail data as it will be sent")
    instead.add_argument("--transcript", action="store_true", help="print what exchangers and we said last")
    chooses("flush", "try messages now: all that wait, or those that are meant")
    _needs_choice(chooses("hold", "set messages aside; they are not attempted until they are released"))
    _needs_choice(chooses("release", "let held messages go on, now"))
    remove = _needs_choice(chooses("remove", "take messages out of the queue without delivering them"))
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.add_argument("--notify", action="store_true", help="tell the sender")
    fail = command("fail", "give up one recipient, or all that are open, and tell the sender", commands)
    fail.add_argument("targets", metavar="ID", nargs=1)
    fail.add_argument("recipient", metavar="RECIPIENT", nargs="?", help="default: all that are open")
    fail.set_defaults(destination=None, reverse_path=None, state=None, older=None)
    for name, does in (("pause", "stop deliveries; mail is still accepted"), ("resume", "let deliveries go on")):
        command(name, does, commands).add_argument("domain", metavar="DOMAIN", nargs="?", help="default: all")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    """The options of all commands that choose messages."""
    parser.add_argument("--destination", metavar="DOMAIN", help="with an open recipient there")
    parser.add_argument("--from", dest="reverse_path", metavar="ADDRESS", help='from there; "<>" is the null one')
    parser.add_argument("--state", choices=("new", "cur", "hold", "failed"), help="in this folder of the spool")
    parser.add_argument("--older", metavar="DURATION", help='that came longer ago than, for example, "2h"')


def _needs_choice(parser: _Parser) -> _Parser:
    parser.add_argument("--all", action="store_true", help="mean all messages")
    parser.needs_choice = True
    return parser


def command_of(arguments: argparse.Namespace) -> Command:
    """The function that carries the command out."""
    module = importlib.import_module(f"relayd.cli.{_MODULES.get(arguments.command, arguments.command)}")
    return cast(Command, module.run)


def configuration(arguments: argparse.Namespace) -> Config:
    """The configuration that the common options name; raises ConfigError."""
    return load(
        config_path(arguments),
        spool=arguments.spool,
        addresses=getattr(arguments, "addresses", ()),
        port=getattr(arguments, "port", None),
    )


def source_of(arguments: argparse.Namespace) -> Source:
    """Where the configuration that the common options name comes from."""
    return Source.of(
        config_path(arguments),
        spool=arguments.spool,
        addresses=getattr(arguments, "addresses", ()),
        port=getattr(arguments, "port", None),
    )


def _path(word: str) -> Path:
    """An empty word (a shell's variable that is not set) would be the working directory."""
    if not word:
        raise argparse.ArgumentTypeError("write a path, not an empty word")
    return Path(word)


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 5 and int(word) < 65_536):
        raise argparse.ArgumentTypeError(f"{word!r}: write a whole number from 0 to 65535")
    return int(word)


def config_path(arguments: argparse.Namespace, *, usual: Sequence[Path] = (_CHECKOUT, _SYSTEM)) -> Path | None:
    """The file to read; None is the built-in defaults, for a spool that is named where no usual place has a file.

    Raises ConfigError when there is neither: a spool in whatever folder one is in would be found by nobody.
    """
    if arguments.config is not None:
        return cast(Path, arguments.config)
    found = next((path for path in usual if path.is_file()), None)
    if found is None and arguments.spool is None:
        raise ConfigError(
            f"no configuration: {usual[-1]} is not there; copy {_EXAMPLE} to it, or name a file with -c FILE"
        )
    return found


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the same for programs")
