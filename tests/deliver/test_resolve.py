"""Resolve: each thing that DNS can say or fail to say has its answer, and none is a traceback."""

import asyncio
from ipaddress import ip_address
from pathlib import Path

import pytest

from relayd.deliver.exchangers import Exchanger
from relayd.deliver.resolve import Resolver
from relayd.smtp.reply import Reply
from tests.deliver.running import on_each_loop, run
from tests.world.names import Fault, NameServer

ZONE = """
example.test. 60 IN MX 20 second.example.test.
example.test. 60 IN MX 10 First.Example.test.
first.example.test. 60 IN A 192.0.2.1
first.example.test. 60 IN A 192.0.2.2
first.example.test. 60 IN AAAA 2001:db8::1
second.example.test. 60 IN A 192.0.2.3
mapped.test. 60 IN AAAA ::ffff:192.0.2.9
mapped.test. 60 IN A 192.0.2.9
bare.test. 60 IN A 192.0.2.4
text.test. 60 IN TXT "neither MX nor address"
null.test. 60 IN MX 0 .
mostly-null.test. 60 IN MX 0 .
mostly-null.test. 60 IN MX 10 first.example.test.
alias.test. 60 IN CNAME example.test.
alias-to-nothing.test. 60 IN CNAME nowhere.test.
mx-alias.test. 60 IN MX 10 alias-of-mx.test.
alias-of-mx.test. 60 IN CNAME first.example.test.
loop.test. 60 IN CNAME loop2.test.
loop2.test. 60 IN CNAME loop.test.
literal.test. 60 IN MX 10 192.0.2.7.
odd.test. 60 IN MX 10 \\000\\200\\.dot\\032.example.test.
never-kept.test. 0 IN A 192.0.2.5
"""
MANY = "".join(f"many.test. 60 IN MX {number} mx{number}.many.test.\n" for number in range(1000))


class World:
    """A resolver with a clock of our own, and a count of its queries."""

    def __init__(self, *nameservers: tuple[str, int], timeout: float = 5.0, system: str = "/nonexistent") -> None:
        self.now = 0.0
        self.asked = 0
        self.answered: list[float] = []
        self.resolver = Resolver(
            nameservers,
            timeout,
            self._count,
            answered=self.answered.append,
            system=system,
            clock=lambda: self.now,
        )

    def _count(self) -> None:
        self.asked += 1

    def exchangers(self, domain: str, loop: str = "asyncio") -> object:
        """The answer as a list of pairs, or the reply as a line."""
        found = run(lambda: self.resolver.exchangers(domain), loop)
        return str(found) if isinstance(found, Reply) else [(each.preference, each.name) for each in found]

    def addresses(self, name: str, loop: str = "asyncio") -> object:
        """The addresses as text, IPv6 as it comes and IPv4 sorted, or the reply as a line."""
        found = run(lambda: self.resolver.addresses(name), loop)
        if isinstance(found, Reply):
            return str(found)
        return [str(each) for each in sorted(found, key=lambda each: (each.version == 4, each.packed))]


@on_each_loop
def test_exchangers_come_by_preference_in_lower_case(loop: str) -> None:
    """From real packets, on both event loops."""
    with NameServer(ZONE) as server:
        world = World(server.address)
        assert world.exchangers("example.test", loop) == [(10, "first.example.test"), (20, "second.example.test")]


@on_each_loop
def test_all_addresses_of_a_name_are_found(loop: str) -> None:
    """IPv6 first, as RFC 6724 has it."""
    with NameServer(ZONE) as server:
        world = World(server.address)
        assert world.addresses("first.example.test", loop) == ["2001:db8::1", "192.0.2.1", "192.0.2.2"]
        found = run(lambda: world.resolver.addresses("first.example.test"), loop)
        assert not isinstance(found, Reply)
        assert [each.version for each in found] == [6, 4, 4]


def test_a_domain_without_mx_is_its_own_exchanger() -> None:
    """The implicit MX of section 5.1."""
    with NameServer(ZONE) as server:
        assert World(server.address).exchangers("bare.test") == [(0, "bare.test")]


