"""Needs: which mail must not go to an exchanger without 8BITMIME or SMTPUTF8, by what it holds."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import pytest

from relayd.deliver.needs import (
    Needs,
    Octets,
    missing,
    unfit,
)
from relayd.deliver.parcel import Parcel
from relayd.smtp.client import Order
from tests.deliver.making import job, parcel

ASCII = Order("a@b", ("c@d",))
MARKED = Order("a@b", ("c@d",), smtputf8=True)
WIDE = Order("a@b", ("c@d", "\u00e4@d"), smtputf8=True)
BOTH = Needs(eight_bits=True, smtputf8=True)
EIGHT_BITS = "554 5.6.3 it has 8-bit octets, and mx.test does not offer 8BITMIME"
ADDRESS = "550 5.6.7 it has an address beyond ASCII, and mx.test does not offer SMTPUTF8"
HEADER = "550 5.6.7 its header is beyond ASCII, and mx.test does not offer SMTPUTF8"


@dataclass
class Chunks:
    """Mail data in chunks, with a count of those that were read."""

    chunks: Sequence[bytes]
    in_memory: bool = False
    read: list[bytes] = field(default_factory=list)

    def cached(self, parcel: Parcel) -> bytes | None:
        """All of it, or none."""
        return b"".join(self.chunks) if self.in_memory else None

    async def stream(self, parcel: Parcel) -> AsyncGenerator[bytes, None]:
        """One after another."""
        for chunk in self.chunks:
            self.read.append(chunk)
            yield chunk


def judged(order: Order, needs: Needs, mail: Chunks) -> str | None:
    """The refusal."""
    refusal = asyncio.run(unfit(order, needs, mail, parcel(job()), "mx.test"))
    return None if refusal is None else str(refusal)


@pytest.mark.parametrize(
    ("order", "extensions", "needs"),
    [
        (ASCII, {"8BITMIME"}, Needs(eight_bits=False, smtputf8=False)),
        (ASCII, set(), Needs(eight_bits=True, smtputf8=False)),
        (MARKED, {"8BITMIME", "SMTPUTF8"}, Needs(eight_bits=False, smtputf8=False)),
        (MARKED, {"8BITMIME"}, Needs(eight_bits=False, smtputf8=True)),
        (MARKED, set(), BOTH),
    ],
)
def test_an_exchanger_lacks_what_it_does_not_offer(order: Order, extensions: set[str], needs: Needs) -> None:
    """And nothing has to be looked at where it offers all."""
    assert missing(order, extensions, "fail") == needs
    assert bool(missing(order, extensions, "fail")) == (needs.eight_bits or needs.smtputf8)


def test_an_operator_may_have_8_bits_sent_anywhere() -> None:
    """delivery.eight_bit = "send"; SMTPUTF8 is no matter of taste."""
    assert missing(MARKED, set(), "send") == Needs(eight_bits=False, smtputf8=True)
    assert not missing(ASCII, set(), "send")


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    ("order", "chunks", "refusal"),
    [
        (ASCII, [b"Subject: x\r\n\r\ntext\r\n"], None),
        (ASCII, [b"Subject: x\r\n\r\n", b"gr\xc3\xbc\xc3\x9fe\r\n"], EIGHT_BITS),
        (ASCII, [b"Subject: \xff\r\n\r\n", b"text\r\n"], EIGHT_BITS),
        (WIDE, [b"Subject: x\r\n\r\ntext\r\n"], ADDRESS),
        (MARKED, [b"Subject: x\r\n\r\ntext\r\n"], None),
        (MARKED, [b"Subject: gr\xc3", b"\xbc\r\n\r\ntext\r\n"], HEADER),
        (MARKED, [b"Subject: x\r\n\r", b"\ngr\xc3\xbc\xc3\x9fe\r\n"], EIGHT_BITS),
        # Mail data that begins with the empty line has no header section.
        (MARKED, [b"\r", b"\ngr\xc3\xbc\r\n"], EIGHT_BITS),
        # Without an empty line all of it is one.
        (MARKED, [b"X: x\r\n", b"Y: \xc3\xbc\r\n"], HEADER),
        (MARKED, [b""], None),
    ],
)
def test_what_the_mail_holds_decides(
    order: Order, chunks: list[bytes], refusal: str | None, in_memory: bool
) -> None:
    """However it was declared, and wherever a chunk ends."""
    assert judged(order, missing(order, set(), "fail"), Chunks(chunks, in_memory)) == refusal


def test_8_bits_in_the_body_are_no_matter_of_smtputf8() -> None:
    """RFC 6531 section 3.1: it is about addresses and the header."""
    mail = Chunks([b"Subject: x\r\n\r\n", b"gr\xc3\xbc\r\n"])
    assert judged(MARKED, Needs(eight_bits=False, smtputf8=True), mail) is None


def test_no_more_is_read_than_must_be() -> None:
    """Up to what is found, or the end of the header where that alone counts."""
    chunks = [b"X: x\r\n", b"\r\n", b"\xff\r\n", b"more\r\n"]
    for needs, read in ((Needs(eight_bits=False, smtputf8=True), 2), (BOTH, 3)):
        mail = Chunks(chunks)
        judged(MARKED, needs, mail)
        assert mail.read == chunks[:read]
    mail = Chunks(chunks)
    judged(WIDE, BOTH, mail)
    assert mail.read == []


def test_octets_are_seen_the_same_however_they_come() -> None:
    """The end of the header may lie across chunks."""
    mail_data = b"A: b\r\nC: d\r\n\r\n\xff\r\n\r\n"
    for first in range(len(mail_data) + 1):
        for second in range(first, len(mail_data) + 1):
            octets = Octets()
            for chunk in (mail_data[:first], mail_data[first:second], mail_data[second:]):
                octets.pass_by(chunk)
            assert (octets.in_header, octets.has_wide_header, octets.has_eight_bits) == (False, False, True)
