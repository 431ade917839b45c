"""Our client and our server in memory: what goes in at one end comes out at the other."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.smtp.client import Conversation, Finished, Order, Phase, Ready, Result, SendContent
from relayd.smtp.command import Mail, Rcpt
from relayd.smtp.data import Encoder
from relayd.smtp.reply import Reply, reply
from relayd.smtp.server import Content, EndOfData, Facts, Session, State

REFUSED = reply(550, "5.1.1", "nobody here")


@dataclass
class Server:
    """A session that refuses some recipients and keeps each message with its envelope."""

    facts: Facts
    refuses: frozenset[str] = frozenset()
    messages: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    data: bytes = b""

    def __post_init__(self) -> None:
        self.session = Session(self.facts)

    def hear(self, octets: bytes) -> bytes:
        """Take octets, give the replies."""
        self.session.feed(octets)
        for event in iter(self.session.next_event, None):
            if isinstance(event, Content):
                self.data += event.octets
            else:
                self.session.answer(self._verdict(event))
        return self.session.output()

    def _verdict(self, event: object) -> Reply | None:
        if isinstance(event, Mail):
            self.data = b""
        if isinstance(event, Rcpt) and str(event.forward_path) in self.refuses:
            return REFUSED
        if isinstance(event, EndOfData) and event.fault is None:
            transaction = self.session.transaction
            assert transaction is not None
            reverse_path = str(transaction.mail.reverse_path or "")
            self.messages.append((reverse_path, list(map(str, transaction.recipients)), self.data))
        return None


Cut = Callable[[bytes], Iterator[bytes]]


def whole(octets: bytes) -> Iterator[bytes]:
    """One segment."""
    yield octets


def byte_by_byte(octets: bytes) -> Iterator[bytes]:
    """A segment an octet."""
    for index in range(len(octets)):
        yield octets[index : index + 1]


def anyhow(octets: bytes) -> Iterator[bytes]:
    """Segments of any length, the same in every run."""
    dice = random.Random(len(octets))
    while octets:
        length = dice.randint(1, 40)
        yield octets[:length]
        octets = octets[length:]


def is_over(client: Conversation) -> bool:
    """Whether the client waits for nothing any more."""
    return client.phase is Phase.CLOSED


def converse(
    server: Server, orders: list[tuple[Order, bytes]], cut: Cut, filtered: bytes = b"", *, follows: bool = False
) -> list[Result]:
    """Carry octets between the two until the client has said QUIT; `filtered` is taken out of what it hears.

    Where it `follows`, each transaction that may begins with the mail data of the one before.
    """
    client = Conversation("relay.example.org")
    results: list[Result] = []
    waiting = list(orders)
    inbound = server.session.output()
    while not is_over(client):
        for segment in cut(inbound.replace(filtered, b"") if filtered else inbound):
            client.feed(segment)
        content = b""
        for event in iter(client.next_event, None):
            match event:
                case SendContent():
                    encoder = Encoder()
                    message = orders[len(results)][1]
                    content = b"".join(map(encoder.feed, cut(message))) + encoder.finish()
                    client.content_sent()
                    if follows and waiting and client.may_follow:
                        client.begin(waiting.pop(0)[0])
                case Finished():
                    results.append(event.result)
                case Ready():
                    pass
        if client.phase is Phase.READY and waiting:
            client.begin(waiting.pop(0)[0])
        elif client.phase is Phase.READY:
            client.quit()
        outbound = content + client.output()
        inbound = b"".join(map(server.hear, cut(outbound)))
        assert inbound or is_over(client), f"both wait, the client for: {client.phase.value}"
    return results


# What each of the two kinds of dialogue looks like, from the client's side.
SERVERS = {
    "pipelined": (Facts("mx.example.net", "1", 1), b""),
    "EHLO without PIPELINING": (Facts("mx.example.net", "1", 1), b"250-PIPELINING\r\n"),
    "HELO": (Facts("mx.example.net", "1", 1, extended=False), b""),
}
TRANSPORTS = pytest.mark.parametrize("cut", [whole, byte_by_byte, anyhow])
DIALOGUES = pytest.mark.parametrize(("facts", "filtered"), SERVERS.values(), ids=SERVERS)
FOLLOWS = pytest.mark.parametrize("follows", [False, True], ids=["one by one", "one behind the other"])


@TRANSPORTS
@DIALOGUES
@FOLLOWS
def test_several_transactions_go_over_one_connection(
    facts: Facts, filtered: bytes, cut: Cut, follows: bool
) -> None:
    """Each message arrives once, with its envelope, octet for octet, at those recipients that were taken."""
    server = Server(facts, frozenset({"gone@example.net", '"no body"@example.net'}))
    all_of_it = bytes(octet for octet in range(256) if octet not in b"\0\r\n") * 40
    orders = [
        (Order("a@b", ("c@d",)), b"Subject: one\r\n\r\n.\r\n..\r\nFrom here\r\n"),
        (Order("", ("gone@example.net", "e@f", '"no body"@example.net', '"x y"@[192.0.2.1]'), 9), b".\r\n"),
        (Order("a@b", ("gone@example.net", "gone@example.net")), b"never sent\r\n"),
        (Order('"a\\"b"@c', ("c@d",), len(all_of_it), "8BITMIME"), all_of_it),
        (Order("a@b", ("c@d",)), b""),
    ]
    results = converse(server, orders, cut, filtered, follows=follows)
    assert [[each.code for each in result.replies] for result in results] == [
        [250],
        [550, 250, 550, 250],
        [550, 550],
        [250],
        [250],
    ]
    assert all(result.in_doubt == frozenset() for result in results)
    assert server.messages == [
        ("a@b", ["c@d"], orders[0][1]),
        ("", ["e@f", '"x y"@[192.0.2.1]'], orders[1][1]),
        ('"a\\"b"@c', ["c@d"], all_of_it + b"\r\n"),
        ("a@b", ["c@d"], b""),
    ]
    assert server.session.state is State.CLOSED


@TRANSPORTS
@DIALOGUES
@FOLLOWS
def test_a_message_over_the_limit_is_refused_and_the_next_one_goes(
    facts: Facts, filtered: bytes, cut: Cut, follows: bool
) -> None:
    """With SIZE already at MAIL, without it at the final dot."""
    small = Facts(facts.hostname, facts.version, 1, facts.extended, maximum_message=100)
    server = Server(small)
    orders = [
        (Order("a@b", ("c@d", "e@f"), 5000), b"x" * 5000 + b"\r\n"),
        (Order("a@b", ("c@d", "e@f")), b"x" * 5000 + b"\r\n"),
        (Order("a@b", ("c@d",), 4), b"hi\r\n"),
    ]
    results = converse(server, orders, cut, filtered, follows=follows)
    assert [[each.code for each in result.replies] for result in results] == [[552, 552], [552, 552], [250]]
    assert [message[2] for message in server.messages] == [b"hi\r\n"]


@settings(max_examples=50)
@given(st.lists(st.sampled_from([b".", b"\r\n", b"a", b"\xff", b"\n", b"\r", b"\0"]), max_size=20).map(b"".join))
def test_whatever_a_message_file_holds_it_is_one_message_to_the_server(message: bytes) -> None:
    """And one that the strictest server takes: no bare CR or LF, no NUL, one end."""
    server = Server(Facts("mx.example.net", "1", 1, normalize=False))
    orders = [(Order("a@b", ("c@d",)), message), (Order("b@b", ("d@d",)), message)]
    results = converse(server, orders, whole, follows=True)
    assert [each.code for result in results for each in result.replies] == [250, 250]
    first, second = server.messages
    assert (first[:2], second[:2]) == (("a@b", ["c@d"]), ("b@b", ["d@d"]))
    assert first[2] == second[2]


@pytest.mark.parametrize("last", [b"c@d", b"gone@example.net"], ids=["taken", "refused"])
def test_our_server_reads_on_behind_mail_data(last: bytes) -> None:
    """The commands of the next transaction in one segment with the end of the mail data (RFC 2920 section 3.1)."""
    server = Server(Facts("mx.example.net", "1", 1), frozenset({"gone@example.net"}))
    group = b"MAIL FROM:<a@b>\r\nRCPT TO:<%s>\r\nDATA\r\n"
    assert server.hear(b"EHLO me\r\n" + group % b"c@d").endswith(b"\r\n354 End data with <CR><LF>.<CR><LF>\r\n")
    replies = server.hear(b"one\r\n.\r\n" + group % last)
    codes = [int(line[:3]) for line in replies.splitlines()]
    assert codes == ([250, 250, 250, 354] if last == b"c@d" else [250, 250, 550, 503])
    assert server.messages == [("a@b", ["c@d"], b"one\r\n")]
