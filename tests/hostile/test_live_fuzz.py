"""A live worker against sessions that a fuzzer makes: no exception reaches the top, and each 250 is one message.

The worker lives through all of them, so that what one session leaves behind meets the next.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relayd.base.users import Users
from tests.hostile.machine import END, cut
from tests.hostile.visit import Traces
from tests.hostile.words import NAMES, NO_ADDRESS, ODD_BUT_LEGAL, SPEECH
from tests.receive.live import Live, live

MEBIBYTE = 1 << 20
addresses = st.sampled_from([*ODD_BUT_LEGAL, *NO_ADDRESS])
words = st.one_of(
    st.sampled_from(SPEECH),
    st.sampled_from(SPEECH[:10]),
    st.binary(max_size=60),
    addresses.map(lambda text: b"RCPT TO:<" + text + b">\r\n"),
    addresses.map(lambda text: b"MAIL FROM:<" + text + b">\r\n"),
    st.sampled_from(NAMES).map(lambda name: b"EHLO " + name + b"\r\n"),
)
# What is said in one write; a list of them is a session, of which most begin well.
writes = st.lists(words, min_size=1, max_size=5).map(b"".join)
beginnings = st.sampled_from([[], SPEECH[1:2], SPEECH[1:3], SPEECH[1:5], [*SPEECH[1:5], b"DATA\r\n"]])
sessions = st.builds(
    lambda beginning, rest, places: [*beginning, *rest, *cut(END + b"QUIT\r\n", places)],
    beginnings,
    st.lists(writes, max_size=6),
    st.lists(st.integers(0, 12), max_size=2),
)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One worker for all sessions; its spool is looked at when all are over."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    users = folder / "users"
    Users({}).added("user", "right-word").write(users)
    options = f'[auth]\nusers = "{users}"\nloopback_without_tls = true\n[session]\nmaximum_message = "500 KB"'
    with live(folder, settings=options) as running:
        yield running


def play(running: Live, session: list[bytes]) -> Counter[str]:
    """One session to its end; the codes of its replies, those of messages that were taken as "queued"."""
    heard: list[str] = []
    with running.client() as client:
        # A reset is as good an end as any: what was said before it may be lost with it.
        with suppress(OSError):
            for write in session:
                client.says(write)
            client.ends()
        heard += client.hears_all()
    assert all(line.isprintable() and line[:3].isdigit() for line in heard), heard
    return Counter("queued" if ": queued as " in line else line[:3] for line in heard)


def search(running: Live, examples: int) -> None:
    """So many sessions, and then a good one."""
    before = psutil.Process(running.pid).memory_info().rss
    queued = 0

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(sessions)
    def each(session: list[bytes]) -> None:
        nonlocal queued
        queued += play(running, session)["queued"]
        running.event("session.closed")

    already = len(running.files())
    each()
    assert running.slot.get("bugs") == 0
    # A reset may take a 250 with it that was said. Each message has been acknowledged once, and none is lost.
    assert len(running.files()) == running.slot.get("accepted") >= already + queued
    assert psutil.Process(running.pid).memory_info().rss - before < 48 * MEBIBYTE
    assert running.files("tmp") == []
    with running.client() as client:
        client.begins()
        client.says(b"x" + END)
        assert client.hears().startswith("250 2.0.0 ")
    running.event("session.closed")
    spool = Traces(running.config.spool.directory.parent)
    for envelope in spool.envelopes():
        assert envelope.recipients


def test_no_session_hurts_the_worker(worker: Live) -> None:
    """A hundred or so."""
    search(worker, 120)


@pytest.mark.long
def test_no_session_hurts_the_worker_in_a_longer_search(worker: Live) -> None:
    """Twenty times as many."""
    search(worker, 2400)
