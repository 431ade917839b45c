"""The cases: what is sent in a round of each, and with what beside it. Nothing here runs anything."""

from dataclasses import dataclass, replace

from tests.bench.client import Load

DESTINATIONS = 200


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the matrix: `messages` a round, over so many `sessions`.

    `load` is for the client of our own, else it is smtp-source. `waiting` messages are deferred in the queue
    before. `reason` says why a case is left out, empty for one that runs.
    """

    name: str
    title: str
    messages: int
    sessions: int = 20
    octets: int = 4096
    recipients: int = 1
    waiting: int = 0
    is_kept: bool = True
    is_timed: bool = False
    is_secured: bool = False
    is_secured_out: bool = False
    is_pipelined: bool = False
    is_client: bool = False
    domains: tuple[str, ...] = ("example.test",)
    has_floor: bool = False
    has_servers: bool = True
    reason: str = ""

    @property
    def load(self) -> Load | None:
        """What the client of our own is to send; None where smtp-source can do it."""
        if not (self.is_client or self.is_timed or self.is_secured or self.is_pipelined):
            return None
        return Load(
            messages=self.messages,
            sessions=self.sessions,
            octets=self.octets,
            domains=self.domains,
            is_pipelined=self.is_pipelined,
            is_secured=self.is_secured,
        )

    def scaled(self, share: float) -> "Case":
        """The same with so many times the messages, at least one a session."""
        return replace(self, messages=max(self.sessions, round(self.messages * share)))


CASES = (
    Case("headline", "4 KiB on 20 kept sessions", 4000, has_floor=True),
    Case("one-connection", "4 KiB, one connection a message, 20 at a time", 2000, is_kept=False),
    Case("one-session", "4 KiB on one session", 500, sessions=1, is_timed=True),
    Case("200-kib", "200 KiB on 20 kept sessions", 600, octets=200 << 10),
    Case("25-mb", "25 MB on 4 kept sessions", 12, sessions=4, octets=25_000_000),
    Case("20-recipients", "4 KiB, 20 recipients at one destination", 1500, recipients=20),
    Case(
        "200-destinations",
        "4 KiB, each message to the next of 200 destinations",
        2000,
        is_client=True,
        domains=tuple(f"d{number}.test" for number in range(1, DESTINATIONS + 1)),
    ),
    Case("starttls-in", "4 KiB on 20 kept sessions with STARTTLS from the client", 2000, is_secured=True),
    Case("starttls-out", "4 KiB on 20 kept sessions, STARTTLS to the exchanger", 2000, is_secured_out=True),
    Case("pipelining", "4 KiB on 20 kept sessions with PIPELINING", 3000, is_pipelined=True),
    Case("deferred", "4 KiB, 100,000 others deferred in the queue", 2000, waiting=100_000),
    Case("limits", "what nothing can be faster than", 4000, has_floor=True, has_servers=False),
)


def zone() -> str:
    """The DNS of all cases: each destination has an address of its own."""
    lines = ["example.test. 3600 IN MX 10 mx.example.test.", "mx.example.test. 3600 IN A 127.0.0.2"]
    for number in range(1, DESTINATIONS + 1):
        lines.append(f"d{number}.test. 3600 IN MX 10 mx.d{number}.test.")
        lines.append(f"mx.d{number}.test. 3600 IN A 127.0.1.{number}")
    return "\n".join(lines)
