"""Sections: the typed tables of a configuration, frozen; a floor is handed only its own.

Durations are seconds, sizes octets, paths absolute. The defaults stand in `raw`, where they are read as an
operator would write them.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Literal

IP = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

TlsMode = Literal["opportunistic", "require", "verify", "off"]
Rule = Literal["preference", "latency"]


@dataclass(frozen=True, slots=True)
class Listener:
    """Where clients connect: a name or an address, and the port (0: the kernel chooses).

    `auth` says whether clients may, or must, name their user. With `proxy`, what connects from the `trusted`
    networks says first whom it connects for (the PROXY protocol); nobody else may connect.
    """

    address: str
    port: int
    tls: Literal["starttls", "implicit", "off"] = "starttls"
    auth: Literal["off", "offered", "required"] = "offered"
    proxy: bool = False
    trusted: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Tls:
    """What this host shows of itself to clients: files in PEM form, the certificate with its chain."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Auth:
    """The file of users, and whether a client on this host may say its password without TLS."""

    users: Path
    loopback_without_tls: bool


@dataclass(frozen=True, slots=True)
class Process:
    """Who runs it, how many workers (0: one a core), and how long a stop may take.

    With `pin_workers` each stays on a processor of its own, where there is one for each. `drain_timeout` is how
    long the sessions of a worker that was replaced may go on.
    """

    user: str | None
    group: str | None
    workers: int
    pin_workers: bool
    pid_file: Path
    stop_timeout: float
    drain_timeout: float


@dataclass(frozen=True, slots=True)
class Spool:
    """Where messages wait, and how much must stay free there for new ones to be taken."""

    directory: Path
    minimum_free: int


@dataclass(frozen=True, slots=True)
class Relay:
    """Who may relay, who reads postmaster's mail, and how much one client may send in an hour (0: any).

    `origin` is the domain that an address without one gets.
    """

    allow: tuple[Network, ...]
    open: bool
    postmaster: str | None
    origin: str | None
    messages_per_hour: int
    recipients_per_hour: int


@dataclass(frozen=True, slots=True)
class Session:
    """The limits of a client's session. `minimum_rate` of mail data is in octets a second, 0: any.

    `per_client` is how many sessions one address may have at once, in all workers.
    """

    timeout: float
    minimum_rate: int
    per_client: int
    maximum_message: int
    maximum_recipients: int
    bare_newline: Literal["normalize", "reject"]
    extended: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """What one recipient domain or one exchanger bears; None: no limit of its own.

    `connections` are those at once, `messages` those of one connection, `rate` is in messages a second.
    """

    connections: int | None = None
    messages: int | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """How mail leaves: the port, the choice of exchanger, the schedule.

    `limits` are by recipient domain or exchanger, in lower case.
    """

    port: int
    rank: Rule
    private_exchangers: bool
    own_addresses: tuple[IP, ...]
    connections_per_destination: int
    retry: tuple[float, ...]
    lifetime: float
    delay_warning: float | None
    in_doubt: Literal["retry", "hold"]
    eight_bit: Literal["send", "fail"]
    ip: Literal["both", "4", "6"]
    source: tuple[IP, ...]
    ehlo_name: str | None
    limits: dict[str, Limit]


@dataclass(frozen=True, slots=True)
class Route:
    """What is done with some domains' mail.

    It goes to one of `hosts` (names, or addresses without brackets) instead of the domain's exchangers; they are
    ranked among themselves. `rank` None is `delivery.rank`. With `user` we say who sends, by the password in
    `password_file`. Without hosts there is either `error`, an enhanced status code and a text to refuse with, or
    `hold`, and the mail waits for a person, or neither, and `tls` and `rank` are for the domain's own exchangers.
    """

    hosts: tuple[str, ...]
    port: int = 25
    tls: TlsMode = "opportunistic"
    user: str | None = None
    password_file: Path | None = None
    rank: Rule | None = None
    error: str | None = None
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Dns:
    """Which name servers are asked (none: the system's), and for how long."""

    nameservers: tuple[tuple[str, int], ...]
    timeout: float


@dataclass(frozen=True, slots=True)
class Log:
    """The form of log lines, and where they go (None: standard error)."""

    format: Literal["text", "json"]
    file: Path | None


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where monitoring asks: an IP address, and the port (0: the kernel chooses)."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Health:
    """When something is wrong: a message is `overdue` for so long; in a `window` (both in seconds) there were so
    many `failures` of delivery and no success, or more `restarts` than this.
    """

    overdue: float
    window: float
    failures: int
    restarts: int


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the operator decides. `source` is the file it came from."""

    source: Path | None
    hostname: str
    listeners: tuple[Listener, ...]
    process: Process
    spool: Spool
    relay: Relay
    session: Session
    delivery: Delivery
    routes: dict[str, Route]
    dns: Dns
    log: Log
    metrics: Metrics | None
    health: Health
    tls: Tls | None
    auth: Auth | None
