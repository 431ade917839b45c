"""Every dialogue, played on the session machine in memory: each write whole, and byte by byte."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pytest

from relayd.smtp import data, wording
from relayd.smtp.address import Address
from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.reply import Reply, reply
from relayd.smtp.server import Abandoned, Auth, Content, EndOfData, Facts, Session, State
from tests.world.dialogue import HOST, Act, Dialogue, DialogueError, Step, dialogues, matches, parse

ALL = dialogues()
ID = "0" * 17
_AUTH: dict[str, Literal["off", "offered", "required"]] = {
    "off": "off",
    "offered": "offered",
    "required": "required",
}


class Server:
    """A session with the verdicts that a dialogue's settings come to, and what it has queued."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        self._data = b""
        self.queued: list[bytes] = []
        self.session = Session(
            Facts(
                hostname=HOST,
                version="1.2.3",
                client_port=40_000,
                extended=settings["extended"] == "true",
                maximum_message=int(settings["maximum_message"]),
                maximum_recipients=int(settings["maximum_recipients"]),
                normalize=settings["bare_newline"] == "normalize",
                trusted=settings["may_relay"] == "yes",
                origin=settings["origin"] or None,
                starttls=settings["tls"] == "starttls",
                secure=settings["tls"] == "implicit",
                auth=_AUTH[settings["auth"]],
                auth_in_clear=settings["auth_in_clear"] == "yes",
            )
        )

    def hear(self, pieces: Iterable[bytes]) -> None:
        """Take what the client sends, and give each verdict at once."""
        for piece in pieces:
            self.session.feed(piece)
            while (event := self.session.next_event()) is not None:
                if isinstance(event, Content):
                    self._data += event.octets
                elif isinstance(event, Abandoned):
                    self._data = b""
                else:
                    self.session.answer(self._verdict(event))

    def _verdict(self, event: object) -> Reply | None:
        match event:
            case Mail():
                self._data = b""
                return reply(452, "4.3.1", "No room") if self._settings["disk"] == "full" else None
            case Auth():
                known = (event.user, event.password) == ("alice", "secret")
                return None if known else reply(535, "5.7.8", "Authentication credentials invalid")
            case Rcpt():
                return self._judge(event.forward_path)
            case EndOfData() if event.fault is None:
                self.queued.append(self._data)
                self._data = b""
                return reply(250, "2.0.0", f"Ok: queued as {ID}")
            case _:
                return None

    def _judge(self, address: Address) -> Reply | None:
        ours = address.domain.lower() in ("", HOST, "[127.0.0.1]")
        if self.session.is_trusted or (address.is_postmaster and ours and self._settings["postmaster"]):
            return None
        return reply(554, "5.7.1", f"<{address}>: Relay access denied")


def whole(octets: bytes) -> list[bytes]:
    """One write."""
    return [octets]


def byte_by_byte(octets: bytes) -> list[bytes]:
    """As many writes as octets."""
    return [octets[index : index + 1] for index in range(len(octets))]


def take(server: Server, step: Step, *, bytewise: bool) -> None:
    """The act of a step."""
    match step.act:
        case Act.SEND:
            server.hear(byte_by_byte(step.octets) if bytewise else whole(step.octets))
        case Act.WAIT:
            server.session.time_out()
        case Act.START_TLS:
            server.session.secure()
        case Act.SHUT_DOWN:
            server.session.shut_down()
        case Act.CONNECT:
            pass


