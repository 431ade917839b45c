"""`relayd audit`: whether every accepted recipient is accounted for; exit status 1 and the IDs when one is not."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime

from relayd.cli.arguments import configuration
from relayd.cli.output import as_json, plural, table
from relayd.spool.audit import Balance, Gap, audit
from relayd.spool.layout import Layout
from relayd.spool.view import View

_PARTS = ("delivered", "failed", "undeliverable", "removed", "queued", "held", "set_aside")


def run(arguments: argparse.Namespace) -> int:
    """See the module."""
    directory = configuration(arguments).spool.directory
    balance = audit(View(directory), Layout(str(directory)), datetime.now(UTC))
    if arguments.json:
        print(as_json(balance))
    else:
        for line in _in_words(balance):
            print(line)
    return 1 if balance.gaps else 0


def _in_words(balance: Balance) -> Iterator[str]:
    missing = _count(balance.gaps)
    unknown = _count(balance.unknown)
    rows = [("accepted", str(balance.accepted))]
    rows += [(part.replace("_", " "), str(getattr(balance, part))) for part in _PARTS]
    rows += [("unknown", str(unknown)), ("missing", str(missing))]
    yield "recipients, by ledger and spool:"
    for line in table(rows, right=frozenset({1})):
        yield f"  {line}"
    if balance.unentered:
        yield f"{plural(balance.unentered, 'recipient')} in the spool that the ledger does not know"
    for gap in balance.unknown:
        yield f"unknown since a power cut: {_shown(gap)}"
    for gap in balance.gaps:
        yield f"missing: {_shown(gap)}"
    for message_id in balance.overdue:
        yield f"due, and nobody attempts it: {message_id}"
    for message_id in balance.orphan_journals:
        yield f"a journal without a message: {message_id}"
    yield "not balanced" if balance.gaps else "balanced"


def _count(gaps: tuple[Gap, ...]) -> int:
    return sum(len(gap.recipients) for gap in gaps)


def _shown(gap: Gap) -> str:
    indexes = ", ".join(str(index) for index in gap.recipients)
    return f"{gap.id}, accepted {gap.accepted:%Y-%m-%d %H:%M:%SZ}, recipients {indexes}"
