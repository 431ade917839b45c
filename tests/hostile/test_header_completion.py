"""Header completion against mail that is made to fool it: what is missing is added, and nothing is changed."""

import re
from datetime import UTC, datetime
from email.parser import BytesHeaderParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.receive.header import Completion
from tests.hostile.machine import cut, each_octet

AT = datetime(2026, 1, 1, tzinfo=UTC)
ADDED = re.compile(rb"(?:Date: [ -~]+\r\n)?(?:Message-ID: <id@relay\.example\.org>\r\n)?(?:\r\n)?")
MEBIBYTE = 1 << 20
TOKENS = [
    b"Date: x\r\n",
    b"date:x\r\n",
    b"Message-ID: <a@b>\r\n",
    b"MESSAGE-ID : y\r\n",
    b"Subject: s\r\n",
    b" folded\r\n",
    b"\tDate: folded\r\n",
    b"\r\n",
    b"no field\r\n",
    b": no name\r\n",
    b"X-Date: x\r\n",
    b"Date\r\n",
    b"\x80: y\r\n",
    b"From here\r\n",
    b"x",
    b"Resent-Date: x\r\n",
    b"..\r\n",
]


def completed(writes: list[bytes]) -> bytes:
    """What goes on for a message that comes in these pieces."""
    completion = Completion(at=AT, message_id="id@relay.example.org")
    return b"".join(map(completion.feed, writes)) + completion.finish()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=8), st.lists(st.integers(0, 120), max_size=5))
def test_the_message_passes_unchanged_behind_what_is_added(tokens: list[bytes], places: list[int]) -> None:
    """However it is cut; and the whole then has one of each, for whoever reads it."""
    message = b"".join(tokens)
    whole = completed([message])
    assert completed(cut(message, places) or [b""]) == whole
    assert whole.endswith(message)
    added = whole[: len(whole) - len(message)]
    assert ADDED.fullmatch(added), added


@pytest.mark.parametrize(
    "message",
    [
        b"Subject: s\r\n\r\nDate: in the body\r\nMessage-ID: <in@the.body>\r\n",
        b"Subject: s\r\n Date: folded\r\n\tMessage-ID: <folded@x>\r\n\r\n",
        b"Subject: s\r\nnot a field\r\nDate: x\r\nMessage-ID: <x@y>\r\n\r\n",
        b"X-Date: x\r\nX-Message-ID: y\r\nDate-X: z\r\n\r\n",
        b"Subject: Date: x\r\nComments: Message-ID: <x@y>\r\n\r\n",
        b"\r\nDate: x\r\nMessage-ID: <x@y>\r\n",
        b"",
        b"\r\n",
    ],
)
def test_what_is_no_field_is_missing(message: bytes) -> None:
    """In the body, in a folded line, in another field, behind a line that ends the header."""
    for writes in ([message], each_octet(message)):
        header = BytesHeaderParser().parsebytes(completed(writes))
        assert header["Message-ID"] == "<id@relay.example.org>"
        assert header["Date"] == "Thu, 01 Jan 2026 00:00:00 +0000"


@pytest.mark.parametrize("filler", [b"x", b"X: y\r\n", b"\t\r\n", b" ", b"Subject: " + b"x" * 70 + b"\r\n"])
@pytest.mark.parametrize("start", [b"", b"Subject: s\r\n"])
def test_a_header_without_an_end_is_not_kept(start: bytes, filler: bytes) -> None:
    """No more than its bound is held back; then all of it passes as it is."""
    completion = Completion(at=AT, message_id="id@relay.example.org")
    fed = passed = 0
    for piece in [start, *([filler * (4096 // len(filler))] * (MEBIBYTE // 4096))]:
        fed += len(piece)
        passed += len(completion.feed(piece))
        assert fed - passed <= 65_536 + 4096
    # A Date and a Message-ID at most have come to it.
    assert 0 <= passed + len(completion.finish()) - fed <= 200
