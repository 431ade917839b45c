"""The dialogues of tests/smtp on a live worker over a socket, those that matter most on both event loops."""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import pytest

from relayd.base import raw
from relayd.base.config import Config
from relayd.base.sections import Auth, Tls
from relayd.base.users import Hash, Users
from tests.receive.live import HOST, Client, Live, live
from tests.world import dialogue
from tests.world.authority import certify
from tests.world.dialogue import Act, Dialogue, Step, dialogues, matches

CORE = {
    "starttls",
    "tls_implicit",
    "auth",
    "chunking",
    "first_mail",
    "transactions",
    "pipelining",
    "transparency",
    "errors",
    "quit",
    "shutdown",
    "timeout",
}
PLAYS = [
    pytest.param(each, loop, id=f"{each.name}-{loop}")
    for each in dialogues()
    for loop in ("uvloop", "asyncio")
    if loop == "uvloop" or each.name in CORE
]
_SECRET = str(Hash.of("secret"))
# Where nobody waits the sweep must not come in between.
_LONG, _SHORT = 300.0, 0.3


def configured(played: Dialogue, config: Config) -> Config:
    """The configuration that a dialogue asks for; its figures may be smaller than a file's may."""
    said = played.settings
    relay = replace(config.relay, postmaster=said["postmaster"] or None)
    if said["may_relay"] == "no":
        relay = replace(relay, allow=(ip_network("192.0.2.0/24"),))
    waits = any(step.act is Act.WAIT for step in played.steps)
    session = replace(
        config.session,
        timeout=_SHORT if waits else _LONG,
        extended=said["extended"] == "true",
        bare_newline="normalize" if said["bare_newline"] == "normalize" else "reject",
        maximum_message=int(said["maximum_message"]),
        maximum_recipients=int(said["maximum_recipients"]),
    )
    free = 1 << 62 if said["disk"] == "full" else 0
    # The values of a dialogue's settings are those of the file's keys.
    listener = raw.Listener(tls=said["tls"], auth=said["auth"])  # type: ignore[arg-type]
    folder = config.spool.directory.parent
    papers = certify(folder, HOST)
    Users.read(f"alice:{_SECRET}").write(folder / "users")
    return replace(
        config,
        listeners=(replace(config.listeners[0], tls=listener.tls, auth=listener.auth),),
        relay=replace(relay, origin=said["origin"] or None),
        session=session,
        spool=replace(config.spool, minimum_free=free),
        tls=None if said["tls"] == "off" else Tls(papers.certificate, papers.key),
        auth=None if said["auth"] == "off" else Auth(folder / "users", said["auth_in_clear"] == "yes"),
    )


def play(played: Dialogue, worker: Live) -> None:
    """Say the client's part, and hear nothing but the server's."""
    with Client(worker.address, greeted=False) as client:
        if played.settings["tls"] == "implicit":
            client.starts_tls()
        for step in played.steps:
            if step.act is Act.SHUT_DOWN:
                worker.retire(0)
            elif step.act is Act.START_TLS:
                client.starts_tls()
            # A server that has closed may have done so before all was sent.
            with suppress(ConnectionResetError, BrokenPipeError):
                client.says(step.octets)
            hear(client, step)
            if step.queued is not None:
                assert worker.mail()[-1] == step.queued
        if not played.steps[-1].closes:
            client.ends()
            assert client.hears_all() == []
    assert len(worker.files()) == played.messages
    assert worker.event("session.closed")["messages"] == played.messages
    assert worker.files("tmp") == []


def hear(client: Client, step: Step) -> None:
    """Exactly the replies of one step."""
    for expected in step.replies:
        line = client.hears()
        assert matches(expected, line.encode()), (step.octets, expected, line)
    if step.closes:
        assert client.hears_all() == []


@pytest.mark.parametrize(("played", "loop"), PLAYS)
def test_a_dialogue_goes_over_a_socket_as_in_memory(tmp_path: Path, played: Dialogue, loop: str) -> None:
    """Every reply, every close, every message in the spool."""
    assert dialogue.HOST == HOST
    with live(tmp_path, loop=loop, change=partial(configured, played)) as worker:
        play(played, worker)


def test_the_core_dialogues_are_there() -> None:
    """A dialogue that was renamed is still played on both loops."""
    assert {each.name for each in dialogues()} >= CORE
