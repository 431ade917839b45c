"""Finding: all addresses that mail for one destination may be brought to, or a reply: why there is none.

Look-ups, and what RFC 5321 section 5.1 leaves out of them. Refuses to choose among what is left.
"""

import itertools
from collections.abc import Iterable, Sequence

from relayd.base.sections import Route
from relayd.deliver.exchangers import Candidate, Exchanger, better_than_ours, of_family, select
from relayd.deliver.patience import gather_patiently
from relayd.deliver.resolve import PATIENCE
from relayd.deliver.ways import Ways
from relayd.smtp.reply import Reply, reply


async def find(destination: str, route: Route | None, ways: Ways) -> Sequence[Candidate] | Reply:
    """All addresses that may be tried, or why none may; a route with hosts takes the place of MX records."""
    settings = ways.settings
    if route is not None and route.hosts:
        return await _find_hosts(route, ways)
    if destination.startswith("["):
        exchangers: Sequence[Exchanger] | Reply = [Exchanger(0, destination)]
    else:
        exchangers = await ways.resolver.exchangers(destination)
    if not isinstance(exchangers, Reply):
        exchangers = better_than_ours(exchangers, ways.ourselves, settings.port)
    if isinstance(exchangers, Reply):
        return exchangers
    found = await _look_up(exchangers, settings.port, ways)
    if isinstance(found, Reply):
        return found
    return select(found, ways.ourselves, family=settings.ip, allow_private=settings.private_exchangers)


def deferred(answer: Reply, why: str = "refused before MAIL") -> Reply:
    """An answer that says nothing of a recipient: its 5yz is tried again later."""
    return reply(450, "4.4.0", f"{why}: {answer}") if answer.is_permanent else answer


async def _find_hosts(route: Route, ways: Ways) -> Sequence[Candidate] | Reply:
    """A route may name private addresses. That it leads back here is the operator's slip: the mail waits."""
    found = await _look_up([Exchanger(0, each) for each in route.hosts], route.port, ways)
    if isinstance(found, Reply):
        return deferred(found, "the route's host is not known")
    back = next((each for each in found if ways.ourselves.listen_at(each)), None)
    if back is not None:
        return reply(451, "4.4.6", f"the route to {back.exchanger}:{route.port} leads back to this host")
    allowed = of_family(found, ways.settings.ip)
    return deferred(allowed, "the route cannot be taken") if isinstance(allowed, Reply) else allowed


async def _look_up(exchangers: Iterable[Exchanger], port: int, ways: Ways) -> list[Candidate] | Reply:
    """The addresses of all exchangers; those that have none are left out while another has one.

    Nobody waits long for what DNS is silent about while one of the best exchangers has an address.
    """
    exchangers = list(exchangers)
    best = min((each.preference for each in exchangers), default=0)
    answers = await gather_patiently(
        (ways.resolver.addresses(each.name) for each in exchangers),
        lambda answers: any(
            each.preference == best and answer is not None and not isinstance(answer, Reply)
            for each, answer in zip(exchangers, answers, strict=True)
        ),
        PATIENCE,
    )
    found = [
        Candidate(exchanger.preference, exchanger.name, address, port)
        for exchanger, answer in zip(exchangers, answers, strict=True)
        if answer is not None and not isinstance(answer, Reply)
        for address in answer
    ]
    if found:
        return found
    refusals = [answer for answer in answers if isinstance(answer, Reply)]
    transient = [answer for answer in refusals if answer.is_transient]
    if transient:
        return transient[0]
    # The domain is there: what is missing is the way to it (RFC 3463 section 3.5).
    return reply(550, "5.4.4", *itertools.chain.from_iterable(each.lines for each in refusals[:3]))
