"""Families: the metrics, by name, with their types and what each means. Pure.

Names and units are Prometheus' own (base units, `_total` for what only grows), and the help text says what each
is. Labels are bounded: verbs and codes by our own tables, exchangers by number.
"""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from relayd.base.counters import BOUNDS, CODES, VERBS, Histogram, total
from relayd.observe.facts import Facts
from relayd.observe.look import Look

_COUNTERS = {
    "sessions": ("sessions", "Sessions of clients that began."),
    "sessions_refused": ("sessions_refused", "Clients that were turned away at the door."),
    "tls_sessions": ("tls_sessions", "TLS handshakes with clients that were completed."),
    "tls_failures": ("tls_failures", "TLS handshakes with clients that failed."),
    "authenticated": ("auth_successes", "Clients that proved to be a user."),
    "auth_failures": ("auth_failures", "Clients that gave a wrong user or password."),
    "limited": ("commands_limited", "Commands refused since the client had sent all that it may in an hour."),
    "accepted": ("messages_accepted", "Messages that are durable and were acknowledged with 250."),
    "accepted_recipients": ("recipients_accepted", "Recipients of the messages that were accepted."),
    "refused": ("messages_refused", "Messages whose mail data was not taken."),
    "delivered": ("recipients_relayed", "Recipients for whom an exchanger took the message."),
    "deferred": ("recipients_deferred", "Attempts, by recipient, after which the message is tried again."),
    "failed": ("recipients_failed", "Recipients for whom the message has failed for good."),
    "in_doubt": ("recipients_in_doubt", "Attempts, by recipient, of which nobody knows whether they arrived."),
    "attempts_failed": (
        "attempts_failed",
        "Attempts, by message and destination, in which nobody got it, or new mail was put off as that rests.",
    ),
    "notifications": ("notifications", "Delivery status notifications that were queued."),
    "undeliverable": ("recipients_untold", "Recipients that failed and whose sender nobody could tell."),
    "removed": ("recipients_removed", "Recipients for whom a message was removed by an operator."),
    "lookups": ("dns_lookups", "Queries to name servers."),
    "connections": ("exchanger_connections", "Connections to mail exchangers that were begun."),
    "bugs": ("bugs", "Exceptions that nobody expected; the log has the traceback of each as the event bug."),
    "worker_restarts": ("worker_restarts", "Workers that died and were started again."),
    "delivery_restarts": ("delivery_restarts", "Deaths of the delivery process, which was started again."),
    "metrics_restarts": ("metrics_restarts", "Deaths of the process that tells this."),
}
_GAUGES = {
    "open_sessions": ("sessions_open", "Sessions of clients now."),
    "in_flight": ("messages_in_flight", "Messages that the delivery process works on now."),
    "connections_open": ("exchanger_connections_open", "Connections to mail exchangers now."),
}
_HISTOGRAMS = {
    "commit_seconds": ("commit_duration_seconds", "How long a group of messages took to become durable."),
    "fsync_seconds": ("fsync_duration_seconds", "How long a file or folder took to be on the medium."),
    "dns_seconds": ("dns_duration_seconds", "How long a name server took to answer, or not to."),
    "greeting_seconds": (
        "exchanger_greeting_duration_seconds",
        "From connect() to the greeting, at all exchangers.",
    ),
}


def families(facts: Facts) -> Iterator[Metric]:
    """All of them."""
    yield InfoMetricFamily("relayd", "The relay.", {"version": facts.version})
    slots = facts.slots
    for name, (metric, text) in _COUNTERS.items():
        yield CounterMetricFamily(f"relayd_{metric}", text, total(slots, name))
    for name, (metric, text) in _GAUGES.items():
        yield GaugeMetricFamily(f"relayd_{metric}", text, total(slots, name))
    yield _labelled("smtp_commands", "Commands of clients.", "verb", VERBS, [each.commands() for each in slots])
    yield _labelled("replies", "Replies to clients.", "code", CODES, [each.replies() for each in slots])
    for name, (metric, text) in _HISTOGRAMS.items():
        yield _histogram(metric, text, [each.histogram(name) for each in slots])
    yield GaugeMetricFamily("relayd_processes_missing", "Processes that should run.", total(slots[:1], "missing"))
    yield GaugeMetricFamily(
        "relayd_healthy", "1 when nothing is wrong; /healthz says what is.", not facts.findings
    )
    yield GaugeMetricFamily(
        "relayd_spool_look_age_seconds", "Since when the spool's figures are as they are.", facts.look_age
    )
    yield GaugeMetricFamily("relayd_spool_minimum_free_bytes", "What has to stay free there.", facts.floor)
    if facts.look is not None and not facts.look.trouble:
        yield from _spool(facts.look)


def _labelled(
    metric: str, text: str, label: str, values: tuple[str, ...], counts: list[dict[str, int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"relayd_{metric}", text, labels=[label])
    for value in values:
        family.add_metric([value], sum(each[value] for each in counts))
    return family


def _histogram(metric: str, text: str, found: list[Histogram]) -> HistogramMetricFamily:
    sums = map(sum, zip(*(each.buckets for each in found), strict=True))
    bounds = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
    buckets = list(zip(bounds, accumulate(sums), strict=True))
    together = sum(each.microseconds for each in found) / 1_000_000
    return HistogramMetricFamily(f"relayd_{metric}", text, buckets, together)


def _spool(look: Look) -> Iterator[Metric]:
    queue = GaugeMetricFamily("relayd_queue_messages", "Messages in the spool, by folder.", labels=["state"])
    for state, count in look.states.items():
        queue.add_metric([state], count)
    yield queue
    yield GaugeMetricFamily("relayd_queue_due_messages", "Messages that should be on their way.", look.due)
    yield GaugeMetricFamily(
        "relayd_queue_oldest_due_age_seconds",
        "For how long the oldest message that is due has been; 0 where none is, or all deliveries are paused.",
        look.oldest_due_s or 0.0,
    )
    yield GaugeMetricFamily("relayd_queue_paused", "1 when an operator has paused all deliveries.", look.paused)
    yield GaugeMetricFamily("relayd_spool_free_bytes", "What is free on the spool's disk.", look.free or 0)
    greetings = GaugeMetricFamily(
        "relayd_exchanger_greeting_seconds",
        "From connect() to the greeting, smoothed, of those exchangers that greeted last.",
        labels=["exchanger"],
    )
    for each in look.greetings:
        greetings.add_metric([each.exchanger], each.seconds)
    yield greetings