@pytest.mark.parametrize(
    ("domain", "answer"),
    [
        ("nowhere.test", "550 5.1.2 nowhere.test: no such domain"),
        ("null.test", "556 5.1.10 null.test does not accept mail (null MX)"),
        ("mostly-null.test", [(10, "first.example.test")]),
        ("alias.test", [(10, "first.example.test"), (20, "second.example.test")]),
        ("alias-to-nothing.test", "550 5.1.2 alias-to-nothing.test: no such domain"),
        ("literal.test", [(10, "192.0.2.7")]),
        ("EXAMPLE.test", [(10, "first.example.test"), (20, "second.example.test")]),
        ("a..test", "550 5.1.2 a..test: not a domain name"),
        ("a\\.test", "550 5.1.2 a\\.test: no such domain"),
        ("a\\999.test", "550 5.1.2 a\\999.test: not a domain name"),
        ("x" * 64 + ".test", "550 5.1.2 " + "x" * 64 + ".test: not a domain name"),
        (".".join(["x" * 60] * 5), "550 5.1.2 " + ".".join(["x" * 60] * 5) + ": not a domain name"),
        ("-strange_.test", "550 5.1.2 -strange_.test: no such domain"),
        ("[x400:c=de]", "550 5.1.2 [x400:c=de]: no such domain"),
        ("grüße.test", "550 5.1.2 grüße.test: not a domain name"),
        ("\udcff.test", "550 5.1.2 \\udcff.test: not a domain name"),
    ],
)
def test_each_domain_has_its_answer(domain: str, answer: object) -> None:
    """Names that do not exist, names that are none, aliases, null MX: a list or a reply."""
    with NameServer(ZONE) as server:
        world = World(server.address)
        assert world.exchangers(domain) == answer
        # What is not asked is not counted.
        assert world.asked == len(world.answered)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("second.example.test", ["192.0.2.3"]),
        ("alias-of-mx.test", ["2001:db8::1", "192.0.2.1", "192.0.2.2"]),
        ("mapped.test", ["192.0.2.9"]),
        ("text.test", "550 5.4.4 text.test has no address"),
        ("nowhere.test", "550 5.1.2 nowhere.test: no such domain"),
        ("192.0.2.7", ["192.0.2.7"]),
        ("2001:db8::7", ["2001:db8::7"]),
        ("[192.0.2.8]", ["192.0.2.8"]),
        ("[IPv6:2001:db8::8]", ["2001:db8::8"]),
        ("[ipv6:::ffff:192.0.2.8]", ["192.0.2.8"]),
        ("[nonsense]", "550 5.1.2 [nonsense] is not an address literal"),
        ("[192.0.2.8", "550 5.1.2 [192.0.2.8 is not in brackets"),
    ],
)
def test_each_name_has_its_addresses_or_a_reply(name: str, answer: object) -> None:
    """Names, aliases, literals, and the address that breaks the rules where a name should be."""
    with NameServer(ZONE) as server:
        assert World(server.address).addresses(name) == answer


def test_an_mx_of_odd_octets_can_be_looked_up() -> None:
    """Its name in print leads back to the same name."""
    with NameServer(ZONE + "\\000\\200\\.dot\\032.example.test. 60 IN A 192.0.2.10\n") as server:
        world = World(server.address)
        name = "\\000\\200\\.dot\\032.example.test"
        assert world.exchangers("odd.test") == [(10, name)]
        assert world.addresses(name) == ["192.0.2.10"]


def test_a_loop_of_aliases_is_a_failure_that_may_pass() -> None:
    """Somebody will mend the zone."""
    with NameServer(ZONE) as server:
        assert str(World(server.address).exchangers("loop.test")).startswith("451 4.4.3 ")


def test_a_thousand_exchangers_are_cut_to_the_best() -> None:
    """Over TCP, since no datagram holds them."""
    with NameServer(MANY) as server:
        found = World(server.address).exchangers("many.test")
        assert found == [(number, f"mx{number}.many.test") for number in range(20)]


def test_of_a_thousand_addresses_a_few_are_kept() -> None:
    """Each would be ranked for every message."""
    many = "".join(f"wide.test. 60 IN A 10.0.{number // 250}.{number % 250}\n" for number in range(1000))
    with NameServer(many) as server:
        found = run(lambda: World(server.address).resolver.addresses("wide.test"))
        assert not isinstance(found, Reply)
        assert len(found) == 10


@on_each_loop
def test_a_truncated_answer_is_asked_for_over_tcp(loop: str) -> None:
    """RFC 7766."""
    with NameServer(ZONE) as server:
        server.truncate("bare.test")
        assert World(server.address).addresses("bare.test", loop) == ["192.0.2.4"]


def test_servfail_may_pass() -> None:
    """4.4.3, and the name server is named."""
    with NameServer(ZONE) as server:
        server.servfail("example.test")
        assert str(World(server.address).exchangers("example.test")).startswith(
            "451 4.4.3 DNS failure for example.test (MX): "
        )


