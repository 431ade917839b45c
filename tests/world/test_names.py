"""The name server does what the live tests believe of it: dnspython's resolver and plain datagrams ask it."""

import socket
import threading
from collections.abc import Iterator

import dns.message
import dns.nameserver
import dns.query
import dns.rcode
import dns.resolver
import pytest

from .names import NameServer

ZONES = """
    example.test.        60 IN MX    10 fast.example.test.
    example.test.        60 IN MX    20 slow.example.test.   ; the second best
    fast.example.test.   60 IN A     127.0.0.2
    slow.example.test.   60 IN A     127.0.0.3
    slow.example.test.   60 IN AAAA  ::1
    silent.test.         60 IN MX    0 .
    alias.test.          60 IN CNAME example.test.
    broken.test.         60 IN CNAME nowhere.test.
    circle.test.         60 IN CNAME circle.test.
    guarded.test.        30 IN SOA   ns.guarded.test. ops.guarded.test. 7 3600 600 86400 30
"""


@pytest.fixture
def names() -> Iterator[NameServer]:
    """A name server with the zones above."""
    with NameServer(ZONES) as server:
        yield server


def resolver(server: NameServer, lifetime: float = 2.0) -> dns.resolver.Resolver:
    """dnspython's resolver, asking only this server."""
    asking = dns.resolver.Resolver(configure=False)
    asking.nameservers = [dns.nameserver.Do53Nameserver(*server.address)]
    asking.lifetime = lifetime
    return asking


def look_up(server: NameServer, name: str, kind: str) -> list[str]:
    """The records' texts, sorted, in lower case: compressed names take the letters of the question."""
    return sorted(record.to_text().lower() for record in resolver(server).resolve(name, kind, search=False))


def ask(server: NameServer, name: str, kind: str) -> dns.message.Message:
    """The whole answer to one datagram."""
    host, port = server.address
    return dns.query.udp(dns.message.make_query(name, kind), host, timeout=2, port=port)


def test_a_name_server_answers_what_its_lines_say(names: NameServer) -> None:
    """MX, A and AAAA, in any case of letters, and it remembers the questions."""
    assert look_up(names, "Example.TEST.", "MX") == ["10 fast.example.test.", "20 slow.example.test."]
    assert look_up(names, "fast.example.test.", "A") == ["127.0.0.2"]
    assert look_up(names, "slow.example.test.", "AAAA") == ["::1"]
    assert look_up(names, "silent.test.", "MX") == ["0 ."]
    assert names.queries == [
        ("example.test.", "MX"),
        ("fast.example.test.", "A"),
        ("slow.example.test.", "AAAA"),
        ("silent.test.", "MX"),
    ]


def test_a_name_server_tells_a_missing_name_from_a_missing_type(names: NameServer) -> None:
    """NXDOMAIN for the one, an empty answer for the other, both with the SOA that says how long it holds."""
    asking = resolver(names)
    with pytest.raises(dns.resolver.NXDOMAIN):
        asking.resolve("nowhere.test.", "MX")
    with pytest.raises(dns.resolver.NoAnswer):
        asking.resolve("fast.example.test.", "MX")
    with pytest.raises(dns.resolver.NoAnswer):
        asking.resolve("test.", "MX")
    default = ask(names, "nowhere.test.", "A")
    assert default.authority[0].to_text() == ". 1 IN SOA . . 1 3600 600 86400 1"
    own = ask(names, "a.guarded.test.", "A")
    assert own.rcode() == dns.rcode.NXDOMAIN
    assert own.authority[0].name.to_text() == "guarded.test."


def test_a_name_server_follows_an_alias(names: NameServer) -> None:
    """The answer has the alias and what it leads to; one that leads nowhere is NXDOMAIN, a circle ends."""
    assert look_up(names, "alias.test.", "MX") == ["10 fast.example.test.", "20 slow.example.test."]
    with pytest.raises(dns.resolver.NXDOMAIN):
        resolver(names).resolve("broken.test.", "A")
    circle = ask(names, "circle.test.", "A")
    assert [records.to_text() for records in circle.answer] == ["circle.test. 60 IN CNAME circle.test."]


def test_a_truncated_answer_is_whole_over_tcp(names: NameServer) -> None:
    """TC brings the resolver back over TCP, on the same port."""
    names.truncate("example.test.")
    assert len(look_up(names, "example.test.", "MX")) == 2
    assert names.queries == [("example.test.", "MX")] * 2


def test_an_answer_too_long_for_udp_is_truncated_by_itself() -> None:
    """Forty exchangers do not fit into 512 octets; over TCP they do, twice on one connection."""
    zones = "\n".join(f"large.test. 60 IN MX {number} mx{number}.large.test." for number in range(40))
    query = dns.message.make_query("large.test.", "MX", use_edns=False)
    with NameServer(zones) as server, socket.create_connection(server.address, 2) as connection:
        host, port = server.address
        with pytest.raises(dns.message.Truncated):
            dns.query.udp(query, host, 2, port, raise_on_truncation=True)
        assert len(dns.query.tcp(query, host, 2, sock=connection).answer[0]) == 40
        assert len(dns.query.tcp(query, host, 2, sock=connection).answer[0]) == 40


def test_faults_of_a_name_server_can_be_set_and_taken_back(names: NameServer) -> None:
    """Silence and SERVFAIL are for one name, until it is restored."""
    names.silence("example.test.")
    with pytest.raises(dns.resolver.LifetimeTimeout):
        resolver(names, lifetime=0.1).resolve("example.test.", "MX")
    names.servfail("Example.test.")
    with pytest.raises(dns.resolver.NoNameservers):
        resolver(names, lifetime=0.5).resolve("example.test.", "MX")
    assert look_up(names, "fast.example.test.", "A") == ["127.0.0.2"]
    names.restore("example.test.")
    assert len(look_up(names, "example.test.", "MX")) == 2


def test_zones_can_be_replaced_while_the_server_runs(names: NameServer) -> None:
    """The new lines are all there is; lines that cannot be read change nothing."""
    names.replace("new.test. 60 IN MX 5 mx.new.test.")
    assert look_up(names, "new.test.", "MX") == ["5 mx.new.test."]
    with pytest.raises(dns.resolver.NXDOMAIN):
        resolver(names).resolve("example.test.", "MX")
    with pytest.raises(ValueError, match="not a record: new"):
        names.replace("new.test. 60 IN MX five mx.new.test.")
    assert look_up(names, "new.test.", "MX") == ["5 mx.new.test."]


def test_what_is_no_question_does_not_disturb_a_name_server(names: NameServer) -> None:
    """Noise is dropped, and the next question is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
        noise.sendto(b"", names.address)
        noise.sendto(b"\x00noise", names.address)
    assert look_up(names, "fast.example.test.", "A") == ["127.0.0.2"]


def test_nothing_is_left_of_a_closed_name_server() -> None:
    """Its thread has ended, open connections are closed, and its port can be taken again."""
    before = threading.active_count()
    with NameServer(ZONES) as server:
        connection = socket.create_connection(server.address, 2)
        look_up(server, "fast.example.test.", "A")
    with connection:
        assert connection.recv(1) == b""
    assert threading.active_count() == before
    with NameServer(ZONES, *server.address) as again:
        assert look_up(again, "fast.example.test.", "A") == ["127.0.0.2"]
