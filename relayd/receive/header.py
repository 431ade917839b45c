"""Header completion: Date and Message-ID for a message that lacks them (RFC 6409 sections 8.1 and 8.2). Pure.

The header section is held back until its end is seen, since only then is it known what it lacks; what is missing
goes before it, and everything else passes unchanged. A header section of more than 64 KiB passes as it is. Refuses
to know who the client is: that it may relay is for the caller to see.
"""

import re
from datetime import datetime

from relayd.receive.trace import date_of

_MOST_HELD = 65_536

# A field's beginning (RFC 5322 section 2.2; blanks before the colon are of section 4.5).
_NAME = rb"[!-9;-~]+[ \t]*:"
_FIELD = re.compile(_NAME)
# The end of a line, where neither a field follows nor a line that goes on with one.
_SECTION_END = re.compile(rb"\n(?!" + _NAME + rb"|[ \t])")
# They begin with what is searched for in C: a tenth of what it costs to try at each place, with 40 fields.
_DATE = re.compile(rb"\nDate[ \t]*:", re.IGNORECASE)
_MESSAGE_ID = re.compile(rb"\nMessage-ID[ \t]*:", re.IGNORECASE)


class Completion:
    """One message's header on its way; `message_id` comes without its angle brackets."""

    __slots__ = ("_at", "_held", "_is_over", "_message_id", "_seen")

    def __init__(self, *, at: datetime, message_id: str) -> None:
        self._at = at
        self._message_id = message_id
        self._held = b""
        # So many octets of what is held are whole lines of the header section.
        self._seen = 0
        self._is_over = False

    def feed(self, octets: bytes) -> bytes:
        """Take the next octets of the message, and give those that can go on."""
        if self._is_over:
            return octets
        # As a rule nothing is held, and the first octets have all of it.
        held = self._held + octets
        # Each line is looked at once, however the octets come.
        if b"\n" in octets:
            self._seen = _section_end(held, self._seen)
            if held.find(b"\n", self._seen) >= 0:
                return self._complete(held)
        if len(held) > _MOST_HELD:
            self._is_over = True
            self._held = b""
            return held
        self._held = held
        return b""

    def finish(self) -> bytes:
        """The message is over: give what is still held, completed."""
        return b"" if self._is_over else self._complete(self._held)

    def _complete(self, held: bytes) -> bytes:
        """What is missing, then what is held. The line that ends the section is whole, or the message is over."""
        self._is_over = True
        self._held = b""
        section = held[: self._seen]
        lines = b"\n" + section
        added = b""
        if not _DATE.search(lines):
            added = f"Date: {date_of(self._at)}\r\n".encode("ascii")
        if not _MESSAGE_ID.search(lines):
            added += f"Message-ID: <{self._message_id}>\r\n".encode("ascii")
        # Text without any header would read as a broken one.
        if not section and held and not held.startswith(b"\r\n"):
            added += b"\r\n"
        return added + held


def _section_end(held: bytes, seen: int) -> int:
    """Behind the last whole line that belongs to the header section; the lines up to `seen` do."""
    if not seen and not _FIELD.match(held):
        # A line that goes on is no beginning: it would go on with one of ours.
        return 0
    found = _SECTION_END.search(held, max(0, seen - 1))
    return held.rfind(b"\n") + 1 if found is None else found.start() + 1
