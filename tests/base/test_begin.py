"""To begin: what a child that waits hears, and what it does then."""

import asyncio
import json
from pathlib import Path

import pytest

from relayd.base.begin import told_to_begin
from relayd.base.channel import Begin, Channel, Message, Ready, Reopen, Retire, Waiting
from relayd.base.log import Log


def waits(folder: Path, *said: Message, gone: bool = False) -> tuple[bool, Channel, Channel]:
    """What comes of these words; the two ends of the channel."""
    ours, theirs = Channel.pair()

    async def main() -> bool:
        waiting = asyncio.create_task(told_to_begin(theirs, Log("json", folder / "log")))
        await asyncio.sleep(0)
        assert ours.receive() == Waiting()
        for each in said:
            ours.send(each)
        if gone:
            ours.close()
        async with asyncio.timeout(10):
            return await waiting

    return asyncio.run(main()), ours, theirs


def test_the_word_to_begin_ends_the_wait(tmp_path: Path) -> None:
    """What was said behind it is left to be heard."""
    told, _, theirs = waits(tmp_path, Begin(), Retire(5.0))
    assert told
    assert theirs.receive() == Retire(5.0)
    with pytest.raises(BlockingIOError):
        theirs.receive()


def test_a_word_to_end_and_a_dead_master_end_it_too(tmp_path: Path) -> None:
    """Nothing was begun."""
    assert not waits(tmp_path, Retire(5.0))[0]
    assert not waits(tmp_path, gone=True)[0]


def test_the_log_is_opened_anew_meanwhile(tmp_path: Path) -> None:
    """And other words are passed over."""
    assert waits(tmp_path, Ready(), Reopen(), Begin())[0]


def test_a_log_that_cannot_be_opened_anew_stays_and_has_the_reason(tmp_path: Path) -> None:
    """A folder has its name by now."""
    log = tmp_path / "log"
    ours, theirs = Channel.pair()

    async def main() -> bool:
        waiting = asyncio.create_task(told_to_begin(theirs, Log("json", log)))
        await asyncio.sleep(0)
        log.rename(tmp_path / "old")
        log.mkdir()
        ours.send(Reopen())
        ours.send(Begin())
        async with asyncio.timeout(10):
            return await waiting

    assert asyncio.run(main())
    warning = json.loads((tmp_path / "old").read_text())
    assert warning["event"] == "config.warning"
    assert "cannot be reopened" in warning["warning"]
