"""The PROXY header from somebody who means harm: bounded, read once, and never taken for anything else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.receive.proxy import Header, NotAHeader, parse
from tests.hostile.machine import each_octet

LONGEST = 4096
V1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 25\r\n"
V2_START = b"\r\n\r\n\0\r\nQUIT\n"
V2 = V2_START + b"\x21\x11\0\x0c" + bytes((192, 0, 2, 1, 198, 51, 100, 1)) + b"\x9c\x40\0\x19"
HEADERS = [V1, V2, b"PROXY UNKNOWN\r\n", V2_START + b"\x20\0\0\0"]


def read(writes: list[bytes]) -> tuple[Header, bytes] | str | None:
    """What the header is when it comes in these writes: with what is behind it, a refusal's text, None unended."""
    held = b""
    for index, write in enumerate(writes):
        held += write
        try:
            found = parse(held)
        except NotAHeader as error:
            return str(error)
        if found is not None:
            return found[0], found[1] + b"".join(writes[index + 1 :])
    return None


@pytest.mark.parametrize("header", HEADERS)
def test_what_stands_behind_a_header_is_the_client_s(header: bytes) -> None:
    """To the octet, in one write and octet by octet; a second header is not read."""
    for behind in (b"", b"EHLO x\r\n", header, b"\0", b"\n", b"PROXY"):
        whole, parts = read([header + behind]), read(each_octet(header + behind))
        assert whole == parts
        assert isinstance(whole, tuple)
        assert whole[1] == behind


@pytest.mark.parametrize("header", HEADERS)
def test_no_beginning_of_a_header_is_one(header: bytes) -> None:
    """A header that is cut off waits for its end, or is refused; nobody is somebody before that."""
    for length in range(len(header)):
        assert read([header[:length]]) is None


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO client.example\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\0\x01",
        b"PROXY",
        b"proxy TCP4 192.0.2.1 198.51.100.1 40000 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 25\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 25\r",
        b"PROXY TCP4  192.0.2.1 198.51.100.1 40000 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 25 \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 40000\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 040000 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 2x\r\n",
        b"PROXY TCP4 127.1 198.51.100.1 40000 25\r\n",
        b"PROXY TCP4 0x7f000001 198.51.100.1 40000 25\r\n",
        b"PROXY TCP4 2130706433 198.51.100.1 40000 25\r\n",
        b"PROXY TCP4 127.0.0.01 198.51.100.1 40000 25\r\n",
        b"PROXY TCP4 ::1 ::1 40000 25\r\n",
        b"PROXY TCP6 127.0.0.1 127.0.0.1 40000 25\r\n",
        b"PROXY TCP6 ::1%lo ::1 40000 25\r\n",
        b"PROXY TCP6 [::1] ::1 40000 25\r\n",
        b"PROXY UDP4 127.0.0.1 127.0.0.1 40000 25\r\n",
        b"PROXY TCP4 127.0.0.1\0 127.0.0.1 40000 25\r\n",
        "PROXY TCP4 \uff11\uff12\uff17.0.0.1 127.0.0.1 40000 25\r\n".encode(),
        "PROXY TCP4 127.0.0.1 127.0.0.1 \u0661 25\r\n".encode(),
        b"PROXY UNKNOWN\xff\r\n",
        b"PROXY UNKNOWN\r\r\n",
        b"PROXY UNKNOWNTCP4 127.0.0.1 127.0.0.1 1 1\r\n",
        b"PROXY UNKNOWN " + b"x" * 93 + b"\r\n",
        b"PROXY " + b"x" * 200,
        V2_START + b"\x11\x11\0\x0c" + bytes(12),
        V2_START + b"\x22\x11\0\x0c" + bytes(12),
        V2_START + b"\x21\x11\0\x0b" + bytes(11),
        V2_START + b"\x21\x21\0\x23" + bytes(35),
        V2_START + b"\x21\x11\0\0",
        V2_START + b"\x21\x11\xff\xff" + bytes(10),
        V2_START + b"\x20\0\xff\xff",
        V2_START.replace(b"QUIT", b"quit") + b"\x21\x11\0\x0c" + bytes(12),
    ],
)
def test_what_is_no_header_names_nobody(octets: bytes) -> None:
    """Refused, or still without its end: never a client."""
    for writes in ([octets], each_octet(octets)):
        assert not isinstance(read(writes), tuple), octets


@pytest.mark.parametrize("start", [b"PROXY ", b"PROXY UNKNOWN ", b"PROXY TCP4 ", V2_START, V2_START + b"\x21\x11"])
def test_a_header_without_an_end_is_refused_in_time(start: bytes) -> None:
    """No more than the longest header is ever waited for."""
    for filler in (b"x", b"\0", b"\xff", b" ", b"0"):
        assert read([start, *([filler] * (LONGEST + 1))]) is not None


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2_START, V2_START + b"\x21\x11"]), st.binary(max_size=80))
def test_any_octets_are_a_header_or_refused_or_unended(start: bytes, octets: bytes) -> None:
    """No other exception, and the same however they are cut."""
    wire = start + octets
    assert read([wire]) == read(each_octet(wire))
