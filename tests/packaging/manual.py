"""The manual: relayd(8) from the parser of the command line, relayd.toml(5) from the annotated configuration.

What neither source says (signals, files, exit statuses) is here, in words. Pure but for reading the two.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from relayd import __version__
from relayd.cli.arguments import parser
from tests.packaging import annotated
from tests.packaging.roff import Page, literal

TOP = Path(__file__).parents[2]

# Of the file's head: about the file, which the reader of a page does not see.
_OF_THE_FILE = ("The configuration of relayd.", "Every key of this version")

_DESCRIPTION = (
    "relayd takes mail from applications and hosts by SMTP, keeps it safe on disk, and brings it to the mail "
    "exchangers of its recipients. It answers 250 to a message only when it is durable, and tries again what "
    "could not be delivered, until it tells the sender that it gives up.",
    "A master process binds the listeners, gives up root, and watches its children: workers, which receive mail, "
    "and one delivery process. They meet in the spool, a directory of plain files. [metrics] has one of its own.",
    "Every command reads the configuration, relayd.toml(5). From a checkout the command is bin/relayd.",
)
_STATUSES = (
    ("0", "It went well."),
    ("1", "It failed; one line on standard error says why."),
    ("2", "The words of the command line or the configuration are wrong; the line says what is allowed."),
    ("3", "The relay is not running."),
)
_SIGNALS = (
    ("SIGTERM, SIGINT", "As stop. A second one ends everything at once."),
    ("SIGHUP", "As reload; the log says what came of it."),
    ("SIGUSR1", "As reopen."),
)
_ENVIRONMENT = (
    (
        "LISTEN_FDS, LISTEN_PID",
        "Sockets that systemd has bound, for start --foreground. Each must be the address and port of a listener.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "Where systemd wants to hear that the relay is ready, how it is, and that it makes progress.",
    ),
)
_FILES = (
    ("/etc/relayd.toml", "The configuration of an installed relayd. A checkout has its own in etc/."),
    (
        "/var/spool/relayd",
        "The spool of a configuration in /etc, unless spool.directory names another. The pid file (relayd.pid), "
        "the socket of the commands (relayd.sock) and, without a log file, relayd.log are there too.",
    ),
)


def date_of(changes: str) -> str:
    """The date of the newest version in CHANGELOG.md."""
    found = re.search(r"^## \S+ \((\d{4}-\d\d-\d\d)\)$", changes, re.MULTILINE)
    if found is None:
        raise ValueError("CHANGELOG.md: no heading like '## 1.2.3 (2026-01-31)'")
    return found[1]


def _page(name: str, section: int) -> Page:
    return Page(name, section, date_of((TOP / "CHANGELOG.md").read_text()), f"relayd {__version__}")


def commands_page() -> str:
    """relayd(8)."""
    page, top = _page("relayd", 8), parser()
    page.section("NAME")
    page.plain("relayd \\- " + literal("an outbound mail relay that one person can understand"))
    page.section("SYNOPSIS")
    for words, command in commands(top):
        page.plain(f".br\n{_usage(words, command)}" if words != ("start",) else _usage(words, command))
    page.section("DESCRIPTION")
    page.paragraphs(_DESCRIPTION)
    page.section("COMMANDS")
    for words, command in commands(top):
        page.part(" ".join(words))
        page.plain(_usage(words, command))
        page.paragraphs([str(command.description)])
        for action in own(command):
            page.items(tag(action), [_sentence(_help(action))] if action.help else [meaning(action)])
    page.section("OPTIONS")
    page.paragraphs(["Every command has these."])
    start = next(command for words, command in commands(top) if words == ("start",))
    for action in _common(start):
        page.items(tag(action), [_sentence(_help(action))])
    page.paragraphs(["And without a command:"])
    for action in (each for each in top._actions if "--version" in each.option_strings):
        page.items(tag(action), [_sentence(_help(action))])
    for title, rows in (
        ("EXIT STATUS", _STATUSES),
        ("SIGNALS", _SIGNALS),
        ("ENVIRONMENT", _ENVIRONMENT),
        ("FILES", _FILES),
    ):
        page.section(title)
        if title == "SIGNALS":
            page.paragraphs(["The pid file has the number of the master, which takes these."])
        for term, text in rows:
            page.items(term, [text])
    page.section("SEE ALSO")
    page.plain(".BR relayd.toml (5)")
    return page.text


def configuration_page() -> str:
    """relayd.toml(5)."""
    head, *rest = annotated.tables(TOP / "etc" / "relayd.toml")
    page = _page("relayd.toml", 5)
    page.section("NAME")
    page.plain("relayd.toml \\- the configuration of relayd")
    page.section("DESCRIPTION")
    page.paragraphs(
        [
            "The file is TOML. All keys have a default; a relay on loopback needs none of them. An installed "
            "relayd reads /etc/relayd.toml, a checkout its own etc/relayd.toml, unless -c names another file.",
            *_said(head.entries[0]),
        ]
    )
    _entries(page, head.entries[1:])
    page.section("TABLES")
    for table in rest:
        page.part(table.name)
        page.paragraphs(_of_commands(table.text))
        _entries(page, table.entries)
    page.section("SEE ALSO")
    page.plain(".BR relayd (8)")
    return page.text


def _entries(page: Page, entries: Sequence[annotated.Entry]) -> None:
    for entry in entries:
        if entry.keys:
            shown = "; ".join(
                f"{key.name} = {key.value}" if len(entry.keys) > 1 else key.value for key in entry.keys
            )
            word = "Default" if entry.keys[0].is_default else "Example"
            names = ", ".join(key.name for key in entry.keys)
            page.items(names, [*_of_commands(entry.text), f"{word}: {shown}"])
        else:
            page.paragraphs(_of_commands(entry.text))
        if entry.example:
            page.example(entry.example)


def _said(head: annotated.Entry) -> list[str]:
    return [text for text in _of_commands(head.text) if not text.startswith(_OF_THE_FILE)]


def _of_commands(texts: Sequence[str]) -> list[str]:
    # The file is a checkout's; the page is for every system.
    return [text.replace("bin/relayd", "relayd") for text in texts]


def commands(
    command: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """The commands that do something, with the words that lead to them."""
    below = [each for each in command._actions if isinstance(each, argparse._SubParsersAction)]
    if not below:
        yield words, command
    for group in below:
        for name, each in group.choices.items():
            yield from commands(each, (*words, name))


def _is_common(action: argparse.Action) -> bool:
    return bool({"-h", "-c", "--spool"} & set(action.option_strings))


def _common(command: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in command._actions if _is_common(action)]


def own(command: argparse.ArgumentParser) -> list[argparse.Action]:
    """What only this command has: arguments first, as they are typed first."""
    found = [action for action in command._actions if not _is_common(action)]
    return sorted(
        (each for each in found if each.help is not argparse.SUPPRESS), key=lambda each: bool(each.option_strings)
    )


def _usage(words: Sequence[str], command: argparse.ArgumentParser) -> str:
    typed = [f"\\fBrelayd {literal(' '.join(words))}\\fR"]
    for action in own(command):
        if action.option_strings:
            typed.append(f"[{_option(action)}]")
        else:
            name = f"\\fI{literal(_argument(action))}\\fR"
            typed.append({"?": f"[{name}]", "*": f"[{name} ...]"}.get(str(action.nargs), name))
    return " ".join(typed)


def _option(action: argparse.Action) -> str:
    option = f"\\fB{literal(action.option_strings[-1])}\\fR"
    return option if action.nargs == 0 else f"{option} \\fI{literal(_argument(action))}\\fR"


def _argument(action: argparse.Action) -> str:
    if action.choices is not None and not action.metavar:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def tag(action: argparse.Action) -> str:
    if not action.option_strings:
        return _argument(action)
    names = ", ".join(action.option_strings)
    return names if action.nargs == 0 else f"{names} {_argument(action)}"


def _help(action: argparse.Action) -> str:
    return str(action.help)


def meaning(action: argparse.Action) -> str:
    """For the arguments whose name says all."""
    return {"ID": "A message's ID.", "NAME": "The user's name."}[_argument(action)]


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", "?")) else f"{text}."
