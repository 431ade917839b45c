"""Header completion: what is missing is added, and nothing else is changed."""

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.receive.header import Completion

AT = datetime(2026, 11, 25, 20, 32, 6, tzinfo=UTC)
DATE = b"Date: Wed, 25 Nov 2026 20:32:06 +0000\r\n"
ID = b"Message-ID: <abc@relay.example.org>\r\n"


def completed(*pieces: bytes) -> bytes:
    """The message that comes of the pieces."""
    completion = Completion(at=AT, message_id="abc@relay.example.org")
    return b"".join(map(completion.feed, pieces)) + completion.finish()


@pytest.mark.parametrize(
    ("message", "added"),
    [
        (b"Subject: x\r\n\r\nHello\r\n", DATE + ID),
        (b"Subject: x\r\n", DATE + ID),
        (b"\r\nHello\r\n", DATE + ID),
        (b"", DATE + ID),
        (b"Date: today\r\n\r\nHello\r\n", ID),
        (b"Subject: x\r\nDATE : today\r\n\r\nHello\r\n", ID),
        (b"message-id: <1@x>\r\n\r\n", DATE),
        (b"Date: today\r\nMESSAGE-ID:\r\n <1@x>\r\n\r\nx", b""),
        # Not the fields that are meant.
        (b"Resent-Date: today\r\nX-Message-ID: <1@x>\r\n\r\n", DATE + ID),
        (b"Subject: x\r\n Date: today\r\n\tMessage-ID: <1@x>\r\n\r\n", DATE + ID),
        (b"Subject: x\r\n\r\nDate: today\r\nMessage-ID: <1@x>\r\n", DATE + ID),
        (b"Subject: x\r\nno field\r\nDate: today\r\n\r\n", DATE + ID),
        # Text alone needs the line that ends the header too.
        (b"Hello\r\nDate: today\r\n", DATE + ID + b"\r\n"),
        (b" folded\r\nDate: today\r\n", DATE + ID + b"\r\n"),
        (b"From me Date: today\r\n", DATE + ID + b"\r\n"),
        (b"\xffDate: today\r\n", DATE + ID + b"\r\n"),
        (b"Hello", DATE + ID + b"\r\n"),
    ],
)
def test_what_is_missing_goes_first_and_the_message_after_it_unchanged(message: bytes, added: bytes) -> None:
    """In one piece, and octet by octet."""
    assert completed(message) == added + message
    assert completed(*(message[place : place + 1] for place in range(len(message)))) == added + message


def test_the_body_does_not_wait_for_the_end() -> None:
    """Once the header is complete everything passes."""
    completion = Completion(at=AT, message_id="abc@relay.example.org")
    assert completion.feed(b"Subject: x\r\n") == b""
    assert completion.feed(b"\r\nHel") == DATE + ID + b"Subject: x\r\n\r\nHel"
    assert completion.feed(b"lo") == b"lo"
    assert completion.finish() == b""


def test_a_header_without_end_passes_unchanged() -> None:
    """No more of it is held than 64 KiB."""
    line = b"X-A: " + b"a" * 93 + b"\r\n"
    assert completed(*[line] * 700) == line * 700
    assert completed(b"X-A: " + b"a" * 70_000) == b"X-A: " + b"a" * 70_000


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([b"Date: x", b"Message-ID: y", b" z", b"\r\n", b"\r\n\r\n", b"a", b":", b"\n"])),
    st.lists(st.integers(0, 60)),
)
def test_where_a_message_is_cut_makes_no_difference(words: list[bytes], cuts: list[int]) -> None:
    """And the message is the end of what comes of it."""
    message = b"".join(words)
    places = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
    pieces = [message[first:last] for first, last in itertools.pairwise(places)]
    assert completed(*pieces) == completed(message)
    assert completed(message).endswith(message)
