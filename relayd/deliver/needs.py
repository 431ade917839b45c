"""Needs: what mail asks of an exchanger beyond RFC 5321, and the refusal where that is not offered.

Mail data with octets beyond ASCII needs 8BITMIME (RFC 6152 section 3), unless `delivery.eight_bit = "send"`; an
address or a header section beyond ASCII needs SMTPUTF8 (RFC 6531 section 3.1), always. What is found counts, not
what was declared: mail that came with BODY=8BITMIME or SMTPUTF8 and is ASCII may go anywhere. Nothing is
converted. The refusal is permanent and no other exchanger is asked, as RFC 6152 has it and other relays do it:
exchangers of one domain that differ in this are a fault to be seen, not a lottery.

Refuses to know connections. Raises what reading the mail raises.
"""

import contextlib
from collections.abc import AsyncGenerator, Container
from dataclasses import dataclass
from typing import Literal, Protocol

from relayd.deliver.parcel import Parcel
from relayd.smtp.client import Order
from relayd.smtp.reply import Reply, reply


class Reading(Protocol):
    """The mail data of a parcel, as `mail.Mail` has it."""

    def cached(self, parcel: Parcel) -> bytes | None:
        """All of it when it is in memory."""

    def stream(self, parcel: Parcel) -> AsyncGenerator[bytes, None]:
        """Chunks of it."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What to look for in one message that is to go to one exchanger."""

    eight_bits: bool
    smtputf8: bool

    def __bool__(self) -> bool:
        return self.eight_bits or self.smtputf8


_NOTHING = Needs(eight_bits=False, smtputf8=False)


def missing(order: Order, extensions: Container[str], eight_bit: Literal["send", "fail"]) -> Needs:
    """Which of its needs the exchanger does not meet, should the mail have them."""
    if "8BITMIME" in extensions and not order.smtputf8:
        return _NOTHING
    return Needs(
        eight_bits=eight_bit == "fail" and "8BITMIME" not in extensions,
        smtputf8=order.smtputf8 and "SMTPUTF8" not in extensions,
    )


async def unfit(order: Order, needs: Needs, mail: Reading, parcel: Parcel, exchanger: str) -> Reply | None:
    """Why the mail must not go to the exchanger, which lacks these, or None; it reads no further than it must.

    The refusal is ours and not the exchanger's, which was not asked.
    """
    if needs.smtputf8 and not order.is_ascii:
        return reply(550, "5.6.7", f"it has an address beyond ASCII, and {exchanger} does not offer SMTPUTF8")
    octets = Octets()
    mail_data = mail.cached(parcel)
    if mail_data is not None:
        octets.pass_by(mail_data)
        return _refusal(octets, needs, exchanger)
    async with contextlib.aclosing(mail.stream(parcel)) as chunks:
        async for chunk in chunks:
            octets.pass_by(chunk)
            refusal = _refusal(octets, needs, exchanger)
            if refusal is not None or not (needs.eight_bits or octets.in_header):
                return refusal
    return None


class Octets:
    """What was seen of one message's mail data while it passed by."""

    def __init__(self) -> None:
        # A virtual CR LF before the first line: mail data may begin with the empty line.
        self._tail = b"\r\n"
        self.in_header = True
        self.has_wide_header = False
        self.has_eight_bits = False

    def pass_by(self, octets: bytes) -> None:
        """The next ones."""
        if not octets.isascii():
            self.has_eight_bits = True
        if self.in_header:
            header, end, _ = (self._tail + octets).partition(b"\r\n\r\n")
            self.has_wide_header |= not header.isascii()
            self._tail = header[-3:]
            self.in_header = not end


def _refusal(octets: Octets, needs: Needs, exchanger: str) -> Reply | None:
    if needs.smtputf8 and octets.has_wide_header:
        return reply(550, "5.6.7", f"its header is beyond ASCII, and {exchanger} does not offer SMTPUTF8")
    if needs.eight_bits and octets.has_eight_bits:
        return reply(554, "5.6.3", f"it has 8-bit octets, and {exchanger} does not offer 8BITMIME")
    return None
