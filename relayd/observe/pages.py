"""Pages: what is answered at /metrics and /healthz. Pure, but for the formatting, which is prometheus-client's."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from relayd.base import health
from relayd.observe.facts import Facts
from relayd.observe.families import families

_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: the status code of HTTP, the body and its type."""

    status: int
    body: bytes
    kind: str = _TEXT


NOT_FOUND = Page(404, b"there are /metrics and /healthz\n")


class _Collected(Collector):
    """One scrape's metrics, in the form that the library takes."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        return families(self._facts)


def metrics(facts: Facts) -> Page:
    """The text format of Prometheus."""
    return Page(200, generate_latest(_Collected(facts)), CONTENT_TYPE_PLAIN_0_0_4)


def healthz(facts: Facts) -> Page:
    """200, or 503, and one line."""
    line = health.in_words(facts.findings)
    return Page(503 if facts.findings else 200, f"{line}\n".encode())
