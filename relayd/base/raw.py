"""The configuration as an operator writes it: the tables and keys of relayd.toml, with their defaults.

msgspec checks tables, keys, numbers and choices against these; `config` reads the rest and makes the values of
`sections`. Knows in words what each key allows, because msgspec's errors do not.
"""

from typing import Annotated, Any, Literal, get_type_hints

from msgspec import Meta, Struct, field

# A duration, a network, a path: its reader in `units` or `names` checks the type too, and says what is allowed.
Written = Any

Account = Annotated[Annotated[str, Meta(min_length=1)] | None, Meta(description='write a name, like "relayd"')]
Networks = Annotated[list[Written], Meta(description='write a list of networks, like ["10.0.0.0/8"]')]
Amount = Annotated[
    int, Meta(ge=0, le=10**9, description="write a whole number from 0 to 1000000000; 0 is no limit")
]


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Listener(_Table, frozen=True):
    address: Written = "localhost"
    port: Annotated[int, Meta(ge=0, le=65535, description="write a whole number from 0 to 65535")] = 25
    tls: Annotated[
        Literal["starttls", "implicit", "off"], Meta(description='write "starttls", "implicit" or "off"')
    ] = "starttls"
    auth: Annotated[
        Literal["off", "offered", "required"], Meta(description='write "off", "offered" or "required"')
    ] = "offered"
    proxy: bool = False
    trusted: Networks = field(default_factory=list)


class Process(_Table, frozen=True):
    user: Account = None
    group: Account = None
    workers: Annotated[
        int, Meta(ge=0, le=256, description="write a whole number from 0 to 256; 0 is one a core")
    ] = 0
    pin_workers: bool = True
    pid_file: Written = None
    stop_timeout: Written = "30s"
    drain_timeout: Written = "5m"


class Spool(_Table, frozen=True):
    directory: Written = None
    minimum_free: Written = None


class Relay(_Table, frozen=True):
    allow: Networks = field(default_factory=lambda: ["127.0.0.0/8", "::1/128"])
    open: bool = False
    postmaster: Written = None
    origin: Written = None
    messages_per_hour: Amount = 50_000
    recipients_per_hour: Amount = 200_000


class Session(_Table, frozen=True):
    timeout: Written = "5m"
    minimum_rate: Written = "500 B"
    per_client: Amount = 500
    maximum_message: Written = "50 MB"
    maximum_recipients: Annotated[
        int,
        Meta(
            ge=100,
            le=100_000,
            description="write a whole number from 100 (RFC 5321 section 4.5.3.1.8) to 100000",
        ),
    ] = 1000
    bare_newline: Annotated[Literal["normalize", "reject"], Meta(description='write "normalize" or "reject"')] = (
        "normalize"
    )
    extended: bool = True


class Delivery(_Table, frozen=True):
    port: Annotated[int, Meta(ge=1, le=65535, description="write a whole number from 1 to 65535")] = 25
    rank: Annotated[Literal["preference", "latency"], Meta(description='write "preference" or "latency"')] = (
        "preference"
    )
    private_exchangers: bool = False
    own_addresses: Annotated[list[Written], Meta(description='write a list of addresses, like ["192.0.2.1"]')] = (
        field(default_factory=list)
    )
    connections_per_destination: Annotated[
        int, Meta(ge=1, le=1000, description="write a whole number from 1 to 1000")
    ] = 10
    retry: Annotated[
        list[Written],
        Meta(min_length=1, description='write a list of one duration or more, like ["5m", "1h"]'),
    ] = field(default_factory=lambda: ["5m", "15m", "30m", "1h", "2h", "4h"])
    lifetime: Written = "5d"
    delay_warning: Written = None
    in_doubt: Annotated[Literal["retry", "hold"], Meta(description='write "retry" or "hold"')] = "retry"
    eight_bit: Annotated[Literal["send", "fail"], Meta(description='write "send" or "fail"')] = "fail"
    ip: Annotated[Literal["both", "4", "6"], Meta(description='write "both", "4" or "6"')] = "both"
    source: Annotated[list[Written], Meta(description='write a list of addresses, like ["192.0.2.1"]')] = field(
        default_factory=list
    )
    ehlo_name: Written = None
    limits: Annotated[
        dict[str, Written],
        Meta(description='write tables, like [delivery.limits."example.net"], and their keys below'),
    ] = field(default_factory=dict)


