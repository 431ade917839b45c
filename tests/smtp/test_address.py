"""Addresses: the grammar of RFC 5321 section 4.1.2, what is written for them, and what is none."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.smtp.address import (
    Address,
    NotAnAddress,
    is_domain,
    is_local_part,
    parse_literal,
    parse_mailbox,
    parse_path,
)

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
ATEXT = "abcXYZ019!#$%&'*+-/=?^_`{|}~"

domains = st.from_regex(
    r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?){0,3}", fullmatch=True
)
literals = st.ip_addresses().map(lambda ip: f"[IPv6:{ip}]" if ip.version == 6 else f"[{ip}]")
atoms = st.text(ATEXT, min_size=1, max_size=8)
dot_strings = st.lists(atoms, min_size=1, max_size=3).map(".".join)
# Any character may have a backslash; quote and backslash must.
quoted_parts = st.sampled_from(
    [each for each in PRINTABLE if each not in '"\\'] + [f"\\{each}" for each in PRINTABLE]
)
quoted = st.lists(quoted_parts, max_size=20).map(lambda parts: f'"{"".join(parts)}"')
mailboxes = st.tuples(st.one_of(dot_strings, quoted), st.one_of(domains, literals)).map("@".join)


@given(mailboxes)
def test_a_mailbox_keeps_its_meaning_when_it_is_written_and_read_again(text: str) -> None:
    """str(parse(x)) is x with the least quoting, and stays so."""
    address = parse_mailbox(text)
    written = str(address)
    assert parse_mailbox(written) == address
    assert str(parse_mailbox(written)) == written
    assert len(written) <= len(text)


@given(st.text(ATEXT + '"\\@.<>[]: \t\r\n\0é', max_size=30))
def test_what_is_read_at_all_can_be_written_into_a_line(text: str) -> None:
    """Anything else raises NotAnAddress; nothing that gets through has a control character or an odd octet."""
    try:
        address = parse_mailbox(text)
    except NotAnAddress:
        return
    assert str(address).isascii()
    assert str(address).isprintable()
    assert parse_mailbox(str(address)) == address


@given(mailboxes, st.lists(domains, min_size=1, max_size=3))
def test_a_source_route_is_taken_off(text: str, hosts: list[str]) -> None:
    """Section 4.1.1.3: the mailbox after the route is all that counts."""
    route = ",".join(f"@{host}" for host in hosts)
    assert parse_path(f"{route}:{text}") == parse_mailbox(text)


@pytest.mark.parametrize(
    ("text", "local", "written"),
    [
        ("alice@example.com", "alice", "alice@example.com"),
        ('"alice"@example.com', "alice", "alice@example.com"),
        ('"a\\l\\i\\ce"@example.com', "alice", "alice@example.com"),
        ('"a.b"@example.com', "a.b", "a.b@example.com"),
        ('"a..b"@example.com', "a..b", '"a..b"@example.com'),
        ('"Joe\\,Smith"@example.com', "Joe,Smith", '"Joe,Smith"@example.com'),
        ('"a\\"b\\\\"@example.com', 'a"b\\', '"a\\"b\\\\"@example.com'),
        ('""@example.com', "", '""@example.com'),
        ('" "@example.com', " ", '" "@example.com'),
    ],
)
def test_quoting_is_no_part_of_the_local_part(text: str, local: str, written: str) -> None:
    """Section 4.1.2: all quoted forms are equivalent, and the one with the least quoting is sent."""
    address = parse_mailbox(text)
    assert (address.local, str(address)) == (local, written)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "alice@",
        "@example.com",
        "alice@@example.com",
        ".alice@example.com",
        "alice.@example.com",
        "a..b@example.com",
        "alice @example.com",
        "alice@example.com ",
        "alice@example.com\n",
        "al\0ice@example.com",
        '"al\tice"@example.com',
        '"alice@example.com',
        '"alice\\"@example.com',
        'al"i"ce@example.com',
        "älice@example.com",
        "alice@exämple.com",
        "alice@\uff45xample.com",
        "alice@example_.com",
        "alice@-example.com",
        "alice@example-.com",
        "alice@.example.com",
        "alice@example.com.",
        "alice@" + "a" * 64 + ".com",
        "a" * 65 + "@example.com",
        '"' + "a" * 63 + '"@example.com',
        "alice@" + "a." * 127 + "ab",
    ],
)
def test_what_the_grammar_does_not_have_is_no_mailbox(text: str) -> None:
    """NotAnAddress, with the reason."""
    with pytest.raises(NotAnAddress):
        parse_mailbox(text)


@pytest.mark.parametrize(
    "text",
    ["a" * 64 + "@example.com", '"' + "a" * 62 + '"@example.com', "a@" + "a." * 127 + "a", "a@" + "a" * 63],
)
def test_the_longest_that_section_4_5_3_1_allows_is_taken(text: str) -> None:
    """64 octets of local part, 255 of domain; a label has 63."""
    assert str(parse_mailbox(text)).endswith(text[-9:])


def test_a_path_has_256_octets_with_its_brackets() -> None:
    """Section 4.5.3.1.3; a source route counts too."""
    longest = "bo@" + "a." * 125 + "a"
    assert len(longest) == 254
    assert parse_path(longest) == parse_mailbox(longest)
    with pytest.raises(NotAnAddress, match="256"):
        parse_path("b" + longest)
    with pytest.raises(NotAnAddress, match="256"):
        parse_path("@b:" + longest)


@pytest.mark.parametrize(
    "text", ["@a:", "@a,b:c@d", "@a;c@d", "@a,@b,c@d", "@:c@d", "@[192.0.2.1]:c@d", "@@a:c@d"]
)
def test_a_malformed_source_route_is_no_path(text: str) -> None:
    """Section 4.1.2, A-d-l: domains, each with its @, between commas, then a colon."""
    with pytest.raises(NotAnAddress):
        parse_path(text)


@pytest.mark.parametrize(
    ("text", "ip"),
    [
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ("[ipv6:::1]", "::1"),
        ("[IPv6:::ffff:192.0.2.1]", "::ffff:192.0.2.1"),
        ("[IPv6:1:2:3:4:5:6:7:8]", "1:2:3:4:5:6:7:8"),
    ],
)
def test_an_address_literal_is_an_ip_address(text: str, ip: str) -> None:
    """Section 4.1.3."""
    assert parse_literal(text) == ip_address(ip)
    assert parse_mailbox(f"bob@{text}").literal == ip_address(ip)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "[",
        "[192.0.2.1",
        "192.0.2.1]",
        "[192.0.2]",
        "[192.0.2.256]",
        "[192.0.2.1/32]",
        "[0300.0.2.1]",
        "[0xc0.0.2.1]",
        "[3221225985]",
        "[ 192.0.2.1]",
        "[192.0.2.1\n]",
        "[2001:db8::1]",
        "[IPv6:192.0.2.1]",
        "[IPv6:]",
        "[IPv6:fe80::1%eth0]",
        "[IPv6:1::2::3]",
        "[x400:c=de]",
        "[\u0661.0.2.1]",
    ],
)
def test_other_notations_of_addresses_are_no_literals(text: str) -> None:
    """One notation a family: what two programs read differently leads to two hosts."""
    with pytest.raises(NotAnAddress):
        parse_literal(text)
    with pytest.raises(NotAnAddress):
        parse_mailbox(f"bob@{text}")


def test_an_address_with_a_name_has_no_literal() -> None:
    """`literal` is None then."""
    assert parse_mailbox("bob@example.net").literal is None
    assert isinstance(Address("bob", "[192.0.2.1]").literal, IPv4Address)
    assert isinstance(Address("bob", "[IPv6:::1]").literal, IPv6Address)


def test_postmaster_is_known_in_any_case() -> None:
    """Section 4.5.1; without a domain it is written without one."""
    assert Address("PostMaster", "example.net").is_postmaster
    assert not Address("postmaster1", "example.net").is_postmaster
    assert str(Address("Postmaster", "")) == "Postmaster"


def test_domains_and_local_parts_are_known_alone() -> None:
    """As HELO and VRFY have them."""
    assert is_domain("a.b-c.1")
    assert not any(map(is_domain, ["", "a_b", "a.", "[192.0.2.1]", "a b", "a\n", "a." * 127 + "ab"]))
    assert is_local_part("a.b")
    assert is_local_part('"a b"')
    assert not any(map(is_local_part, ["", "a b", "a@b", "a" * 65, '"a"b', "a\n"]))
