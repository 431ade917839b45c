"""The open relay: no form of address, sender or name lets a stranger send through us; judged by the spool.

The forms are those that relay testers have tried since the nineties. Only postmaster is reached, at the configured
address (RFC 5321 section 4.5.1).
"""

from itertools import product
from pathlib import Path

import pytest

from tests.hostile.machine import RCPT
from tests.hostile.visit import House, play, visit

BODY = b"Subject: x\r\n\r\ny\r\n.\r\n"
STRANGERS = [
    "198.51.100.7",
    "2001:db8::7",
    "fe80::1%eth0",
    "::ffff:198.51.100.7",
    # Beside the networks that may relay, by one address.
    "126.255.255.255",
    "128.0.0.0",
    "::2",
    "0.0.0.0",
    "::",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "2002:7f00:1::1",
]
SENDERS = [
    b"<a@client.example>",
    b"<>",
    b"<root@relay.example.org>",
    b"<postmaster@relay.example.org>",
    b"<root@localhost>",
    b"<root@[127.0.0.1]>",
    b"<ops@example.org>",
    b'<"postmaster"@relay.example.org>',
    b"<@relay.example.org:a@client.example>",
    b"<postmaster>",
    b"<root>",
    b"a@client.example",
    b"<relay.example.org>",
    b"<a%client.example@relay.example.org>",
    b"<a@client.example> SMTPUTF8",
    b"<a@client.example> AUTH=postmaster@relay.example.org",
    b"<a@client.example> SIZE=0 BODY=8BITMIME SMTPUTF8 RET=HDRS",
]
HOST = b"relay.example.org"
# Every one is for b@victim.example, or for someone at this host who is no postmaster.
FORWARD_PATHS = [
    b"<b@victim.example>",
    b"<B@VICTIM.EXAMPLE>",
    b'<"b"@victim.example>',
    b'<"b@victim.example">',
    b'<"b@victim.example"@relay.example.org>',
    b'<"b%victim.example"@relay.example.org>',
    b'<"victim.example!b"@relay.example.org>',
    b"<b%victim.example>",
    b"<b%victim.example@relay.example.org>",
    b"<b%victim.example@localhost>",
    b"<b%victim.example@[127.0.0.1]>",
    b"<b%victim.example%relay.example.org@relay.example.org>",
    b"<victim.example!b>",
    b"<victim.example!b@relay.example.org>",
    b"<relay.example.org!victim.example!b>",
    b"<relay.example.org!b@victim.example>",
    b"<b@victim.example@relay.example.org>",
    b"<b@relay.example.org@victim.example>",
    b"<@relay.example.org:b@victim.example>",
    b"<@relay.example.org,@localhost:b@victim.example>",
    b"<@[127.0.0.1]:b@victim.example>",
    b"<@localhost:b%victim.example@relay.example.org>",
    b"<@relay.example.org:b>",
    b"<b@[127.0.0.1]>",
    b"<b@[IPv6:::1]>",
    b"<b@[IPv6:::ffff:127.0.0.1]>",
    b"<b@[198.51.100.9]>",
    b"<b@relay.example.org>",
    b"<b@localhost>",
    b"<b>",
    b"<root>",
    b"<>",
    b"b@victim.example",
    b" <b@victim.example>",
    b"<b@victim.example> NOTIFY=NEVER",
    b"<b@victim.example> ORCPT=rfc822;postmaster@relay.example.org",
    b"<b@victim.example>, <postmaster>",
    b"<postmaster>,<b@victim.example>",
    b"<postmaster><b@victim.example>",
    b"<postmaster@victim.example>",
    b"<postmaster@[198.51.100.9]>",
    b"<postmaster@relay.example.org@victim.example>",
    b"<postmaster%victim.example@relay.example.org>",
    b"<victim.example!postmaster@relay.example.org>",
    b'<"postmaster@victim.example"@relay.example.org>',
    b'<"postmaster "@relay.example.org>',
    b"<postmaster@victim.example.>",
    b"<postmaster@relay.example.org.victim.example>",
    b"<postmaster@x.relay.example.org>",
    b"<postmaster@0>",
    b"<postmaster@[0.0.0.0]>",
    b"<postmaster+b@relay.example.org>",
    b"<@relay.example.org:postmaster@victim.example>",
    "<b\uff20victim.example>".encode(),
    "<b\uff20victim.example@relay.example.org>".encode(),
    "<ü@victim.example>".encode(),
    "<b@victím.example>".encode(),
    "<postmaster@relay\uff0eexample\uff0eorg>".encode(),
    "<postmaster@relay.example.or\u0261>".encode(),
    "<\uff50ostmaster@relay.example.org>".encode(),
    "<po\u017ftmaster@relay.example.org>".encode(),
    "<post\u200bmaster@relay.example.org>".encode(),
    b"<postmaster\\@victim.example@relay.example.org>",
    b'<"postmaster\\@victim.example">',
    b"<postmaster,b@victim.example>",
]
NAMES = [b"client.example", b"relay.example.org", b"localhost", b"[127.0.0.1]", b"[IPv6:::1]"]
POSTMASTERS = [
    b"<postmaster>",
    b"<POSTMASTER>",
    b"<postmaster@relay.example.org>",
    b"<@victim.example:postmaster@relay.example.org>",
    b'<"postmaster"@Relay.Example.ORG>',
]


