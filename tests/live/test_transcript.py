"""`relayd queue show ID --transcript`, after real attempts of a running relay."""

import re

from tests.live.test_delivery import TWO_EQUAL, ZONE, delivering, send
from tests.live.test_operator import done
from tests.world.exchanger import Exchanger
from tests.world.network import free_port

TWO_TIERS = TWO_EQUAL.replace("MX 10 far", "MX 20 far")
_HEADING = r"[-0-9]{10} [:0-9]{8}Z  attempt 1 at %s\.example\.test \[%s:[0-9]+\]"


def test_the_last_dialogues_are_shown_with_their_times() -> None:
    """Of each exchanger that was tried, in order; no mail data."""
    port = free_port("127.0.0.2", "127.0.0.3")
    with (
        Exchanger("127.0.0.2", port, replies={"CONNECT": b"421 \x1b[2Jbusy\r\n"}),
        Exchanger("127.0.0.3", port, replies={".": b"451 4.3.0 not now\r\n"}),
        delivering(TWO_TIERS, port, delivery='retry = ["1h"]') as running,
    ):
        send(running, 1)
        running.wait(lambda: bool(running.files("cur")), "message in cur/")
        (item,) = running.queue()
        lines = done(running, "queue", "show", item["id"], "--transcript").splitlines()
        headings = [line for line in lines if not line.startswith("  ")]
        assert len(headings) == 2
        assert re.fullmatch(_HEADING % ("near", r"127\.0\.0\.2"), headings[0])
        assert re.fullmatch(_HEADING % ("far", r"127\.0\.0\.3"), headings[1])
        first, second = lines[1 : lines.index(headings[1])], lines[lines.index(headings[1]) + 1 :]
        assert re.fullmatch(r"  [0-9]+\.[0-9]{3} S 421 \\x1b\[2Jbusy", first[0])
        assert any(re.fullmatch(r"  [0-9]+\.[0-9]{3} C RCPT TO:<bob@example\.test>", line) for line in second)
        assert second[-1].endswith(" S 451 4.3.0 not now")
        assert "Subject" not in "".join(lines)
        both = running.command("queue", "show", item["id"], "--transcript", "--raw")
        assert both.returncode == 2


def test_a_message_without_one_says_so_in_a_line() -> None:
    """It has not been tried."""
    port = free_port("127.0.0.2")
    with delivering(ZONE, port) as running:
        done(running, "queue", "pause")
        send(running, 1)
        (item,) = running.queue()
        said = done(running, "queue", "show", item["id"], "--transcript")
        assert said == f"the journal of {item['id']} has no dialogue with an exchanger\n"
