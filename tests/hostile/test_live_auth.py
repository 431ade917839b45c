"""AUTH on the wire: guessing, flooding, leaving in between; and what of it stands in the log.

This host may not relay here, so that only a password opens the door; judged by the messages in new/.
"""

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from relayd.base.users import Users
from relayd.spool.envelope import unpack
from tests.hostile.machine import END
from tests.receive.live import TRANSACTION, Client, Live, live

EHLO = b"EHLO client.example\r\n"
PATHS = TRANSACTION.removesuffix(b"DATA\r\n")
USER, SECRET, WRONG = "user", "s3cret-word", "wr0ng-word"
NAMES = [
    "a\r\nb",
    "a\nevent=auth.accepted",
    "a\x1b[2J",
    'a" event=x "',
    "a\\",
    "a\u2028b",
    "a\u202eb",
    "../../etc/passwd",
    "$(id)",
    "u:s",
    "#",
    "ü" * 3000,
    "\ufdfa" * 300,
    USER + "\u200b",
]
SETTINGS = """
    [relay]
    allow = ["192.0.2.0/24"]
    [auth]
    loopback_without_tls = true
    users = "{}"
"""


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of one user."""
    path = tmp_path_factory.mktemp("users") / "users"
    Users({}).added(USER, SECRET).write(path)
    return path


@pytest.fixture
def worker(tmp_path: Path, users: Path) -> Iterator[Live]:
    """A worker that lets nobody relay but a user."""
    with live(tmp_path, settings=SETTINGS.format(users)) as running:
        yield running


def plain(user: str, password: str) -> bytes:
    """AUTH with all in one line."""
    return b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()) + b"\r\n"


def greeted(client: Client) -> None:
    """EHLO, and its reply to the end."""
    client.says(EHLO)
    while client.hears()[3:4] != " ":
        pass


def codes(client: Client, *said: bytes) -> list[str]:
    """The codes of the replies, one for each command."""
    client.says(*said)
    return [client.hears()[:3] for _ in range(b"".join(said).count(b"\r\n"))]


def log_of(running: Live) -> list[dict[str, Any]]:
    """All events, once the worker has ended."""
    running.retire(0.0)
    return running.events()


def test_only_the_right_password_opens_the_door(worker: Live) -> None:
    """Neither its absence, nor a wrong one, nor another user's name with it."""
    wrong = ((USER, WRONG), ("other", SECRET), (USER.upper(), SECRET), (USER, SECRET + " "))
    for number, (user, password) in enumerate(wrong, 2):
        with worker.client(source=f"127.0.0.{number}") as client:
            greeted(client)
            assert codes(client, PATHS, b"RSET\r\n") == ["250", "554", "250"]
            assert codes(client, plain(user, password)) == ["535"]
            assert codes(client, PATHS, b"RSET\r\n") == ["250", "554", "250"]
    assert worker.files() == []


def test_a_user_may_relay_until_the_session_ends(worker: Live) -> None:
    """Over RSET and a new EHLO; the next session begins as nobody."""
    with worker.client() as client:
        greeted(client)
        assert codes(client, plain(USER, SECRET)) == ["235"]
        greeted(client)
        assert codes(client, PATHS, b"DATA\r\n") == ["250", "250", "354"]
        client.says(b"x" + END)
        assert client.hears().startswith("250 ")
    with worker.client() as client:
        greeted(client)
        assert codes(client, PATHS) == ["250", "554"]
    assert len(worker.files()) == 1


def test_a_user_has_one_name(worker: Live) -> None:
    """In other letters that mean the same it is refused, or the same user: no second account for the guard."""
    for number, name in enumerate(("\uff55ser", "u\uff53er", "\u24e4ser"), 2):
        with worker.client(source=f"127.0.0.{number}") as client:
            greeted(client)
            if codes(client, plain(name, SECRET)) == ["235"]:
                assert codes(client, PATHS, b"DATA\r\n") == ["250", "250", "354"]
                client.says(b"x" + END)
                assert client.hears().startswith("250 ")
    assert {unpack(path.read_bytes().partition(b"\n\n")[0]).user for path in worker.files()} <= {USER}


def test_what_is_said_before_the_verdict_waits_for_it(worker: Live) -> None:
    """Pipelined behind a wrong password: read only afterwards, as nobody."""
    for number, behind in enumerate((TRANSACTION, b"QUIT\r\n", b"*\r\n", b"\0", b"x" * 100_000), 2):
        with worker.client(source=f"127.0.0.{number}") as client:
            greeted(client)
            client.says(plain(USER, WRONG), behind)
            assert client.hears().startswith("535 ")
            client.ends()
            assert not any(line.startswith(("354", "235")) for line in client.hears_all())
    assert worker.files() == []


def test_a_client_that_leaves_before_the_verdict_leaves_nothing(worker: Live) -> None:
    """Reset, or half-closed: the worker goes on."""
    for number in range(8):
        client = worker.client()
        greeted(client)
        client.says(plain(USER, SECRET))
        if number % 2:
            client.dies()
        else:
            with client:
                client.ends()
                client.hears_all()
        worker.event("session.closed")
    test_a_user_may_relay_until_the_session_ends(worker)


def test_a_flood_of_passwords_does_not_stop_the_others(worker: Live) -> None:
    """So many at once are verified or put off, and a session beside them is answered; nobody gets in."""
    with ExitStack() as open_:
        crowd = [open_.enter_context(worker.client()) for _ in range(60)]
        other = open_.enter_context(worker.client())
        for client in crowd:
            greeted(client)
        for client in crowd:
            client.says(plain(USER, WRONG))
        assert codes(other, b"NOOP\r\n" * 5) == ["250"] * 5
        # Some wait long for having failed: what counts is that those who are answered are refused.
        answers = [crowd[index].hears()[:3] for index in (0, 1)]
        assert set(answers) <= {"535", "454"}
        for client in crowd:
            client.dies()
    assert worker.files() == []
    with worker.client() as client:
        greeted(client)
        assert codes(client, PATHS) == ["250", "554"]


def test_a_name_is_escaped_in_the_log_and_a_password_is_not_there(worker: Live) -> None:
    """One record for each attempt; a name that nobody could have is refused as a wrong password is."""
    for number, user in enumerate(NAMES, 2):
        # Each from an address of its own, since one that has failed would wait.
        with worker.client(source=f"127.0.0.{number}") as client:
            greeted(client)
            assert codes(client, plain(user, WRONG))[0] in ("535", "501")
            client.says(b"QUIT\r\n")
            client.hears_all()
    events = log_of(worker)
    refused = [event["user"] for event in events if event["event"] == "auth.refused"]
    assert len(refused) <= len(NAMES)
    assert set(NAMES[:3]) <= set(refused)
    assert not [event for event in events if event["event"] in ("auth.accepted", "bug")]
    assert WRONG not in str(events)
