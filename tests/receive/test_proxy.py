"""The PROXY protocol's headers, good ones and bad ones, however they are cut."""

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.receive.proxy import UNNAMED, Endpoint, Header, NotAHeader, parse

START = b"\r\n\r\n\x00\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n"
V2 = START + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 198, 51, 100, 1]) + b"\x9c\x40\x00\x19"
FOUR = Header(Endpoint(ip_address("192.0.2.7"), 40_000), Endpoint(ip_address("198.51.100.1"), 25))
SIX = Header(Endpoint(ip_address("2001:db8::7"), 1), Endpoint(ip_address("2001:db8::1"), 465))
V2_SIX = (
    START
    + b"\x21\x21\x00\x27"
    + ip_address("2001:db8::7").packed
    + ip_address("2001:db8::1").packed
    + b"\x00\x01\x01\xd1"
    + b"\x04\x00\x00"
)


@pytest.mark.parametrize(
    ("octets", "header"),
    [
        (V1, FOUR),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 465\r\n", SIX),
        (b"PROXY UNKNOWN\r\n", UNNAMED),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", UNNAMED),
        (V2, FOUR),
        (V2_SIX, SIX),
        (START + b"\x20\x00\x00\x00", UNNAMED),
        (START + b"\x20\x11\x00\x0c" + V2[16:], UNNAMED),
        (START + b"\x21\x00\x00\x00", UNNAMED),
        (START + b"\x21\x31\x00\xd8" + bytes(216), UNNAMED),
        (START + b"\x21\x12\x00\x0c" + V2[16:], UNNAMED),
    ],
)
def test_a_header_is_read_wherever_it_is_cut(octets: bytes, header: Header) -> None:
    """Nothing is known before its last octet, and what follows is handed back."""
    for cut in range(len(octets)):
        assert parse(octets[:cut]) is None
    assert parse(octets) == (header, b"")
    assert parse(octets + b"EHLO x\r\n") == (header, b"EHLO x\r\n")


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO client.example\r\n",
        b"PROXX",
        b"\r\n\r\n\x01",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 040000 25\r\n",
        b"PROXY TCP4 192.0.2.07 198.51.100.1 40000 25\r\n",
        b"PROXY TCP4 2001:db8::7 198.51.100.1 40000 25\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 40000 25\r\n",
        b"PROXY TCP6 fe80::1%eth0 2001:db8::1 1 25\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25 more\r\n",
        b"PROXY tcp4 192.0.2.7 198.51.100.1 40000 25\r\n",
        b"PROXY " + b"x" * 101,
        START + b"\x11\x11\x00\x0c" + V2[16:],
        START + b"\x22\x11\x00\x0c" + V2[16:],
        START + b"\x21\x11\x00\x0b" + V2[16:],
        START + b"\x21\x11\xff\xff",
    ],
)
def test_what_is_no_header_is_seen_at_once(octets: bytes) -> None:
    """Without waiting for more."""
    with pytest.raises(NotAHeader) as caught:
        parse(octets)
    assert str(caught.value).isprintable()


@settings(max_examples=200)
@given(st.sampled_from([b"", b"PROXY ", V1[:20], V2[:14], V2]), st.binary(max_size=200))
def test_any_octets_are_a_header_or_none_or_too_few(start: bytes, rest: bytes) -> None:
    """Nothing else is raised, and no more is waited for than the longest header has."""
    try:
        found = parse(start + rest)
    except NotAHeader:
        return
    if found is None:
        assert len(start + rest) < 4096
