"""Resolve: what DNS says of a domain's mail exchangers, as values (RFC 5321 section 5.1, RFC 7505).

One query in flight a name, answers kept for their TTL. Refuses to choose. A failure is a `Reply`: 4.4.3 when DNS
did not answer, 5.1.2 when the name does not exist, 5.1.10 for a null MX, 5.4.4 when there is no address.
"""

import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.resolver

from relayd.deliver.answers import Answers
from relayd.deliver.exchangers import IP, Exchanger, nearest, plain
from relayd.deliver.patience import gather_patiently
from relayd.deliver.turns import Turns
from relayd.smtp.address import NotAnAddress, parse_literal
from relayd.smtp.reply import Reply, reply

_CACHED_NAMES = 10_000
# Of each family; the name server turns them round, so that it is not always the same ones.
_MOST_ADDRESSES = 10
# A look-up may ask several servers, each for `timeout` seconds, but a message does not wait longer than this.
_TIMEOUTS_A_LOOKUP = 3
# RFC 2308 section 5 and RFC 8767 section 4: how long answers are believed at most, in seconds. A failure is kept
# just long enough for the messages that wait to share it.
_LONGEST_POSITIVE = 86_400.0
_LONGEST_NEGATIVE = 3600.0
_FAILURE_HOLDS = 5.0
# Who has an address does not wait longer, in seconds, for a name server that is silent about others.
PATIENCE = 0.5
_SYSTEM = "/etc/resolv.conf"

_Found = dns.resolver.Answer | None | Reply


@dataclass(frozen=True, slots=True)
class _Said:
    """DNS's answer to one question: records, none though the name exists, or a Reply; held for some seconds."""

    answer: _Found
    holds: float