def test_one_family_that_fails_does_not_hide_the_other() -> None:
    """Silence for a name concerns both; an address found is used."""
    with NameServer(ZONE) as server:
        server.servfail("second.example.test")
        world = World(server.address)
        assert str(world.addresses("second.example.test")).startswith("451 4.4.3 ")
        server.restore("second.example.test")
        world.now += 6
        assert world.addresses("second.example.test") == ["192.0.2.3"]


def test_how_long_each_query_took_is_told_once() -> None:
    """Those that came to an answer, to none, and to no name server."""
    with NameServer(ZONE) as server:
        server.silence("example.test")
        world = World(server.address, timeout=0.1)
        world.addresses("bare.test")
        assert len(world.answered) == 2
        world.exchangers("nothing.test")
        assert len(world.answered) == 3
        world.exchangers("example.test")
        assert len(world.answered) == world.asked == 4
        assert world.answered[3] >= 0.1
        assert all(0 <= each < 20 for each in world.answered)


@on_each_loop
def test_silence_ends_after_the_timeout(loop: str) -> None:
    """And stalls no other look-up."""
    with NameServer(ZONE) as server:
        server.silence("example.test")
        world = World(server.address, timeout=0.1)
        assert world.exchangers("example.test", loop) == "451 4.4.3 DNS did not answer for example.test (MX)"
        assert world.addresses("bare.test", loop) == ["192.0.2.4"]


@pytest.mark.parametrize(("silent", "found"), [("AAAA", ["192.0.2.1", "192.0.2.2"]), ("A", ["2001:db8::1"])])
def test_who_has_one_kind_of_address_does_not_wait_for_the_other(silent: str, found: list[str]) -> None:
    """Some name servers never answer for AAAA; here a look-up would take longer than the test may."""
    with NameServer(ZONE) as server:
        server.misbehave("first.example.test", Fault.SILENCE, silent)
        world = World(server.address, timeout=60)
        assert world.addresses("first.example.test") == found


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("[192.0.2.7]", "192.0.2.7"),
        ("[IPv6:2001:db8::7]", "2001:db8::7"),
        ("[odd]", "[odd]"),
    ],
)
def test_a_literal_in_an_mx_record_is_not_one_of_a_recipient(written: str, name: str) -> None:
    """It is judged as an address that stands where a name should; only a recipient's domain has brackets."""
    with NameServer(f"brackets.test. 60 IN MX 10 {written}.") as server:
        assert World(server.address).exchangers("brackets.test") == [(10, name)]


def test_the_next_name_server_is_asked_when_one_is_silent() -> None:
    """Within the same look-up."""
    with NameServer(ZONE) as silent, NameServer(ZONE) as server:
        silent.silence("bare.test")
        assert World(silent.address, server.address, timeout=0.3).addresses("bare.test") == ["192.0.2.4"]


def test_a_name_server_that_is_not_there_is_a_failure_that_may_pass() -> None:
    """Its port is closed."""
    with NameServer(ZONE) as server:
        address = server.address
    assert str(World(address, timeout=0.05).exchangers("example.test")).startswith("451 4.4.3 ")


# What is kept.


def test_an_answer_is_kept_for_its_ttl() -> None:
    """Sixty seconds here."""
    with NameServer(ZONE) as server:
        world = World(server.address)
        for now, queries in [(0, 1), (59, 1), (61, 2)]:
            world.now = now
            world.exchangers("example.test")
            assert len(server.queries) == queries
        assert world.asked == 2


def test_how_long_an_answer_is_good_can_be_asked() -> None:
    """For people: of the exchangers, and of each kind of address of one."""
    with NameServer(ZONE) as server:
        world = World(server.address)
        world.exchangers("example.test")
        world.addresses("first.example.test")
        world.now = 20
        assert world.resolver.exchangers_hold("example.test") == 40
        assert world.resolver.addresses_hold("first.example.test", 4) == 40
        assert world.resolver.addresses_hold("first.example.test", 6) == 40
        assert world.resolver.exchangers_hold("bare.test") == 0


def test_a_ttl_of_nothing_is_not_kept() -> None:
    """The next message asks again."""
    with NameServer(ZONE) as server:
        world = World(server.address)
        world.addresses("never-kept.test")
        world.addresses("never-kept.test")
        assert server.queries.count(("never-kept.test.", "A")) == 2


