"""Zones that are odd, wrong or hostile, and what mail for each of them must come to."""

from dataclasses import dataclass
from ipaddress import ip_address

from tests.world.names import Fault

LONG = ".".join(["x" * 63] * 3 + ["y" * 53])
OURS = "9.9.9.100"
KEY = "delivery.private_exchangers = true allows them"


@dataclass(frozen=True)
class Case:
    """`zone` has "@" for the domain; `comes_to` are addresses or the beginning of a reply, `says` a part of it.

    `slow` is whether it must wait for somebody who is silent.
    """

    what: str
    zone: str
    comes_to: tuple[str, ...] | str
    says: str = ""
    faults: tuple[tuple[str, Fault, str], ...] = ()
    slow: bool = False


def lines(*records: str) -> str:
    """Records of a zone, with their TTL and class."""
    return "\n".join(f"{owner} 60 IN {data}" for owner, _, data in (each.partition(" ") for each in records))


def leads_to(*addresses: str) -> str:
    """One exchanger with these addresses."""
    kinds = {4: "A", 6: "AAAA"}
    return lines("@ MX 10 mx.@", *(f"mx.@ {kinds[ip_address(each).version]} {each}" for each in addresses))


def spoiled(fault: Fault, name: str = "@", kind: str = "") -> tuple[tuple[str, Fault, str], ...]:
    """One fault."""
    return ((name, fault, kind),)


GOOD = leads_to("9.9.9.9")
FOUND = ("9.9.9.9",)
TWO = lines("@ MX 10 a.@", "@ MX 20 b.@", "a.@ A 9.9.9.1", "b.@ A 9.9.9.2")
CHAIN = "\n".join(f"c{number}.@ 60 IN CNAME c{number + 1}.@" for number in range(40))

