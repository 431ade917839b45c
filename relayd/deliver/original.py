"""The original: what of a message's mail data goes back to its originator in a notification. Pure.

RFC 3461 section 4.3: all of it where the client said RET=FULL, else the header section. A message cannot be
encoded inside another, so one that is long or could not go by any server goes back as its header only: what is
owed is the word of the failure, and it must arrive.
"""

import re
from dataclasses import dataclass

from relayd.deliver.report import is_sound, message_part, text_part

# More of the original's header than this helps nobody (RFC 6522 section 4 leaves the choice to us).
HEADER_OCTETS = 65_536
# And the longest message that goes back whole.
WHOLE_OCTETS = 1_000_000

_FIELD = re.compile(rb"[\x21-\x39\x3b-\x7e]+[ \t]*:")


@dataclass(frozen=True, slots=True)
class Original:
    """The mail data as far as it was read; `is_whole` when that is all of it, and all was asked for."""

    octets: bytes = b""
    is_whole: bool = False

    def part(self, *, is_wide: bool) -> bytes:
        """The part of the report; it is wide when that goes by SMTPUTF8."""
        octets, is_ascii = self.octets, self.octets.isascii()
        if self.is_whole and (is_ascii or is_wide) and is_sound(octets):
            is_global = not header_of(octets).isascii()
            return message_part("message/global" if is_global else "message/rfc822", "Undelivered message", octets)
        return text_part("text/rfc822-headers", "Headers of the message", header_of(octets))


def header_of(start: bytes) -> bytes:
    """The header section (RFC 5322 section 2.2) at the start of mail data, bounded; its last line is whole.

    It ends at the first line that belongs to no field, as a reader of mail would see it.
    """
    kept: list[bytes] = []
    octets = 0
    for line in start[: HEADER_OCTETS + 1].split(b"\r\n")[:-1]:
        is_field = _FIELD.match(line) or (kept and line[:1] in (b" ", b"\t"))
        octets += len(line) + 2
        if not is_field or octets > HEADER_OCTETS:
            break
        kept.append(line + b"\r\n")
    return b"".join(kept)
