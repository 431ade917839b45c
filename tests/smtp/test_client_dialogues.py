"""Every dialogue of the client's, played on the conversation machine: each write of the exchanger whole, and cut.

A line is `#` and a comment, `O:` and the order, `S:` what the exchanger says, `C:` what we must say (`...` is the
mail data and its end), or `R:` and the code for each forward-path. In an order stands `to=` for each of these,
with NOTIFY and ORCPT behind bars.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relayd.smtp.client import Conversation, Finished, Order, Phase, Ready, SendContent, Wish

FOLDER = Path(__file__).parent / "client_dialogues"
ALL = sorted(FOLDER.glob("*.txt"))


@dataclass
class Play:
    """One dialogue under way: what we have said and nobody has looked at yet, and what was told of it."""

    order: Order
    conversation: Conversation = field(default_factory=lambda: Conversation("relay.example.org"))
    said: list[str] = field(default_factory=list)
    codes: list[int] | None = None

    def hear(self, octets: bytes, *, bytewise: bool) -> None:
        """The exchanger's next words."""
        pieces = [octets[index : index + 1] for index in range(len(octets))] if bytewise else [octets]
        for piece in pieces:
            self.conversation.feed(piece)
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
                self.codes = [each.code for each in event.result.replies]

    def end(self) -> None:
        """Nothing more is to be sent."""
        self.conversation.quit()
        self.said += self.conversation.output().decode().splitlines()


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
    play = Play(order_of(lines.pop(0).removeprefix("O: ")))
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
        if mark == "C":
            assert play.said.pop(0) == text
        else:
            assert (mark, play.codes) == ("R", [int(code) for code in text.split()])
    play.hear(heard, bytewise=bytewise)
    assert (play.said, play.conversation.phase) == ([], Phase.CLOSED)


def test_there_are_dialogues() -> None:
    """A folder that was renamed must not pass for one where all is well."""
    assert len(ALL) >= 7