def test_a_name_that_does_not_exist_is_kept_as_long_as_its_zone_says() -> None:
    """RFC 2308: here one second."""
    with NameServer(ZONE) as server:
        world = World(server.address)
        for now, queries in [(0, 1), (0.5, 1), (1.5, 2)]:
            world.now = now
            world.exchangers("nowhere.test")
            assert len(server.queries) == queries


def test_that_a_name_has_no_records_is_kept_as_long_as_its_zone_says() -> None:
    """As that it does not exist."""
    with NameServer(ZONE) as server:
        world = World(server.address)
        for now, queries in [(0, 1), (0.5, 1), (1.5, 2)]:
            world.now = now
            world.exchangers("bare.test")
            assert len(server.queries) == queries


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (Fault.NOTHING, [(0, "alias.test")]),
        (Fault.ALIAS_ONLY, "451 4.4.3 DNS answered beside the question for alias.test (MX)"),
        (Fault.ANOTHER_NAME, "451 4.4.3 DNS answered beside the question for alias.test (MX)"),
    ],
)
def test_an_answer_that_nobody_vouches_for_is_kept_for_seconds_only(fault: Fault, answer: object) -> None:
    """RFC 2308 section 5: without a SOA. What is beside the question does not say that there is nothing."""
    with NameServer(ZONE) as server:
        server.misbehave("alias.test", fault)
        world = World(server.address)
        for now, queries in [(0, 1), (4, 1), (6, 2)]:
            world.now = now
            assert world.exchangers("alias.test") == answer
            assert len(server.queries) == queries


@pytest.mark.parametrize("fault", ["servfail", "silence"])
def test_a_failure_is_kept_for_seconds_only(fault: str) -> None:
    """Long enough for the messages that wait, and no longer."""
    with NameServer(ZONE) as server:
        getattr(server, fault)("example.test")
        world = World(server.address, timeout=0.1)
        world.exchangers("example.test")
        before = len(server.queries)
        world.now = 4
        world.exchangers("example.test")
        assert len(server.queries) == before
        server.restore("example.test")
        world.now = 6
        assert isinstance(world.exchangers("example.test"), list)


def test_many_that_ask_for_one_name_share_a_query() -> None:
    """One packet each for A and AAAA, whoever stops waiting."""

    async def many(world: World) -> None:
        waiting = [asyncio.ensure_future(world.resolver.addresses("bare.test")) for _ in range(50)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        for each in waiting[1:]:
            assert await each == [ip_address("192.0.2.4")]

    with NameServer(ZONE) as server:
        world = World(server.address)
        run(lambda: many(world))
        assert sorted(server.queries) == [("bare.test.", "A"), ("bare.test.", "AAAA")]


def test_queries_under_way_are_bounded() -> None:
    """Each is a descriptor; those that wait for a place come after."""

    async def many(resolver: Resolver) -> list[object]:
        return await asyncio.gather(*(resolver.exchangers(f"{n}.test") for n in range(20)))

    with NameServer(ZONE + "".join(f"{n}.test. 60 IN MX {n} mx.{n}.test.\n" for n in range(20))) as server:
        resolver = Resolver([server.address], 5.0, at_once=1)
        found = run(lambda: many(resolver))
        assert found == [(Exchanger(n, f"mx.{n}.test"),) for n in range(20)]


# The system's name servers.


@pytest.mark.parametrize("content", [None, "", "# nothing\nsearch example.org\n", "nameserver nonsense\n", "\xff"])
def test_without_a_name_server_each_look_up_says_so(tmp_path: Path, content: str | None) -> None:
    """No traceback: a relay with routes to addresses needs none."""
    system = tmp_path / "resolv.conf"
    if content is not None:
        system.write_bytes(content.encode("latin-1"))
    world = World(system=str(system))
    assert world.exchangers("example.test") == f"451 4.4.3 no name server to ask: {system} names none"
    assert world.addresses("192.0.2.1") == ["192.0.2.1"]


def test_the_systems_name_servers_are_read_again_when_they_change(tmp_path: Path) -> None:
    """A host's network may come up after its mail relay, and go again."""
    system = tmp_path / "resolv.conf"
    world = World(system=str(system), timeout=0.02)
    assert "names none" in str(world.exchangers("example.test"))
    # The file has no port, so nobody of ours can answer: that somebody is asked is what there is to see.
    system.write_text("nameserver 127.0.0.1\noptions timeout:77\n")
    assert "names none" not in str(world.exchangers("example.test"))
    system.write_text("")
    world.now = 6
    assert "names none" in str(world.exchangers("example.test"))
