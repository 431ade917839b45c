r"""Dialogues: SMTP sessions written down in files that a postmaster can read, parsed for whoever plays them.

    # a comment; it cites the section of the RFC
    # with maximum_message=1000           a setting; see SETTINGS
    C: HELO client.example                what the client says; the line's CR LF is added
    C\: bare\nline feed\r\n               the same with escapes, and nothing is added: \r \n \t \0 \\ \x1b \{100*a}
    C*20: NOOP                            the same line twenty times; S*20: and Q*20: likewise
    C waits                               the client says nothing until its session times out
    C starts TLS                          the client does the handshake; all that follows is inside
    S: 250 relay.example.org {port} OK    a line of the server's reply
    S shuts down                          the operator ends the service
    S closes                              the server has closed the connection
    Q: .a line                            a line of the message that is in the queue now, without the trace line

In a server's line {port} stands for a port number, {id} for a message's ID, {version} for a version and {text} for
any text. Lines of the client that follow each other are one write; a client's line after a server's begins the
next step. The server's name is HOST in all files. A file that breaks these rules raises DialogueError, which names
the file and the line. Nothing here knows relayd.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

HOST = "relay.example.org"
# What a dialogue may set, beside each the value when it does not. `may_relay` is whether the client's network is
# allowed, `disk=full` that there is no room for mail; `tls` is off, starttls or implicit, and `auth` off, offered
# or required; `auth_in_clear` is whether AUTH works without TLS; `writes=whole` says that it matters what comes in
# one write. The others are keys of the server's configuration. The one user is alice, whose password is "secret".
SETTINGS = {
    "may_relay": "yes",
    "disk": "free",
    "postmaster": "",
    "extended": "true",
    "bare_newline": "normalize",
    "maximum_message": "50000000",
    "maximum_recipients": "1000",
    "origin": "",
    "tls": "off",
    "auth": "off",
    "auth_in_clear": "no",
    "writes": "any",
}
DIRECTORY = Path(__file__).parents[1] / "smtp" / "dialogues"

_LINE = re.compile(r"([CSQ])(\\?)(?:\*([0-9]+))?:(?: (.*))?")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|\{([0-9]+)\*([^}]+)\}|(.))", re.DOTALL)
_OCTETS = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
_WILDCARDS = {
    "{port}": rb"[0-9]{1,5}",
    "{id}": rb"[0-9a-z]{17}",
    "{version}": rb"[0-9]\S*",
    "{text}": rb"[\x20-\x7e]+",
}
_WILDCARD = re.compile("|".join(map(re.escape, _WILDCARDS)))


class DialogueError(ValueError):
    """A dialogue's file is not written as it should be; the message says where and what."""


class Act(Enum):
    """What begins a step."""

    CONNECT = "the client connects"
    SEND = "the client sends octets"
    WAIT = "the client is silent until the session times out"
    SHUT_DOWN = "the operator ends the service"
    START_TLS = "the client does the TLS handshake"


@dataclass(frozen=True, slots=True)
class Step:
    """One turn: an act, and what the server does then.

    `octets` is one write of the client, `replies` are the lines that come back in full, without CR LF, as
    patterns for `matches`. `queued` is the mail data of the message that the step left in the queue, without the
    trace line, or None when the file does not say.
    """

    act: Act
    octets: bytes = b""
    replies: tuple[str, ...] = ()
    closes: bool = False
    queued: bytes | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One connection: the file's name without its suffix, all SETTINGS as text, and the steps."""

    name: str
    settings: dict[str, str]
    steps: tuple[Step, ...]

    @property
    def messages(self) -> int:
        """How many messages it leaves in the queue: one for each 250 that names an ID."""
        return sum("{id}" in reply for step in self.steps for reply in step.replies)


def matches(pattern: str, line: bytes) -> bool:
    """Whether a line of the server, without its CR LF, is what the dialogue says."""
    parts = _WILDCARD.split(pattern)
    wildcards = [_WILDCARDS[each] for each in _WILDCARD.findall(pattern)] + [b""]
    expression = b"".join(
        re.escape(part.encode()) + wildcard for part, wildcard in zip(parts, wildcards, strict=True)
    )
    return re.fullmatch(expression, line) is not None


def dialogues(directory: Path = DIRECTORY) -> list[Dialogue]:
    """All dialogues of a directory, by name."""
    return [parse(path.stem, path.read_text("ascii")) for path in sorted(directory.glob("*.txt"))]


def parse(name: str, text: str) -> Dialogue:
    """Read one dialogue; raise DialogueError."""
    settings = dict(SETTINGS)
    steps = [Step(Act.CONNECT)]
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.startswith("# with "):
                settings.update(_settings(line.removeprefix("# with ")))
            elif line and not line.startswith("#"):
                _read(line, steps)
        except DialogueError as error:
            raise DialogueError(f"{name}.txt, line {number}: {error}") from None
    return Dialogue(name, settings, tuple(steps))


def _settings(text: str) -> dict[str, str]:
    settings = {key: value for key, _, value in (word.partition("=") for word in text.split())}
    if strangers := settings.keys() - SETTINGS.keys():
        raise DialogueError(f"no such setting: {', '.join(sorted(strangers))}")
    return settings


def _read(line: str, steps: list[Step]) -> None:
    acts = {"C waits": Act.WAIT, "C starts TLS": Act.START_TLS, "S shuts down": Act.SHUT_DOWN}
    if line in acts:
        steps.append(Step(acts[line]))
    elif line == "S closes":
        steps[-1] = replace(steps[-1], closes=True)
    else:
        found = _LINE.fullmatch(line)
        if found is None:
            raise DialogueError(f"neither a comment nor a line of C, S or Q: {line}")
        _add(found[1], bool(found[2]), int(found[3] or 1), found[4] or "", steps)


def _add(who: str, raw: bool, times: int, text: str, steps: list[Step]) -> None:
    step = steps[-1]
    if who == "S":
        if raw or step.closes or step.queued is not None:
            raise DialogueError("a reply has no escapes, and comes before S closes and Q")
        steps[-1] = replace(step, replies=(*step.replies, *[text] * times))
        return
    octets = (_unescaped(text) if raw else text + "\r\n").encode("latin-1") * times
    if who == "Q":
        steps[-1] = replace(step, queued=(step.queued or b"") + octets)
    elif step.closes:
        raise DialogueError("nobody hears what is said after S closes")
    elif step.act is Act.SEND and not step.replies and step.queued is None:
        steps[-1] = replace(step, octets=step.octets + octets)
    else:
        steps.append(Step(Act.SEND, octets))


def _unescaped(text: str) -> str:
    def octets(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        if found[2]:
            return found[3] * int(found[2])
        if found[4] not in _OCTETS:
            raise DialogueError(f"unknown escape {found[0]}")
        return _OCTETS[found[4]]

    return _ESCAPE.sub(octets, text)
