"""A channel brings what was said whole, and survives what nobody says."""

import socket

import pytest

from relayd.base.channel import Channel, Garbled, Ready, Refused, Reopen, Retire


def raw_pair() -> tuple[socket.socket, Channel]:
    """A peer that can send anything, and our end."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return theirs, Channel(ours)


@pytest.mark.parametrize("message", [Ready(), Refused("no spool"), Retire(2.5), Reopen()])
def test_what_is_said_is_heard(message: Ready | Refused | Retire | Reopen) -> None:
    """Each message arrives as it was."""
    ours, theirs = Channel.pair()
    assert ours.send(message)
    assert theirs.receive() == message


def test_messages_keep_their_order_and_their_bounds() -> None:
    """One datagram is one message."""
    ours, theirs = Channel.pair()
    for seconds in (1.0, 2.0):
        ours.send(Retire(seconds))
    assert [theirs.receive(), theirs.receive()] == [Retire(1.0), Retire(2.0)]


def test_nothing_said_is_not_the_end() -> None:
    """A silent peer raises; only one that is gone gives None."""
    ours, theirs = Channel.pair()
    with pytest.raises(BlockingIOError):
        ours.receive()
    theirs.close()
    assert ours.receive() is None


def test_what_was_said_before_the_end_is_heard() -> None:
    """The reason of a child that has ended already arrives."""
    ours, theirs = Channel.pair()
    theirs.send(Refused("why"))
    theirs.close()
    assert ours.receive() == Refused("why")
    assert ours.receive() is None


def test_a_peer_that_died_with_words_unread_is_the_end() -> None:
    """The kernel says ECONNRESET then, which is an end of file like any other."""
    ours, theirs = Channel.pair()
    ours.send(Ready())
    theirs.close()
    assert ours.receive() is None


def test_saying_something_to_nobody_is_told() -> None:
    """`send` gives False when the other one is gone, and when it does not listen."""
    ours, theirs = Channel.pair()
    for _ in range(100_000):
        if not ours.send(Ready()):
            break
    else:
        pytest.fail("the channel took everything")
    assert theirs.receive() == Ready()
    theirs.close()
    assert not ours.send(Ready())


@pytest.mark.parametrize(
    "datagram",
    [
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"say": "dance"}',
        b'{"say": "refused"}',
        b'{"say": "retire", "seconds": "soon"}',
        b'{"say": "refused", "reason": "\xff"}',
        b'{"say": "garbled", "beginning": ""}',
        b"[" * 60_000,
        b'{"say": "ready"}' + b" " * 100_000,
    ],
)
def test_what_is_no_message_is_heard_as_garbled(datagram: bytes) -> None:
    """Malformed, unknown, nested without end, or longer than a message may be; the next is read."""
    peer, channel = raw_pair()
    peer.send(datagram)
    peer.send(b'{"say": "ready"}')
    said = channel.receive()
    assert isinstance(said, Garbled)
    assert said.beginning == datagram[:100].decode("ascii", "backslashreplace")
    assert channel.receive() == Ready()


@pytest.mark.parametrize(
    ("reason", "heard"),
    [
        ("cannot read '/srv/\udcff'", "cannot read '/srv/\\udcff'"),
        ("two\nlines\x1b[2J", "two\\nlines\\x1b[2J"),
        ("é " + "x" * 100_000, "é " + "x" * 1997 + "…"),
    ],
)
def test_last_words_always_arrive(reason: str, heard: str) -> None:
    """A reason with a name that is not UTF-8, with control characters, or of any length."""
    ours, theirs = Channel.pair()
    assert ours.send(Refused(reason))
    assert theirs.receive() == Refused(heard)