class Limit(_Table, frozen=True):
    """One of [delivery.limits]."""

    connections: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None, Meta(description="write a whole number from 1 to 1000")
    ] = None
    messages: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None, Meta(description="write a whole number from 1 to 1000000")
    ] = None
    rate: Written = None


class Route(_Table, frozen=True):
    """One of [routes], where it is a table."""

    hosts: Annotated[
        list[Written] | None, Meta(description='write a list of hosts, like ["10.0.0.5", "mail.example.net"]')
    ] = None
    port: Annotated[int, Meta(ge=1, le=65535, description="write a whole number from 1 to 65535")] = 25
    tls: Annotated[
        Literal["opportunistic", "require", "verify", "off"] | None,
        Meta(description='write "opportunistic", "require", "verify" or "off"'),
    ] = None
    user: Written = None
    password_file: Written = None
    rank: Annotated[
        Literal["preference", "latency"] | None, Meta(description='write "preference" or "latency"')
    ] = None
    error: Written = None
    hold: bool = False


class Dns(_Table, frozen=True):
    nameservers: Annotated[
        list[Written], Meta(description='write a list of addresses, like ["127.0.0.1:5300"]')
    ] = field(default_factory=list)
    timeout: Written = "5s"


class Log(_Table, frozen=True):
    format: Annotated[Literal["text", "json"], Meta(description='write "text" or "json"')] = "text"
    file: Written = None


class Metrics(_Table, frozen=True):
    listen: Written = None


class Health(_Table, frozen=True):
    overdue: Written = "5m"
    window: Written = "10m"
    failures: Annotated[int, Meta(ge=1, le=1_000_000, description="write a whole number from 1 to 1000000")] = 3
    restarts: Annotated[int, Meta(ge=0, le=1_000_000, description="write a whole number from 0 to 1000000")] = 3


class Tls(_Table, frozen=True):
    certificate: Written = None
    key: Written = None


class Auth(_Table, frozen=True):
    users: Written = None
    loopback_without_tls: bool = False


class File(_Table, frozen=True):
    """The whole file."""

    hostname: Written = None
    listener: list[Listener] = field(default_factory=lambda: [Listener()])
    process: Process = Process()
    spool: Spool = Spool()
    relay: Relay = Relay()
    session: Session = Session()
    delivery: Delivery = Delivery()
    routes: dict[str, Written] = field(default_factory=dict)
    dns: Dns = Dns()
    log: Log = Log()
    metrics: Metrics = Metrics()
    health: Health = Health()
    tls: Tls | None = None
    auth: Auth | None = None


TABLES: dict[str, type[Struct]] = {
    "listener": Listener,
    "process": Process,
    "spool": Spool,
    "relay": Relay,
    "session": Session,
    "delivery": Delivery,
    "dns": Dns,
    "log": Log,
    "metrics": Metrics,
    "health": Health,
    "tls": Tls,
    "auth": Auth,
}


def allowed(table: str, key: str) -> str:
    """What may be written for a key that msgspec checks, or for a table (an empty key)."""
    if not key:
        brackets = "[[listener]]" if table == "listener" else f"[{table}]"
        return f"not a table; write {brackets} on a line of its own, and its keys below"
    return described(TABLES[table], key)


def described(table: type[Struct], key: str) -> str:
    """What may be written for a key that msgspec checks."""
    kind = get_type_hints(table, include_extras=True)[key]
    if kind is bool:
        return "write true or false"
    description: str = kind.__metadata__[0].description
    return description
