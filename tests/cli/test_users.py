"""`relayd user`: how a password is asked for. What the commands do is in tests/live/test_users.py."""

import os
import stat

import pytest

from relayd.base.users import UsersError
from relayd.cli.users import asked, may_change
from relayd.master.privileges import Identity

ROOT, RELAY, GROUP = 0, 990, 991
IDENTITY = Identity("relay", RELAY, GROUP, (GROUP, 992))


def folder(mode: int, uid: int = ROOT, gid: int = ROOT) -> os.stat_result:
    """A folder's owner and mode, as stat gives them."""
    return os.stat_result((stat.S_IFDIR | mode, 0, 0, 2, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("found", "may"),
    [
        (folder(0o755), False),
        (folder(0o755, uid=RELAY), True),
        (folder(0o555, uid=RELAY), True),
        (folder(0o775, gid=GROUP), True),
        (folder(0o775, gid=992), True),
        (folder(0o775, gid=993), False),
        (folder(0o777), True),
        (folder(0o1777), False),
        (folder(0o1777, uid=RELAY), True),
    ],
)
def test_root_writes_only_where_the_relays_user_cannot_lead_it_astray(found: os.stat_result, may: bool) -> None:
    """An owner can change the mode; in a sticky folder others cannot move what is root's."""
    assert may_change(found, IDENTITY) is may


def test_a_password_is_typed_twice() -> None:
    """The same both times."""
    typed = iter(["secret", "secret"])
    assert asked(lambda prompt: next(typed)) == "secret"


def test_two_that_differ_are_asked_for_again(capsys: pytest.CaptureFixture[str]) -> None:
    """And the caller is told."""
    typed = iter(["secret", "sceret", "other", "other"])
    assert asked(lambda prompt: next(typed)) == "other"
    assert capsys.readouterr().err == "relayd: the two differ\n"


def test_three_times_is_enough() -> None:
    """Whoever cannot type it twice cannot log in either."""
    typed = iter(["a", "b", "c", "d", "e", "f"])
    with pytest.raises(UsersError, match="no password"):
        asked(lambda prompt: next(typed))
    assert next(typed, None) is None


def test_the_end_of_the_terminal_is_no_password() -> None:
    """Ctrl-D at either question."""

    def ends(prompt: str) -> str:
        raise EOFError

    with pytest.raises(UsersError, match="no password"):
        asked(ends)
