"""Authentication: who is let in, who waits, and what is written down."""

import asyncio
import os
import tracemalloc
from base64 import b64encode
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import pytest

from relayd.base.users import Hash, Users
from relayd.receive.auth import Attempt, Authenticator
from relayd.receive.slowdown import Slowdown
from relayd.smtp.reply import Reply
from relayd.spool.envelope import head_end, unpack
from tests.receive.house import House, Transport

CHEAP = Hash.read("$scrypt$n=2,r=1,p=1$c2FsdHNhbHQ=$1pazaWFI7iSXJLTjb4ccs7OW1XPlIRFV+XIUMR/UnJg=")
ANNA, BERT = b"\x0a\0\0\1", b"\x0a\0\0\2"
Ask = Callable[[bytes, str, str], Coroutine[None, None, Reply | None]]


def written(folder: Path, *names: str) -> Path:
    """A file of users, whose password is "secret"."""
    path = folder / "users"
    Users(dict.fromkeys(names, CHEAP)).write(path)
    return path


def play(path: Path, scene: Callable[[Authenticator, Ask], Awaitable[None]]) -> list[str]:
    """A scene with an authenticator; give its troubles."""
    troubles: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        authenticator = Authenticator(path, loop, lambda error: troubles.append(str(error)))

        async def ask(client: bytes, user: str, password: str) -> Reply | None:
            future: asyncio.Future[Reply | None] = loop.create_future()
            authenticator.verify(Attempt(client, user, password), future.set_result)
            assert not future.done()
            return await asyncio.wait_for(future, 10)

        await scene(authenticator, ask)
        authenticator.close()

    asyncio.run(main())
    return troubles


def code(verdict: Reply | None) -> int:
    """Of the reply that a client hears."""
    return 235 if verdict is None else verdict.code


def test_the_right_password_and_no_other(tmp_path: Path) -> None:
    """Of a user that there is."""

    async def scene(authenticator: Authenticator, ask: Ask) -> None:
        assert code(await ask(ANNA, "anna", "secret")) == 235
        assert code(await ask(ANNA, "anna", "Secret")) == 535
        assert code(await ask(BERT, "bert", "secret")) == 535

    assert play(written(tmp_path, "anna"), scene) == []


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    """A user that was removed gets in no more."""

    async def scene(authenticator: Authenticator, ask: Ask) -> None:
        assert code(await ask(ANNA, "anna", "secret")) == 235
        written(tmp_path, "bert")
        assert code(await ask(BERT, "bert", "secret")) == 235
        assert code(await ask(ANNA, "anna", "secret")) == 535

    assert play(written(tmp_path, "anna"), scene) == []


