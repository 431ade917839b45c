"""The AUTH exchange: what its responses come to. The words of it are in the dialogues."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.smtp.event import Auth
from relayd.smtp.exchange import Exchange
from relayd.smtp.reply import Reply
from relayd.smtp.wording import ANOTHER_IDENTITY, CANCELLED, NOT_BASE64


def encoded(text: str | bytes) -> str:
    """As the client sends it."""
    return b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def challenge(heard: Auth | Reply) -> bytes:
    """What is said to the client."""
    assert isinstance(heard, Reply)
    return bytes(heard)


@given(st.text(min_size=1), st.text(min_size=1), st.booleans(), st.booleans())
def test_plain_brings_what_the_client_has_typed(user: str, password: str, named: bool, at_once: bool) -> None:
    """RFC 4616 section 2: any characters but NUL; the identity is none, or the user's own."""
    if "\0" in user + password:
        return
    response = encoded(f"{user if named else ''}\0{user}\0{password}")
    exchange = Exchange("PLAIN")
    if at_once:
        assert exchange.begin(response) == Auth("PLAIN", user, password)
    else:
        assert challenge(exchange.begin("")) == b"334 \r\n"
        assert exchange.respond(response.encode()) == Auth("PLAIN", user, password)


@given(st.text(min_size=1), st.text(min_size=1))
def test_login_asks_for_both(user: str, password: str) -> None:
    """The challenges are those that clients wait for."""
    if "\0" in user + password:
        return
    exchange = Exchange("LOGIN")
    assert challenge(exchange.begin("")) == b"334 VXNlcm5hbWU6\r\n"
    assert challenge(exchange.respond(encoded(user).encode())) == b"334 UGFzc3dvcmQ6\r\n"
    assert exchange.respond(encoded(password).encode()) == Auth("LOGIN", user, password)


@pytest.mark.parametrize(
    "response",
    [
        "",
        "a",
        "YQ",
        "YQ=",
        "YQ==YQ==",
        " YQ==",
        "Y Q==",
        encoded("\0a\0bc") + "=",
        encoded("\0a\0b") + "=",
        encoded("\0a\0b").replace("Yg==", "Yh=="),
        "\xff",
        encoded(b"\0a\0\xff"),
        encoded(b"\0\xff\0b"),
        encoded("ab"),
        encoded("\0ab"),
        encoded("\0a\0b\0"),
        encoded("\0\0b"),
        encoded("\0a\0"),
    ],
)
def test_what_is_no_response_ends_plain(response: str) -> None:
    """Broken base64, octets that are no UTF-8, parts that are missing or too many."""
    exchange = Exchange("PLAIN")
    exchange.begin("")
    assert exchange.respond(response.encode("latin-1")) == NOT_BASE64


def test_another_identity_is_refused() -> None:
    """Nobody may act for somebody else here."""
    assert Exchange("PLAIN").begin(encoded("bob\0alice\0secret")) == ANOTHER_IDENTITY


def test_login_takes_no_empty_name_and_no_nul() -> None:
    """Nor an empty password; `=` is how an empty first response is written."""
    for response in ("=", encoded("a\0b")):
        assert Exchange("LOGIN").begin(response) == NOT_BASE64
    exchange = Exchange("LOGIN")
    exchange.begin(encoded("alice"))
    assert exchange.respond(b"") == NOT_BASE64


def test_a_client_may_give_up() -> None:
    """Section 4: `*` alone."""
    for mechanism in ("PLAIN", "LOGIN"):
        exchange = Exchange(mechanism)
        exchange.begin("")
        assert exchange.respond(b"*") == CANCELLED
