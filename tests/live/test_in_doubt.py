"""A connection that is lost after the final dot: tried again, or held for a person, also after a kill."""

import threading

import pytest

from tests.live.test_delivery import ZONE, delivering, send
from tests.world.exchanger import Exchanger
from tests.world.network import free_port


def test_a_message_in_doubt_is_sent_again_later() -> None:
    """RFC 5321 section 3.8 and RFC 1047: a second copy rather than none."""
    port = free_port("127.0.0.2")
    with (
        Exchanger("127.0.0.2", port, drop_after_final_dot=True) as exchanger,
        delivering(ZONE, port, delivery='retry = ["1s"]') as running,
    ):
        send(running, 1)
        running.wait_for_events("delivery.in_doubt")
        exchanger.drop_after_final_dot = False
        exchanger.wait_for(2)
        running.wait_until_empty()


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_message_in_doubt_is_held_when_the_operator_wants_to_decide(is_killed: bool) -> None:
    """The connection is lost, or the process is killed: one copy went, and the message is in hold/."""
    port = free_port("127.0.0.2")
    with (
        Exchanger("127.0.0.2", port, drop_after_final_dot=not is_killed) as exchanger,
        delivering(ZONE, port, delivery='retry = ["1s"]\nin_doubt = "hold"') as running,
    ):
        exchanger.before_final_reply = threading.Event() if is_killed else None
        send(running, 1)
        exchanger.wait_for(1)
        if is_killed:
            running.kill("delivery")
        running.wait(lambda: bool(running.files("hold")), "message in hold/")
        (item,) = running.queue()
        assert (item["state"], item["last_kind"]) == ("hold", "in_doubt")
        assert len(exchanger.messages) == 1
        exchanger.before_final_reply, exchanger.drop_after_final_dot = None, False
        assert running.command("queue", "release", item["id"]).returncode == 0
        exchanger.wait_for(2)
        running.wait_until_empty()
