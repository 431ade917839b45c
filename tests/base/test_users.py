"""The file of users: hashes, names, and what it refuses."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.base.users import Hash, Users, UsersError, check_name

# Cheap parameters, which a file may have too.
CHEAP = Hash.read("$scrypt$n=2,r=1,p=1$c2FsdHNhbHQ=$" + "A" * 43 + "=")


def test_a_user_is_verified_by_the_right_password_only() -> None:
    """And nobody else by any."""
    users = Users({}).added("anna", "s3cret")
    assert users.verify("anna", "s3cret")
    assert not users.verify("anna", "s3creT")
    assert not users.verify("bert", "s3cret")
    assert not users.verify("anna", "")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """By whoever reads the file next."""
    path = tmp_path / "users"
    Users({}).added("anna", "s3cret").write(path)
    users = Users.load(path)
    assert users.names == ["anna"]
    assert users.verify("anna", "s3cret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["users"]


def test_a_write_that_fails_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    """Here a folder is in its way."""
    path = tmp_path / "users"
    (path / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        Users({"anna": CHEAP}).write(path)
    assert os.listdir(tmp_path) == ["users"]
    assert os.listdir(path) == ["inside"]


def test_the_same_password_in_another_form_of_unicode_fits() -> None:
    """A keyboard that composes an umlaut is no other keyboard."""
    assert Users({}).added("anna", "gr\u00fc\u00dfe").verify("anna", "gru\u0308\u00dfe")


def test_a_user_has_one_name() -> None:
    """It is kept in one form of Unicode, and in another it is nobody's."""
    users = Users({}).added("ju\u0308rgen", "x")
    assert users.names == ["j\u00fcrgen"]
    assert users.verify("j\u00fcrgen", "x")
    assert not users.verify("ju\u0308rgen", "x")
    assert not users.verify("\uff4a\u00fcrgen", "x")


def test_two_hashes_of_one_password_differ() -> None:
    """Each has a salt of its own."""
    assert str(Hash.of("x")) != str(Hash.of("x"))


@pytest.mark.parametrize("password", ["", "a\0b", "a\nb", "x" * 1025, "\udcff"])
def test_what_is_no_password_is_refused(password: str) -> None:
    """When it is set, and when it is tried."""
    with pytest.raises(UsersError):
        Hash.of(password)
    assert not Users({"anna": CHEAP}).verify("anna", password)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\nb", "a\u2028b", "#a", "x" * 256, "a\u00a0b", "\u202ea"])
def test_what_is_no_name_is_refused(name: str) -> None:
    """It would be another line of the file, or look like another name."""
    with pytest.raises(UsersError) as caught:
        check_name(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("anna", "line 1: not a hash"),
        ("\n# a comment\nanna:x", "line 3: not a hash"),
        (f"anna:{CHEAP}\nanna:{CHEAP}", "line 2: the user anna is there twice"),
        (f"an na:{CHEAP}", "line 1: "),
        (f"anna:{CHEAP}".replace("n=2", "n=3"), "no parameters"),
        (f"anna:{CHEAP}".replace("n=2", "n=1048576").replace("r=1", "r=8"), "no parameters"),
        (f"anna:{CHEAP}".replace("n=2", "n=65536"), "no parameters"),
        (f"anna:{CHEAP}".replace("r=1", "r=0"), "no parameters"),
        (f"anna:{CHEAP}".replace("p=1", "p=0"), "no parameters"),
        (f"anna:{CHEAP}".replace("p=1", "p=99"), "no parameters"),
        (f"anna:{CHEAP}".replace("c2FsdHNhbHQ=", "c2FsdHNhbHQ"), "base64"),
    ],
)
def test_a_file_that_is_not_so_is_refused(text: str, why: str) -> None:
    """With the line, and without the hash."""
    with pytest.raises(UsersError, match=why) as caught:
        Users.read(text)
    assert "AAAA" not in str(caught.value)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """With its name."""
    path = tmp_path / "users"
    path.write_bytes(b"\xff")
    with pytest.raises(UsersError, match="users: not UTF-8"):
        Users.load(path)


def test_the_largest_parameters_that_are_read_can_be_computed() -> None:
    """What is read is never an error later."""
    users = Users.read(f"anna:{CHEAP}".replace("n=2", "n=32768"))
    assert not users.verify("anna", "x")


def test_a_user_can_be_removed_once() -> None:
    """The second time there is none."""
    users = Users({"anna": CHEAP}).removed("anna")
    assert len(users) == 0
    with pytest.raises(UsersError, match="no user anna"):
        users.removed("anna")


def test_nothing_shows_a_hash() -> None:
    """Where a value is printed by mistake."""
    assert "AAAA" not in repr(CHEAP)
    assert "AAAA" not in repr(Users({"anna": CHEAP}))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_users_or_an_error(text: str) -> None:
    """Nothing else is raised."""
    try:
        users = Users.read(text)
    except UsersError:
        return
    assert Users.read(str(users)).names == users.names
