"""A hostile smarthost: whatever it answers to AUTH, the mail waits, and the password is told to nobody else."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.base.sections import Route
from tests.deliver.running import run
from tests.deliver.town import FIRST, Surroundings, Town, surroundings
from tests.hostile.next_hop import (
    CONTROLS,
    ESCAPED,
    LOST,
    NO_REPLY,
    PROTOCOL,
    TIMEOUT,
    TOO_LONG,
    UNASKED,
    Case,
    closes,
    deferred,
    delivered,
    dribbling,
    failed,
    falls_silent,
    resets,
    says,
    without_end,
)
from tests.hostile.next_hop_town import assert_is_clean, by_recipient, carry, patience
from tests.world.exchanger import EXTENSIONS
from tests.world.session import Session
from tests.world.wire import Wire

NAME, PASSWORD = "relay@example.org", "correct horse+battery"
SECRETS = [
    PASSWORD,
    base64.b64encode(PASSWORD.encode()).decode(),
    base64.b64encode(f"\0{NAME}\0{PASSWORD}".encode()).decode(),
]


def echoes(session: Session, line: bytes) -> bytes:
    """Repeat what was said."""
    return b"535 5.7.8 bad: " + line + b"\r\n"


def echoes_raw(wire: Wire) -> None:
    """Repeat the line that nobody asked for, and that is no reply."""
    wire.send(b"334 \r\n")
    wire.send(wire.read_line())
    wire.wait()


def challenges(wire: Wire) -> None:
    """One question more after each answer."""
    while True:
        wire.send(b"334 bW9yZQ==\r\n")
        wire.read_line()


PLAIN, LOGIN = (*EXTENSIONS, b"AUTH PLAIN LOGIN"), (*EXTENSIONS, b"AUTH LOGIN")
REFUSED = "454 4.7.8 authentication was refused: "
CASES = [
    delivered("235", "250", "AUTH", b"235 2.7.0 welcome\r\n", extensions=PLAIN),
    deferred("535", f"{REFUSED}535 5.7.8 no", "AUTH", b"535 5.7.8 no\r\n", extensions=PLAIN),
    deferred("454", f"{REFUSED}454 4.7.0 later", "AUTH", b"454 4.7.0 later\r\n", extensions=PLAIN),
    deferred("421", "421 4.3.2 going", "AUTH", b"421 4.3.2 going\r\n", extensions=PLAIN),
    deferred(
        "535 of control characters", f"535 {ESCAPED}", "AUTH", b"535 " + CONTROLS + b"\r\n", extensions=PLAIN
    ),
    deferred("no mechanism", "4.7.4", extensions=(*EXTENSIONS, b"AUTH", b"AUTH=PLAIN")),
    deferred("a mechanism without end", TOO_LONG, "EHLO", without_end(b"250-AUTH " + b"X " * 5000 + b"\r\n")),
    deferred("235 before it is asked", UNASKED, "EHLO", b"250-mx\r\n250 AUTH PLAIN\r\n235 yes\r\n"),
    deferred("235 twice", UNASKED, "AUTH", b"235 yes\r\n235 yes\r\n", extensions=PLAIN),
    deferred("334 to all of PLAIN", "454 4.7.8", "AUTH", b"334 more\r\n", extensions=PLAIN),
    deferred("334 without end", "454 4.7.8", "AUTH", challenges, extensions=LOGIN),
    deferred(
        "a 334 that is not base64",
        "535 no",
        "AUTH",
        says(b"334 \0\xff\r\n", b"334 =\r\n", b"535 no\r\n"),
        extensions=LOGIN,
    ),
    deferred("354", "454 4.7.8", "AUTH", b"354 go on\r\n", extensions=PLAIN),
    deferred("endless lines", PROTOCOL, "AUTH", without_end(b"334-a\r\n"), extensions=PLAIN),
    deferred("garbage", NO_REPLY, "AUTH", b"\x1b[2J\0\xff\r\n", extensions=PLAIN),
    deferred("silence", TIMEOUT, "AUTH", falls_silent, extensions=PLAIN, silent="auth"),
    deferred("dribbled lines", TIMEOUT, "AUTH", dribbling(b"235-a\r\n"), extensions=PLAIN, silent="auth"),
    deferred("close", LOST, "AUTH", closes, extensions=PLAIN),
    deferred("RST", LOST, "AUTH", resets, extensions=PLAIN),
    deferred("the line repeated", "535 5.7.8 bad", replies={"AUTH": echoes}, extensions=PLAIN),
    deferred("the line repeated outside of a reply", NO_REPLY, "AUTH", echoes_raw, extensions=LOGIN),
    failed(
        "the password told to the recipient",
        "550 5.7.1",
        extensions=PLAIN,
        replies={"AUTH": b"235 ok\r\n", "RCPT": f"550 5.7.1 {' '.join(SECRETS)}\r\n".encode()},
    ),
    failed(
        "the password told after the dot",
        "554 5.7.1",
        extensions=PLAIN,
        replies={"AUTH": b"235 ok\r\n", ".": f"554 5.7.1 {' '.join(SECRETS)}\r\n".encode()},
    ),
    deferred(
        "the password told in garbage",
        PROTOCOL,
        extensions=PLAIN,
        replies={"AUTH": b"235 ok\r\n", "MAIL": f"{' '.join(SECRETS)}\r\n".encode()},
    ),
]


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """One smarthost for all cases, one after the other."""
    with surroundings(tmp_path_factory.mktemp("smarthost")) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_smarthost_ends_in_the_right_class(tmp_path: Path, around: Surroundings, case: Case) -> None:
    """No recipient fails by it, and the password is in no reply, transcript or event, however it is echoed."""
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(f"{PASSWORD}\n")
    route = Route(hosts=(FIRST,), port=around.port, tls="off", user=NAME, password_file=password)

    async def main() -> Town:
        town = around.town(**patience(case))
        await carry(town, case, route)
        return town

    (exchanger,) = around.exchangers
    case.set_up(exchanger)
    town = run(main)
    outcomes = by_recipient(town)
    assert tuple(each.kind for each in outcomes) == case.kinds, outcomes
    for each in outcomes:
        assert case.says in str(each.reply)
        assert_is_clean(each)
    assert town.bugs == []
    told = f"{town.reports} {town.events}"
    for secret in SECRETS:
        assert secret not in told
