"""Wishes: which notifications an originator wants, one recipient at a time (RFC 3461 section 4.1). Pure.

Who asked for nothing is told of failures and delays, as RFC 5321 section 6.1 has it, and not of success.
"""

from collections.abc import Sequence

import msgspec

from relayd.spool.envelope import Envelope
from relayd.spool.outcome import Kind, Outcome


def is_wanted(envelope: Envelope, index: int, kind: Kind) -> bool:
    """Whether such an outcome is told for a recipient; one that is not final stands for a delay."""
    recipient = envelope.recipients[index]
    if kind.is_delivery:
        # Nobody asks for word who gives no address for it.
        return recipient.wants_success and envelope.reverse_path is not None
    notify = recipient.notify
    if notify is None:
        return True
    return ("FAILURE" if kind.is_failure else "DELAY") in notify


def wanted(envelope: Envelope, outcomes: Sequence[Outcome]) -> tuple[tuple[Outcome, ...], tuple[Outcome, ...]]:
    """The outcomes that are told, and those that are not, each with those recipients alone."""
    told: list[Outcome] = []
    untold: list[Outcome] = []
    for outcome in outcomes:
        chosen = tuple(index for index in outcome.recipients if is_wanted(envelope, index, outcome.kind))
        if len(chosen) == len(outcome.recipients):
            told.append(outcome)
            continue
        others = tuple(index for index in outcome.recipients if index not in chosen)
        untold.append(msgspec.structs.replace(outcome, recipients=others))
        if chosen:
            told.append(msgspec.structs.replace(outcome, recipients=chosen))
    return tuple(told), tuple(untold)
