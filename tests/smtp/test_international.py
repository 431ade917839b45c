"""Internationalized mailboxes: what is one, and what only looks like one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.smtp.address import Address, NotAnAddress, is_local_part, parse_mailbox, parse_path
from relayd.smtp.international import is_plain_text, parse_domain


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("josé@bücher.example", Address("josé", "bücher.example")),
        ("用户@例え.jp", Address("用户", "例え.jp")),
        ("jos\u0065\u0301@example.net", Address("jos\u0065\u0301", "example.net")),
        ("bob@BÜCHER.Example", Address("bob", "bücher.Example")),
        ('"jo sé"@[192.0.2.1]', Address("jo sé", "[192.0.2.1]")),
        ('"josé"@example.net', Address("josé", "example.net")),
        ("مثال@مثال.example", Address("مثال", "مثال.example")),
    ],
)
def test_a_mailbox_may_be_beyond_ascii(text: str, address: Address) -> None:
    """RFC 6531 section 3.3; labels in lower case, as IDNA 2008 has them. Only who asks for it gets it."""
    assert parse_mailbox(text, international=True) == address
    assert parse_mailbox(str(address), international=True) == address
    with pytest.raises(NotAnAddress):
        parse_mailbox(text)


@pytest.mark.parametrize(
    "local",
    [
        "b\u2028b",
        "b\u2029b",
        "b\x85b",
        "b\xa0b",
        "b\u3000b",
        "b\u200bb",
        "b\u202eb",
        "b\ufeffb",
        "b\ue000b",
        "b\ud800b",
        "b\ufffdb".replace("\ufffd", "\U000e0001"),
        "b\uff20b",
        "b\uff0eb",
        "b\u2024b",
        "b\uff1cb",
        "b\uff1bb",
        '"b\u2028b"',
        '"b\\é"',
        "b é",
        ".é",
    ],
)
def test_what_is_seen_or_read_as_something_else_is_in_no_local_part(local: str) -> None:
    """Separators, controls, direction marks, private characters, and compatibility forms of ASCII's signs."""
    with pytest.raises(NotAnAddress):
        parse_mailbox(f"{local}@example.net", international=True)
    assert not is_local_part(local, international=True)


@pytest.mark.parametrize(
    "domain",
    [
        "\uff45xample.net",
        "example\uff0enet",
        "example\u3002net",
        "example\uff61net",
        "\u2665.example",
        "-ü.example",
        "ü-.example",
        "-a.ü",
        "a-.ü",
        "a_b.ü",
        "ü..example",
        "ü.",
        ".ü",
        "ü_x.example",
        "u\u0308.example",
        "a\u200db.example",
        "ü" * 64 + ".example",
        "a" * 64 + ".ü",
        "ü" + ".a" * 127,
        "[192.0.2.1é]",
        "[é]",
        "\u0661.example\u0660x\u06f0",
    ],
)
def test_a_domain_beyond_ascii_is_valid_by_idna_2008(domain: str) -> None:
    """RFC 5890: normalized, no symbols, no compatibility forms, no odd joiners; sizes are those of the DNS."""
    with pytest.raises(NotAnAddress):
        parse_mailbox(f"bob@{domain}", international=True)


def test_sizes_are_in_octets_of_utf_8() -> None:
    """RFC 6531 section 3.3: a local part has 64 of them, a path 256."""
    assert parse_mailbox("é" * 32 + "@example.net", international=True).local == "é" * 32
    with pytest.raises(NotAnAddress, match="64"):
        parse_mailbox("é" * 32 + "x@example.net", international=True)
    assert is_local_part("é" * 32, international=True)
    assert not is_local_part("é" * 32 + "x", international=True)
    long = "é@" + "a." * 124 + "bbb"
    assert len(long.encode()) == 254
    assert parse_path(long, international=True) == Address("é", long[2:])
    with pytest.raises(NotAnAddress, match="256"):
        parse_path("b" + long, international=True)


@settings(max_examples=200)
@given(st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from('@."\\<>[]é')), max_size=20))
def test_what_is_read_at_all_can_be_seen_and_read_again(text: str) -> None:
    """Whatever is in it; what is ASCII is read as without the extension."""
    try:
        address = parse_mailbox(text, international=True)
    except NotAnAddress:
        if text.isascii():
            with pytest.raises(NotAnAddress):
                parse_mailbox(text)
        return
    assert str(address).isprintable()
    assert parse_mailbox(str(address), international=True) == address
    assert not text.isascii() or parse_mailbox(text) == address


def test_ascii_is_plain_text() -> None:
    """As far as it can be seen."""
    assert is_plain_text("".join(map(chr, range(0x20, 0x7F))))
    assert not is_plain_text("a\tb")
    assert parse_domain("Example.NET") == "Example.NET"
