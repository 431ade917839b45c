"""Refusals: what an exchanger says of one message is said of no other."""

from pathlib import Path

from relayd.spool.outcome import Kind
from tests.deliver.running import run
from tests.deliver.town import carried, letters, surroundings
from tests.world.session import Session


def test_a_reverse_path_that_was_refused_is_said_again_for_the_next_message(tmp_path: Path) -> None:
    """RFC 5321 section 4.5.4.1: 5yz to MAIL is never remembered, not even on the same connection."""

    async def main() -> None:
        town = around.town("connections_per_destination = 1", idle=0.01)
        await carried(town, letters(2))
        assert [str(found[0].kind) for _, found, _ in town.reports] == ["failed", "delivered"]
        assert town.kinds() == {Kind.FAILED: 1, Kind.DELIVERED: 1}

    def mail(session: Session, line: bytes) -> bytes | None:
        return b"550 5.7.1 not you\r\n" if session.lines.count(line) == 1 else None

    with surroundings(tmp_path) as around:
        (exchanger,) = around.exchangers
        exchanger.replies = {"MAIL": mail}
        run(main)
        assert (exchanger.connections, exchanger.commands["MAIL"]) == (1, 2)
