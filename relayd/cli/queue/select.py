"""Selection: which messages a command means, by IDs, by a domain, or by the same filters that `list` has."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import datetime

from relayd.base import units
from relayd.base.mistake import ConfigError
from relayd.cli.output import complain
from relayd.spool.ids import is_id
from relayd.spool.view import Item, View


def selected(view: View, arguments: argparse.Namespace, now: datetime) -> Iterator[Item]:
    """The messages that all given filters fit, in the order of their arrival. Sets `is_filtered`."""
    arguments.is_filtered = any(
        value is not None
        for value in (arguments.destination, arguments.reverse_path, arguments.state, arguments.older)
    )
    older = _older(arguments.older)
    targets = list(getattr(arguments, "targets", ()))
    ids = {target for target in targets if is_id(target)}
    domains = {target.lower() for target in targets if not is_id(target)}
    destination = None if arguments.destination is None else arguments.destination.lower()
    reverse_path = None if arguments.reverse_path is None else arguments.reverse_path.strip("<>").lower()
    for item in view.items(now):
        if targets and item.id not in ids and not domains.intersection(item.domains):
            continue
        if destination is not None and destination not in item.domains:
            continue
        if reverse_path is not None and (item.reverse_path or "").lower() != reverse_path:
            continue
        if arguments.state is not None and item.state != arguments.state:
            continue
        if item.age(now) >= older:
            yield item


def complain_of_none(arguments: argparse.Namespace, items: Sequence[Item]) -> int:
    """Say which IDs and domains fit none of these messages, or that there are none; how many lines."""
    known = {item.id for item in items} | {domain for item in items for domain in item.domains}
    unknown = [target for target in arguments.targets if target not in known and target.lower() not in known]
    for target in unknown:
        complain(f"no such message in the queue: {target}")
    if not items and not unknown:
        complain("no such message in the queue")
        return 1
    return len(unknown)


def _older(written: str | None) -> float:
    if written is None:
        return 0.0
    try:
        return units.duration(written)
    except ValueError as error:
        raise ConfigError(f'--older "{written}": {error}') from None