CASES = {
    "sound": Case("all is well", GOOD, FOUND),
    "absent": Case("a domain that does not exist", "", "550 5.1.2", "no such domain"),
    "empty": Case("neither MX nor address", lines('@ TXT "nothing"'), "550 5.4.4", "has no address"),
    "implicit": Case("an address and no MX", lines("@ A 9.9.9.9"), FOUND),
    "null": Case("a null MX", lines("@ MX 0 ."), "556 5.1.10"),
    "null-ten": Case("a null MX of preference 10", lines("@ MX 10 ."), "556 5.1.10"),
    "null-beside": Case("a null MX beside a real one", lines("@ MX 0 .") + "\n" + GOOD, FOUND),
    "nowhere": Case("an MX that does not exist", lines("@ MX 10 mx.@"), "550 5.4.4", "no such domain"),
    "own-address": Case(
        "an MX that does not exist, of a domain with an address",
        lines("@ MX 10 mx.@", "@ A 9.9.9.9"),
        "550 5.4.4",
        "no such domain",
    ),
    "half": Case("one of two that does not exist", lines("@ MX 5 gone.@") + "\n" + GOOD, FOUND),
    "bare": Case(
        "an MX that has no address", lines("@ MX 10 mx.@", 'mx.@ TXT "x"'), "550 5.4.4", "has no address"
    ),
    "literal": Case("an MX that is an address", lines("@ MX 10 9.9.9.9."), "550 5.4.4", KEY),
    "brackets": Case("an MX that is an address literal", lines("@ MX 10 [9.9.9.9]."), "550 5.4.4", KEY),
    "literal-loopback": Case("an MX that is 127.0.0.1", lines("@ MX 10 127.0.0.1."), "550 5.4.4", KEY),
    "colons": Case("an MX that is ::1", lines("@ MX 10 ::1."), "550 5.4.4", KEY),
    "loopback": Case("an MX on loopback", leads_to("127.0.0.1", "::1"), "550 5.4.4", KEY),
    "private": Case("an MX in a private network", leads_to("10.0.0.1", "fd00::1"), "550 5.4.4", KEY),
    "metadata": Case("an MX that is link-local", leads_to("169.254.169.254", "fe80::1"), "550 5.4.4", KEY),
    "mapped": Case("loopback written as IPv6", leads_to("::ffff:127.0.0.1"), "550 5.4.4", KEY),
    "translated": Case("loopback through NAT64", leads_to("64:ff9b::7f00:1"), "550 5.4.4", KEY),
    "sixtofour": Case("a private host by 6to4", leads_to("2002:a00:1::1"), "550 5.4.4", KEY),
    "half-private": Case("one address private, one not", leads_to("10.0.0.1", "9.9.9.9"), FOUND),
    "nobody": Case("addresses that no host has", leads_to("0.0.0.0", "::", "224.0.0.1"), "550 5.4.4"),
    "ourselves": Case("an MX that is this host", leads_to(OURS), "554 5.4.6"),
    "by-name": Case("our name as the MX", lines("@ MX 10 relay.example.org."), "554 5.4.6"),
    "behind-us": Case(
        "this host before another", lines("@ MX 5 us.@", f"us.@ A {OURS}") + "\n" + GOOD, "554 5.4.6"
    ),
    "thousand": Case(
        "1,000 MX records",
        "\n".join(f"@ 60 IN MX {number} m{number}.@\nm{number}.@ 60 IN A 9.9.9.9" for number in range(1000)),
        FOUND * 20,
    ),
    "wide": Case(
        "1,000 addresses of one MX",
        "@ 60 IN MX 10 mx.@\n" + "\n".join(f"mx.@ 60 IN A 9.9.{n // 250}.{n % 250 + 1}" for n in range(1000)),
        ("9.9.",) * 10,
    ),
    "fleeting": Case("TTL 0", GOOD.replace(" 60 IN", " 0 IN"), FOUND),
    "odd": Case(
        "an MX of odd octets",
        lines("@ MX 10 \\000\\010\\200\\.\\032\\;x.@", "\\000\\010\\200\\.\\032\\;x.@ A 9.9.9.9"),
        FOUND,
    ),
    "long": Case("an MX of 250 octets", lines(f"@ MX 10 {LONG}.", f"{LONG}. A 9.9.9.9"), FOUND),
    "loop": Case("an alias that leads back", lines("@ CNAME b.@", "b.@ CNAME @"), "451 4.4.3"),
    "chain": Case(
        "a chain of six aliases",
        lines("@ CNAME c35.@", "c40.@ MX 10 mx.@", "mx.@ A 9.9.9.9") + "\n" + CHAIN,
        FOUND,
    ),
    "long-chain": Case(
        "a chain of forty aliases", lines("@ CNAME c0.@", "c40.@ A 9.9.9.9") + "\n" + CHAIN, "451 4.4.3"
    ),
    "dangling": Case("an alias that leads nowhere", lines("@ CNAME gone.@"), "550 5.1.2", "no such domain"),
    "alias-only": Case(
        "an alias and no more",
        lines("@ CNAME b.@", "b.@ A 9.9.9.9"),
        "451 4.4.3",
        faults=spoiled(Fault.ALIAS_ONLY),
    ),
    "mx-alias": Case(
        "an MX that is an alias of loopback",
        lines("@ MX 10 mx.@", "mx.@ CNAME b.@", "b.@ A 127.0.0.1"),
        "550 5.4.4",
        KEY,
    ),
    "mx-loop": Case("an MX that is an alias of itself", lines("@ MX 10 mx.@", "mx.@ CNAME mx.@"), "451 4.4.3"),
    "servfail": Case("SERVFAIL", GOOD, "451 4.4.3", "SERVFAIL", spoiled(Fault.SERVFAIL)),
    "refused": Case("REFUSED", GOOD, "451 4.4.3", "REFUSED", spoiled(Fault.REFUSED)),
    "formerr": Case("FORMERR", GOOD, "451 4.4.3", "FORMERR", spoiled(Fault.FORMERR)),
    "mx-servfail": Case("SERVFAIL for the MX's address", GOOD, "451 4.4.3", "", spoiled(Fault.SERVFAIL, "mx.@")),
    "blank": Case("empty answers without a SOA", GOOD, "550 5.4.4", "", spoiled(Fault.NOTHING)),
    "truncated": Case("TC, and the whole over TCP", GOOD, FOUND, "", spoiled(Fault.TRUNCATE)),
    "tcp-closed": Case("TC, and TCP closes", GOOD, "451 4.4.3", "", spoiled(Fault.TRUNCATE_THEN_CLOSE)),
    "tcp-silent": Case(
        "TC, and TCP is silent", GOOD, "451 4.4.3", "", spoiled(Fault.TRUNCATE_THEN_SILENCE), slow=True
    ),
    "silent": Case("silence", GOOD, "451 4.4.3", "did not answer", spoiled(Fault.SILENCE), slow=True),
    "noise": Case("octets that are no answer", GOOD, "451 4.4.3", "", spoiled(Fault.NOISE), slow=True),
    "forged": Case("an answer with another ID", GOOD, "451 4.4.3", "", spoiled(Fault.ANOTHER_ID), slow=True),
    "beside": Case("records of another name", GOOD, "451 4.4.3", "", spoiled(Fault.ANOTHER_NAME)),
    "no-aaaa": Case("silence for AAAA only", GOOD, FOUND, "", spoiled(Fault.SILENCE, "mx.@", "AAAA"), slow=True),
    "second-silent": Case(
        "silence for the worse MX", TWO, ("9.9.9.1",), "", spoiled(Fault.SILENCE, "b.@"), slow=True
    ),
    "first-silent": Case(
        "silence for the better MX", TWO, ("9.9.9.2",), "", spoiled(Fault.SILENCE, "a.@"), slow=True
    ),
}