@pytest.mark.parametrize(
    "spoil", [os.unlink, lambda path: path.write_text("anna:x\n"), lambda path: path.write_bytes(b"\xff")]
)
def test_a_file_that_cannot_be_read_lets_nobody_in(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    """For the time being, and somebody hears of it."""
    path = written(tmp_path, "anna")

    async def scene(authenticator: Authenticator, ask: Ask) -> None:
        assert code(await ask(ANNA, "anna", "secret")) == 235
        spoil(path)
        assert code(await ask(ANNA, "anna", "secret")) == 454
        written(tmp_path, "anna")
        assert code(await ask(ANNA, "anna", "secret")) == 235

    (trouble,) = play(path, scene)
    assert str(path) in trouble


def test_attempts_at_once_are_bounded(tmp_path: Path) -> None:
    """What is too much hears 454 at once, and all get an answer."""

    async def scene(authenticator: Authenticator, ask: Ask) -> None:
        verdicts = await asyncio.gather(*(ask(bytes([0, 0, 0, each]), "anna", "secret") for each in range(30)))
        assert sorted(map(code, verdicts)) == [235] * 18 + [454] * 12

    play(written(tmp_path, "anna"), scene)


def test_a_client_that_has_failed_often_is_put_off(tmp_path: Path) -> None:
    """All that come at once beyond those that wait in a row."""

    async def scene(authenticator: Authenticator, ask: Ask) -> None:
        for _ in range(8):
            authenticator._slowdown.failed(ANNA, "anna", asyncio.get_running_loop().time())
        waiting = asyncio.create_task(ask(ANNA, "anna", "secret"))
        await asyncio.sleep(0)
        again = asyncio.create_task(ask(ANNA, "anna", "secret"))
        assert code(await again) == 454
        assert not waiting.done()
        assert code(await ask(BERT, "anna", "secret")) == 235
        waiting.cancel()

    play(written(tmp_path, "anna"), scene)


def test_long_names_of_many_clients_fill_no_memory() -> None:
    """A line of AUTH has room for some 9,000 octets of name, and nobody has one that long."""
    slowdown = Slowdown()
    tracemalloc.start()
    for number in range(5000):
        slowdown.failed(number.to_bytes(8), f"{number:09000}", 0.0)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 5_000_000


def test_nothing_shows_the_password() -> None:
    """Where a value is printed by mistake."""
    assert "secret" not in repr(Attempt(ANNA, "anna", "secret"))


def settings_for(path: Path) -> str:
    """A relay where strangers may prove to be somebody, over loopback."""
    return (
        f'[auth]\nusers = "{path}"\nloopback_without_tls = true\n'
        '[relay]\nallow = ["192.0.2.0/24"]\npostmaster = "ops@example.org"'
    )


def said(user: str, password: str) -> bytes:
    """AUTH PLAIN in one line."""
    return b"AUTH PLAIN " + b64encode(f"\0{user}\0{password}".encode()) + b"\r\n"


def test_a_user_may_relay_and_is_named_in_the_envelope(tmp_path: Path) -> None:
    """And a failed attempt changes nothing."""

    async def main() -> None:
        house, transport = House(tmp_path, settings=settings_for(written(tmp_path, "anna"))), Transport()
        connection = house.connection(transport)
        connection.data_received(b"EHLO c\r\n")
        assert "250-AUTH PLAIN LOGIN" in transport.replies()
        connection.data_received(said("anna", "wrong") + b"NOOP\r\n")
        assert transport.replies() == []
        assert not transport.reads
        assert (await transport.next_replies())[0].startswith("535 5.7.8 ")
        connection.data_received(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nRSET\r\n")
        assert "554 5.7.1 <b@example.net>: Relay access denied" in transport.replies()
        connection.data_received(said("anna", "secret"))
        assert (await transport.next_replies())[0].startswith("235 2.7.0 ")
        assert transport.reads
        connection.data_received(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
        assert transport.replies()[-1].startswith("354 ")
        connection.data_received(b"Hi\r\n.\r\n")
        assert (await transport.next_replies())[0].startswith("250 2.0.0 Ok: queued")
        (name,) = house.files("new")
        content = (house.spool / "new" / name).read_bytes()
        assert unpack(content[: head_end(content)]).user == "anna"
        assert b" with ESMTPA id " in content
        connection.connection_lost(None)
        (refused,) = house.events("auth.refused")
        assert (refused["user"], refused["mechanism"]) == ("anna", "PLAIN")
        assert len(house.events("auth.accepted")) == 1
        assert (house.post.slot.get("authenticated"), house.post.slot.get("auth_failures")) == (1, 1)
        log = (tmp_path / "log").read_text()
        assert "secret" not in log
        assert "wrong" not in log
        house.end()

    asyncio.run(main())


def test_a_client_that_goes_before_the_verdict_leaves_nothing(tmp_path: Path) -> None:
    """The verdict comes to a session that is over."""

    async def main() -> None:
        house, transport = House(tmp_path, settings=settings_for(written(tmp_path, "anna"))), Transport()
        connection = house.connection(transport)
        connection.data_received(b"EHLO c\r\n" + said("anna", "secret"))
        connection.connection_lost(None)
        async with asyncio.timeout(10):
            while not house.events("auth.accepted"):
                await asyncio.sleep(0)
        assert len(house.events("session.closed")) == 1
        assert house.worker.open_sessions == 0
        house.end()

    asyncio.run(main())


def test_users_that_cannot_be_read_are_said_once(tmp_path: Path) -> None:
    """Not for each client."""

    async def main() -> None:
        house, transport = House(tmp_path, settings=settings_for(tmp_path / "none")), Transport()
        connection = house.connection(transport)
        connection.data_received(b"EHLO c\r\n")
        transport.replies()
        for _ in range(2):
            connection.data_received(said("anna", "secret"))
            assert (await transport.next_replies())[0].startswith("454 4.7.0 ")
        assert len(house.events("config.warning")) == 1
        connection.connection_lost(None)
        house.end()

    asyncio.run(main())
