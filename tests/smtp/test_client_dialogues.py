"""Every dialogue of the client's, played on the conversation machine: each write of the exchanger whole, and cut.

A line is `#` and a comment, `O:` and the order, `S:` what the exchanger says, `C:` what we must say (`...` is the
mail data and its end), `T:` a handshake that is done, or `R:` and the code for each forward-path, with a `+` where
it may go in another transaction at once. `E:` is the reason for which no mail goes. In an order stands `to=` for
each forward-path, with NOTIFY and ORCPT behind bars. Before it, in `W:`, may stand what is wanted of the server:
`tls=`, `user=` and `password=`, and `clear` for credentials in the clear. No password may be in any transcript.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relayd.smtp.client import Conversation, Finished, Order, Over, Phase, Ready, SendContent, Terms, Wish
from relayd.smtp.credentials import Credentials
from relayd.smtp.reply import printable

FOLDER = Path(__file__).parent / "client_dialogues"
ALL = sorted(FOLDER.glob("*.txt"))


@dataclass
class Play:
    """One dialogue under way: what we have said and nobody has looked at yet, and what was told of it."""

    order: Order
    conversation: Conversation
    said: list[str] = field(default_factory=list)
    codes: str | None = None
    ending: str | None = None
    replies: str = ""

    def hear(self, octets: bytes, *, bytewise: bool) -> None:
        """The exchanger's next words."""
        pieces = [octets[index : index + 1] for index in range(len(octets))] if bytewise else [octets]
        for piece in pieces:
            self.conversation.feed(piece)
            self._look()

    def shake_hands(self) -> None:
        """The handshake that the conversation waits for is done."""
        self.conversation.secured("TLSv1.3")
        self._look()

    def _look(self) -> None:
        for event in iter(self.conversation.next_event, None):
            self._take(event)
        self.said += self.conversation.output().decode().splitlines()

    def _take(self, event: object) -> None:
        match event:
            case Ready():
                self.conversation.begin(self.order)
            case SendContent():
                self.conversation.content_sent()
                self.said.append("...")
            case Finished():
                rest = event.result.deferred_rest
                self.replies = " ".join(map(str, event.result.replies))
                self.codes = " ".join(
                    f"{each.code}{'+' if place in rest else ''}" for place, each in enumerate(event.result.replies)
                )
            case Over():
                self.ending = str(event.reason)

    def end(self) -> None:
        """Nothing more is to be sent."""
        self.conversation.quit()
        self.said += self.conversation.output().decode().splitlines()


def terms_of(line: str) -> Terms:
    """What a `W:` line says."""
    given: dict[str, Any] = dict(word.partition("=")[::2] for word in line.split())
    credentials = Credentials(given["user"], given["password"]) if "user" in given else None
    return Terms(given.get("tls", "off"), credentials, "clear" in given)


def order_of(line: str) -> Order:
    """What an `O:` line says."""
    given: dict[str, Any] = {}
    recipients = []
    for word in line.split():
        key, _, value = word.partition("=")
        match key:
            case "from":
                given["reverse_path"] = value
            case "to":
                path, *wish = value.split("|")
                recipients.append((path, Wish(*(each or None for each in wish))))
            case "size":
                given["size"] = int(value)
            case "smtputf8":
                given["smtputf8"] = True
            case _:
                given[key] = value
    return Order(
        forward_paths=tuple(path for path, _ in recipients), wishes=tuple(wish for _, wish in recipients), **given
    )


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("file", ALL, ids=[each.stem for each in ALL])
def test_the_conversation_goes_as_the_dialogue_says(file: Path, bytewise: bool) -> None:
    """All of our commands and no others, and what is told of each forward-path."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    terms = terms_of(lines.pop(0)[3:] if lines[0].startswith("W:") else "")
    play = Play(order_of(lines.pop(0).removeprefix("O: ")), Conversation("relay.example.org", terms=terms))
    heard = b""
    for line in lines:
        mark, _, text = line.partition(": ")
        if mark == "S":
            heard += f"{text}\r\n".encode()
            continue
        play.hear(heard, bytewise=bytewise)
        heard = b""
        if text == "QUIT":
            play.end()
        match mark:
            case "C":
                assert play.said.pop(0) == text
            case "T":
                play.shake_hands()
            case "E":
                assert play.ending == text
            case _:
                assert (mark, play.codes) == ("R", text)
    play.hear(heard, bytewise=bytewise)
    assert (play.said, play.conversation.phase) == ([], Phase.CLOSED)
    if terms.credentials is not None:
        told = "\n".join(play.conversation.transcript.lines()) + printable(play.ending or "") + play.replies
        for secret in (terms.credentials.password, terms.credentials.plain, terms.credentials.login[1]):
            assert secret not in told


def test_there_are_dialogues() -> None:
    """A folder that was renamed must not pass for one where all is well."""
    assert len(ALL) >= 20
