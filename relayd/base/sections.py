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
    """Who runs it, how many workers (0: one a core), and how long a stop may take."""

    user: str | None
    group: str | None
    workers: int
    pid_file: Path
    stop_timeout: float


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
class Delivery:
    """How mail leaves: the port, the choice of exchanger, the schedule."""

    port: int
    rank: Literal["preference", "latency"]
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


@dataclass(frozen=True, slots=True)
class Route:
    """A fixed next hop instead of MX."""

    host: str
    port: int


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
    tls: Tls | None
    auth: Auth | None