class Resolver:
    """The name servers as the delivery process asks them; without any, the system's, read again when they change.

    `asked` is called for each query, and `answered` with the seconds until its answer or its failure. Of queries
    `at_once` may be under way; one that has taken so many seconds as a `turn` has does not keep others waiting.
    `timeout` is in seconds for each try at one server.
    """

    def __init__(
        self,
        nameservers: Sequence[tuple[str, int]],
        timeout: float,
        asked: Callable[[], None] = lambda: None,
        *,
        answered: Callable[[float], None] = lambda seconds: None,
        at_once: int = 1000,
        turn: float = 1.0,
        system: str = _SYSTEM,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout
        self._asked = asked
        self._answered = answered
        self._turns = Turns(at_once, turn)
        self._system = None if nameservers else system
        self._read_as: tuple[int, int] | None = None
        self._dns: dns.asyncresolver.Resolver | None = None
        if nameservers:
            self._dns = dns.asyncresolver.Resolver(configure=False)
            self._dns.nameservers = [dns.nameserver.Do53Nameserver(*each) for each in nameservers]
            self._dns.timeout = timeout
        self._exchangers: Answers[str, tuple[Exchanger, ...] | Reply] = Answers(_CACHED_NAMES, clock)
        self._addresses: Answers[tuple[str, str], tuple[IP, ...] | Reply] = Answers(_CACHED_NAMES, clock)

    async def exchangers(self, domain: str) -> Sequence[Exchanger] | Reply:
        """The domain's exchangers, best preference first; the domain itself where it has no MX."""
        return await self._exchangers.get(domain, lambda: self._look_up_exchangers(domain))

    async def addresses(self, name: str) -> Sequence[IP] | Reply:
        """A name's or a literal's addresses, IPv6 first as RFC 6724 has it; a Reply when there is none."""
        if name.startswith("["):
            try:
                return [plain(parse_literal(name))]
            except NotAnAddress as error:
                return reply(550, "5.1.2", str(error))
        if (address := _address(name)) is not None:
            return [address]
        # The look-up of the other kind goes on for those who come later.
        quad_a, a = await gather_patiently(
            (
                self._addresses.get((name, kind), partial(self._look_up_addresses, name, kind))
                for kind in ("AAAA", "A")
            ),
            lambda answers: any(each and not isinstance(each, Reply) for each in answers),
            PATIENCE,
        )
        found = [each for answer in (quad_a, a) if not isinstance(answer, Reply) for each in answer or ()]
        if found:
            return list(dict.fromkeys(found))
        refusals = [answer for answer in (a, quad_a) if isinstance(answer, Reply)]
        # One that may come later is still hope; "no such domain" says more than "no address".
        transient = [each for each in refusals if each.is_transient]
        return (transient or refusals or [reply(550, "5.4.4", f"{name} has no address")])[0]

    def exchangers_hold(self, domain: str) -> float:
        """Seconds for which what was answered of a domain's exchangers is good yet."""
        return self._exchangers.holds(domain)

    def addresses_hold(self, name: str, version: int) -> float:
        """Seconds for which what was answered of a name's addresses of an IP version is good yet."""
        return self._addresses.holds((name, "A" if version == 4 else "AAAA"))

    async def _look_up_exchangers(self, domain: str) -> tuple[tuple[Exchanger, ...] | Reply, float]:
        said = await self._ask(domain, "MX")
        if isinstance(said.answer, Reply):
            return said.answer, said.holds
        if said.answer is None:
            return (Exchanger(0, domain),), said.holds
        found = []
        for record in said.answer:
            assert isinstance(record, dns.rdtypes.ANY.MX.MX)
            # RFC 7505 section 3: the root is no host; beside others it means nothing.
            if record.exchange != dns.name.root:
                name = record.exchange.to_text(omit_final_dot=True).lower()
                found.append(Exchanger(record.preference, _without_brackets(name)))
        if not found:
            return reply(556, "5.1.10", f"{domain} does not accept mail (null MX)"), said.holds
        return nearest(found), said.holds

    async def _look_up_addresses(self, name: str, kind: str) -> tuple[tuple[IP, ...] | Reply, float]:
        said = await self._ask(name, kind)
        if isinstance(said.answer, Reply):
            return said.answer, said.holds
        records = itertools.islice(said.answer or (), _MOST_ADDRESSES)
        return tuple(plain(ip_address(record.to_text())) for record in records), said.holds

    async def _ask(self, name: str, kind: str) -> _Said:
        said = await self._turns.take(partial(self._query, name, kind))
        if said is None:
            why = f"DNS did not answer for {name} ({kind}), and many wait for it"
            return _Said(reply(451, "4.4.3", why), _FAILURE_HOLDS)
        return said

    async def _query(self, name: str, kind: str) -> _Said:
        try:
            # Beyond ASCII it is no name in DNS; the library would make one of it by rules of its own.
            absolute = dns.name.from_text(name.encode("ascii"), dns.name.root)
        except (dns.exception.DNSException, ValueError):
            # An escape that is none, a label or a name too long: no name server can know it.
            return _Said(reply(550, "5.1.2", f"{name}: not a domain name"), _FAILURE_HOLDS)
        asking = self._servers()
        if asking is None:
            return _Said(reply(451, "4.4.3", f"no name server to ask: {self._system} names none"), 0.0)
        self._asked()
        began = time.monotonic()
        try:
            answer = await asking.resolve(
                absolute, kind, search=False, raise_on_no_answer=False, lifetime=self._timeout * _TIMEOUTS_A_LOOKUP
            )
        except dns.resolver.NXDOMAIN as error:
            response: dns.message.QueryMessage = error.kwargs["responses"][absolute]
            return _Said(reply(550, "5.1.2", f"{name}: no such domain"), _negative_holds(response))
        except dns.exception.Timeout:
            return _Said(reply(451, "4.4.3", f"DNS did not answer for {name} ({kind})"), _FAILURE_HOLDS)
        except (dns.exception.DNSException, OSError) as error:
            return _Said(
                reply(451, "4.4.3", f"DNS failure for {name} ({kind}): {_first_line(error)}"), _FAILURE_HOLDS
            )
        finally:
            self._answered(time.monotonic() - began)
        if answer.rrset is not None:
            return _Said(answer, min(answer.chaining_result.minimum_ttl, _LONGEST_POSITIVE))
        if answer.response.answer and not _has_soa(answer.response):
            # Records that are none of the name's, or an alias alone: nobody said that there is nothing.
            return _Said(
                reply(451, "4.4.3", f"DNS answered beside the question for {name} ({kind})"), _FAILURE_HOLDS
            )
        return _Said(None, _negative_holds(answer.response))

    def _servers(self) -> dns.asyncresolver.Resolver | None:
        """Whom to ask; the system's servers come and go with its networks, so its file is looked at each time."""
        if self._system is not None:
            try:
                status = os.stat(self._system)
                version = (status.st_ino, status.st_mtime_ns)
                if version != self._read_as:
                    self._dns = dns.asyncresolver.Resolver(filename=self._system)
                    self._dns.timeout = self._timeout
                    self._read_as = version
            except (dns.exception.DNSException, OSError, ValueError):
                self._dns = self._read_as = None
        return self._dns


def _negative_holds(response: dns.message.QueryMessage) -> float:
    """As long as the zone's SOA says; an answer without one is not to be kept (RFC 2308 section 5)."""
    if not _has_soa(response):
        return _FAILURE_HOLDS
    return min(response.resolve_chaining().minimum_ttl, _LONGEST_NEGATIVE)


def _has_soa(response: dns.message.Message) -> bool:
    return any(each.rdtype == dns.rdatatype.SOA for each in response.authority)


def _without_brackets(name: str) -> str:
    """An exchanger as it is to be judged: a literal where a name should be is an address, not a recipient's."""
    try:
        return str(parse_literal(name)) if name.startswith("[") else name
    except NotAnAddress:
        return name


def _address(name: str) -> IP | None:
    """The address that stands where a name could: in a route, and in MX records that break section 5.1."""
    try:
        return plain(ip_address(name))
    except ValueError:
        return None


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