@pytest.mark.parametrize(
    ("dialogue", "bytewise"),
    [
        pytest.param(each, bytewise, id=f"{each.name}-{'byte by byte' if bytewise else 'whole'}")
        for each in ALL
        for bytewise in (False, True)
        if not (bytewise and each.settings["writes"] == "whole")
    ],
)
def test_the_session_answers_as_the_dialogue_says(dialogue: Dialogue, bytewise: bool) -> None:
    """All replies of each step, no others, the close, and the message in the queue."""
    server = Server(dialogue.settings)
    for step in dialogue.steps:
        take(server, step, bytewise=bytewise)
        said = server.session.output().decode("ascii").splitlines()
        fits = len(said) == len(step.replies) and all(map(matches, step.replies, (each.encode() for each in said)))
        assert fits, f"after {step.octets[-200:]!r}: {said} instead of {list(step.replies)}"
        assert (server.session.state is State.CLOSED) == step.closes
        if step.queued is not None:
            assert server.queued[-1] == step.queued
    assert len(server.queued) == dialogue.messages
    assert dialogue.steps[-1].closes, "a dialogue goes on until the connection closes"


def test_every_fixed_reply_of_the_server_is_heard_in_a_dialogue() -> None:
    """What a client may be told is shown to whoever reads the dialogues."""
    heard = {line for dialogue in ALL for step in dialogue.steps for line in step.replies}
    fixed = [*vars(wording).values(), *wording.SYNTAX.values(), *vars(data).values()]
    assert {str(each) for each in fixed if isinstance(each, Reply)} <= heard


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("X: NOOP", "line 1: neither a comment nor a line of C, S or Q: X: NOOP"),
        ("\nC:NOOP", "line 2: neither a comment nor a line of C, S or Q: C:NOOP"),
        ("# with port=25", "line 1: no such setting: port"),
        ("S\\: 250 Ok", "line 1: a reply has no escapes, and comes before S closes and Q"),
        ("S closes\nS: 250 Ok", "line 2: a reply has no escapes, and comes before S closes and Q"),
        ("S closes\nC: NOOP", "line 2: nobody hears what is said after S closes"),
        ("C\\: \\q", "line 1: unknown escape \\q"),
    ],
)
def test_a_mistake_in_a_dialogue_is_named_with_its_line(text: str, mistake: str) -> None:
    """Whoever writes a dialogue is not left to search."""
    with pytest.raises(DialogueError) as raised:
        parse("file", text)
    assert str(raised.value) == f"file.txt, {mistake}"


def test_a_dialogue_reads_as_steps() -> None:
    """Lines of the client that follow each other are one write; escapes, repeats and settings are applied."""
    text = "# with may_relay=no\nS: 220 x\nC*2: NOOP\nC\\: \\x00\\{3*ab}\\r\\n\nS*2: 250 Ok\nS closes\nC waits"
    dialogue = parse("file", text + "\nS: 421 bye\nS closes\n")
    assert dialogue.settings["may_relay"] == "no"
    assert dialogue.steps == (
        Step(Act.CONNECT, replies=("220 x",)),
        Step(Act.SEND, b"NOOP\r\nNOOP\r\n\0ababab\r\n", replies=("250 Ok", "250 Ok"), closes=True),
        Step(Act.WAIT, replies=("421 bye",), closes=True),
    )


@pytest.mark.parametrize(
    ("pattern", "line", "is_match"),
    [
        ("250 Ok.", b"250 Ok.", True),
        ("250 Ok.", b"250 Okx", False),
        ("250 {port} OK", b"250 40000 OK", True),
        ("250 {port} OK", b"250  OK", False),
        ("250 queued as {id}", b"250 queued as 0123456789abcdefg", True),
        ("250 queued as {id}", b"250 queued as 0123456789abcdef", False),
        ("250 {text}", b"250 a\x1b", False),
    ],
)
def test_a_wildcard_stands_for_what_varies_and_for_nothing_else(pattern: str, line: bytes, is_match: bool) -> None:
    """The rest of a line is taken word for word."""
    assert matches(pattern, line) is is_match


def test_a_dialogue_with_octets_beyond_ascii_is_not_read(tmp_path: Path) -> None:
    """They are written as escapes, so that every editor shows them."""
    (tmp_path / "x.txt").write_bytes(b"C: \xff\n")
    with pytest.raises(UnicodeDecodeError):
        dialogues(tmp_path)