def session(sender: bytes, *forward_paths: bytes, name: bytes = b"client.example") -> list[bytes]:
    """The writes of a client that goes on whatever it is told."""
    said = [b"EHLO " + name + b"\r\n", b"MAIL FROM:" + sender + b"\r\n"]
    said += [b"RCPT TO:" + path + b"\r\n" for path in forward_paths]
    return [*said, b"DATA\r\n", BODY]


@pytest.mark.parametrize("verb", [b"RCPT TO:", b"rcpt to:", b"RCPT TO: "])
def test_no_forward_path_is_taken_from_a_stranger(tmp_path: Path, verb: bytes) -> None:
    """Each form alone, with each sender; nothing is spooled."""

    async def scene(house: House) -> None:
        for sender, path in product(SENDERS if verb == b"RCPT TO:" else SENDERS[:1], FORWARD_PATHS):
            said = [each.replace(b"RCPT TO:", verb) for each in session(sender, path)]
            replies = await visit(house, *said, peer=STRANGERS[0])
            assert not any(reply.startswith(b"354") for reply in replies), (sender, path)

    assert play(tmp_path, scene).files == []


def test_a_name_or_a_network_that_looks_like_ours_gives_no_right(tmp_path: Path) -> None:
    """The address of the socket decides."""

    async def scene(house: House) -> None:
        for peer, name in product(STRANGERS, NAMES):
            await visit(house, *session(SENDERS[0], b"<b@victim.example>", name=name), peer=peer)

    assert play(tmp_path, scene).files == []


def test_a_stranger_reaches_postmaster_and_nobody_beside(tmp_path: Path) -> None:
    """All forms in one transaction with one that is taken: one message, for the configured address alone."""

    async def scene(house: House) -> None:
        for start in range(0, len(FORWARD_PATHS), 8):
            for postmaster in POSTMASTERS:
                some = FORWARD_PATHS[start : start + 8]
                await visit(house, *session(SENDERS[0], *some[:4], postmaster, *some[4:]), peer=STRANGERS[0])

    traces = play(tmp_path, scene)
    count = len(POSTMASTERS) * len(range(0, len(FORWARD_PATHS), 8))
    paths = [[each.address for each in envelope.recipients] for envelope in traces.envelopes()]
    assert paths == [["ops@example.org"]] * count


def test_a_refused_recipient_stays_refused_over_rset_and_a_new_name(tmp_path: Path) -> None:
    """What is done before RCPT changes nothing of it."""
    before = [
        b"",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"VRFY <b@victim.example>\r\n",
        b"HELO relay.example.org\r\n",
        b"HELP\r\n",
    ]

    async def scene(house: House) -> None:
        for each in before:
            said = [b"EHLO x\r\n", each, b"MAIL FROM:<a@client.example>\r\n", each, RCPT, b"DATA\r\n", BODY]
            await visit(house, *filter(None, said), peer=STRANGERS[0])
            # Pipelined as one write, a DATA behind a refused RCPT must not be taken either.
            await visit(house, b"".join(said), peer=STRANGERS[0])

    assert play(tmp_path, scene).files == []


def test_hacks_of_a_client_that_may_relay_go_on_as_they_are(tmp_path: Path) -> None:
    """A percent or a bang in a local part is the business of the domain behind the "@": nothing is rewritten."""
    paths = ["b%victim.example@relay.test", "victim.example!b@relay.test", '"b@victim.example"@relay.test']

    async def scene(house: House) -> None:
        await visit(house, *session(SENDERS[0], *(b"<" + path.encode() + b">" for path in paths)))

    (envelope,) = play(tmp_path, scene).envelopes()
    assert [each.address for each in envelope.recipients] == paths
