"""The configuration: defaults, overrides, warnings, and every class of mistake with its whole line."""

import dataclasses
import json
import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from relayd.base import names, raw, units
from relayd.base.config import Config, ConfigError, load, warnings
from relayd.base.sections import (
    Auth,
    Delivery,
    Dns,
    Health,
    Listener,
    Log,
    Metrics,
    Process,
    Relay,
    Route,
    Session,
    Spool,
    Tls,
)

SHIPPED = Path(__file__).parents[2] / "etc" / "relayd.toml"


def write(directory: Path, text: str | bytes) -> Path:
    """A configuration file in `directory`/etc."""
    path = directory / "etc" / "relayd.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def mistake(path: Path, **overrides: Any) -> str:
    """The error line for a file, without the path it starts with."""
    with pytest.raises(ConfigError) as raised:
        load(path, **overrides)
    return str(raised.value).removeprefix(f"{path}: ")


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    """Every section has the defaults of the design."""
    path = write(tmp_path, 'hostname = "relay.example.org"')
    spool = tmp_path / "spool"
    assert load(path) == Config(
        source=path,
        hostname="relay.example.org",
        listeners=(Listener("localhost", 25, tls="starttls", auth="offered", proxy=False, trusted=()),),
        process=Process(
            user=None,
            group=None,
            workers=0,
            pin_workers=True,
            pid_file=spool / "relayd.pid",
            stop_timeout=30.0,
            drain_timeout=300.0,
        ),
        spool=Spool(directory=spool, minimum_free=10**9),
        relay=Relay(
            allow=(ip_network("127.0.0.0/8"), ip_network("::1/128")),
            open=False,
            postmaster=None,
            origin=None,
            messages_per_hour=50_000,
            recipients_per_hour=200_000,
        ),
        session=Session(
            timeout=300.0,
            minimum_rate=500,
            per_client=500,
            maximum_message=50_000_000,
            maximum_recipients=1000,
            bare_newline="normalize",
            extended=True,
        ),
        delivery=Delivery(
            port=25,
            rank="preference",
            private_exchangers=False,
            own_addresses=(),
            connections_per_destination=10,
            retry=(300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0),
            lifetime=432_000.0,
            delay_warning=None,
            in_doubt="retry",
            eight_bit="fail",
            ip="both",
            source=(),
            ehlo_name=None,
            limits={},
        ),
        routes={},
        dns=Dns(nameservers=(), timeout=5.0),
        log=Log(format="text", file=None),
        metrics=None,
        health=Health(overdue=300.0, window=600.0, failures=3, restarts=3),
        tls=None,
        auth=None,
    )


def test_every_key_is_read(tmp_path: Path) -> None:
    """Values other than the defaults reach their sections."""
    path = write(
        tmp_path,
        """
        hostname = "[IPv6:2001:db8::1]"
        [[listener]]
        address = "::1"
        port = 0
        tls = "off"
        auth = "off"
        proxy = true
        trusted = ["192.0.2.0/24", "2001:db8::7"]
        [[listener]]
        address = "mail-in.example.org"
        tls = "implicit"
        [process]
        user = "mail"
        group = "post"
        workers = 3
        pin_workers = false
        pid_file = "/run/relayd.pid"
        stop_timeout = "0s"
        drain_timeout = "90s"
        [spool]
        directory = "/var/spool/relayd"
        minimum_free = 0
        [relay]
        allow = ["10.0.0.5", "2001:db8::/32"]
        open = true
        postmaster = "ops.team+relay@[192.0.2.1]"
        origin = "example.org"
        messages_per_hour = 0
        recipients_per_hour = 1000000000
        [session]
        timeout = "500ms"
        minimum_rate = "1 KB"
        per_client = 7
        maximum_message = "1.5 MiB"
        maximum_recipients = 100
        bare_newline = "reject"
        extended = false
        [delivery]
        port = 2525
        rank = "latency"
        private_exchangers = true
        own_addresses = ["192.0.2.7"]
        connections_per_destination = 1
        retry = ["1s"]
        lifetime = "1.5h"
        delay_warning = "4h"
        in_doubt = "hold"
        eight_bit = "send"
        ip = "4"
        source = ["192.0.2.8", "2001:db8::8"]
        ehlo_name = "out.example.org"
        [routes]
        "Example.NET" = "smtp://10.0.0.5:2525"
        ".example.net" = "SMTP://mail.example.net"
        "*" = "smtp://[::1]:2626"
        [dns]
        nameservers = ["127.0.0.1:5300", "192.0.2.53", "::1", "[::1]:5300", "[::1]"]
        timeout = "2s"
        [log]
        format = "json"
        file = "../log/relayd.log"
        [metrics]
        listen = "[::1]:0"
        [health]
        overdue = "1h"
        window = "90s"
        failures = 1
        restarts = 0
        [tls]
        certificate = "chain.pem"
        key = "/etc/ssl/private/key.pem"
        [auth]
        users = "../users"
        loopback_without_tls = true
        """,
    )
    config = load(path)
    assert config.hostname == "[IPv6:2001:db8::1]"
    trusted = (ip_network("192.0.2.0/24"), ip_network("2001:db8::7/128"))
    assert config.listeners == (
        Listener("::1", 0, tls="off", auth="off", proxy=True, trusted=trusted),
        Listener("mail-in.example.org", 25, tls="implicit"),
    )
    assert config.process == Process("mail", "post", 3, False, Path("/run/relayd.pid"), 0.0, 90.0)
    assert config.spool == Spool(Path("/var/spool/relayd"), 0)
    assert config.relay == Relay(
        allow=(ip_network("10.0.0.5/32"), ip_network("2001:db8::/32")),
        open=True,
        postmaster="ops.team+relay@[192.0.2.1]",
        origin="example.org",
        messages_per_hour=0,
        recipients_per_hour=1_000_000_000,
    )
    assert config.session == Session(
        timeout=0.5,
        minimum_rate=1000,
        per_client=7,
        maximum_message=1_572_864,
        maximum_recipients=100,
        bare_newline="reject",
        extended=False,
    )
    assert config.delivery == Delivery(
        port=2525,
        rank="latency",
        private_exchangers=True,
        own_addresses=(ip_address("192.0.2.7"),),
        connections_per_destination=1,
        retry=(1.0,),
        lifetime=5400.0,
        delay_warning=14400.0,
        in_doubt="hold",
        eight_bit="send",
        ip="4",
        source=(ip_address("192.0.2.8"), ip_address("2001:db8::8")),
        ehlo_name="out.example.org",
        limits={},
    )
    assert config.routes == {
        "example.net": Route(("10.0.0.5",), 2525),
        ".example.net": Route(("mail.example.net",), 25),
        "*": Route(("::1",), 2626),
    }
    assert config.dns == Dns(
        (("127.0.0.1", 5300), ("192.0.2.53", 53), ("::1", 53), ("::1", 5300), ("::1", 53)), 2.0
    )
    assert config.log == Log("json", tmp_path / "log" / "relayd.log")
    assert config.metrics == Metrics("::1", 0)
    assert config.health == Health(3600.0, 90.0, 1, 0)
    assert config.tls == Tls(tmp_path / "etc" / "chain.pem", Path("/etc/ssl/private/key.pem"))
    assert config.auth == Auth(tmp_path / "users", loopback_without_tls=True)


def test_the_minimum_free_follows_a_large_maximum_message(tmp_path: Path) -> None:
    """Four of the largest messages fit, however large they are."""
    path = write(tmp_path, '[session]\nmaximum_message = "1 GB"')
    assert load(path).spool.minimum_free == 4 * 10**9


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the program was started makes no difference."""
    write(tmp_path, '[spool]\ndirectory = "queue"\n[process]\npid_file = "../run/pid"\n[log]\nfile = "log"')
    monkeypatch.chdir(tmp_path)
    config = load(Path("etc/relayd.toml"))
    assert config.source == Path("etc/relayd.toml")
    assert config.spool.directory == tmp_path / "etc" / "queue"
    assert config.process.pid_file == tmp_path / "run" / "pid"
    assert config.log.file == tmp_path / "etc" / "log"


def test_a_spool_that_is_a_link_stays_a_link(tmp_path: Path) -> None:
    """Paths are made absolute without following links."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "elsewhere")
    assert load(write(tmp_path, "")).spool.directory == tmp_path / "spool"


def test_without_a_file_the_spool_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The built-in defaults need no file and keep to where one is."""
    monkeypatch.chdir(tmp_path)
    config = load(None)
    assert config.source is None
    assert config.spool.directory == tmp_path / "spool"
    assert config.process.pid_file == tmp_path / "spool" / "relayd.pid"


def test_a_spool_on_the_command_line_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It overrides the file's, and the pid file goes along."""
    path = write(tmp_path, '[spool]\ndirectory = "/var/spool/relayd"')
    monkeypatch.chdir(tmp_path)
    for config in (load(path, spool=Path("other/../mine")), load(None, spool=Path("mine"))):
        assert config.spool.directory == tmp_path / "mine"
        assert config.process.pid_file == tmp_path / "mine" / "relayd.pid"


@pytest.mark.parametrize(
    ("ports", "addresses", "port", "listeners"),
    [
        ([25], ["127.0.0.1", "::1"], None, [("127.0.0.1", 25), ("::1", 25)]),
        ([25], [], 2525, [("localhost", 2525)]),
        ([25], ["mx"], 0, [("mx", 0)]),
        ([25, 587], ["::1"], None, [("::1", 25), ("::1", 587)]),
        ([25, 587], [], 2525, [("localhost", 2525)]),
        ([0, 0], [], None, [("localhost", 0), ("localhost", 0)]),
    ],
)
def test_addresses_and_port_replace_those_of_the_listeners(
    tmp_path: Path, ports: list[int], addresses: list[str], port: int | None, listeners: list[tuple[str, int]]
) -> None:
    """Addresses keep the configured ports, and listeners that become the same are one."""
    text = "".join(f"[[listener]]\nport = {each}\n" for each in ports)
    text += '[relay]\npostmaster = "ops@example.org"'
    config = load(write(tmp_path, text), addresses=addresses, port=port)
    assert config.listeners == tuple(Listener(*each) for each in listeners)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            {"addresses": [""]},
            (
                'command line: address = "": not a host or an address; '
                'write one like "localhost", "192.0.2.1" or "::1"'
            ),
        ),
        (
            {"addresses": ["[::1]"]},
            (
                'command line: address = "[::1]": not a host or an address; '
                'write one like "localhost", "192.0.2.1" or "::1"'
            ),
        ),
        ({"port": 65536}, "command line: port = 65536: write a whole number from 0 to 65535"),
        (
            {"addresses": ["0.0.0.0"]},
            (
                "[relay] postmaster: required unless all listeners are loopback; "
                'write a mailbox, like "ops@example.org"'
            ),
        ),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(tmp_path: Path, overrides: dict[str, Any], line: str) -> None:
    """What overrides the file is checked like the file."""
    assert mistake(write(tmp_path, ""), **overrides) == line


def test_one_port_for_listeners_that_differ_is_refused(tmp_path: Path) -> None:
    """They could not both have it, and none of them may silently go away."""
    path = write(tmp_path, f'[[listener]]\n[[listener]]\nport = 465\ntls = "implicit"\n{TLS}')
    assert mistake(path, port=2525) == 'port = 2525: two listeners at "localhost" have this port'


def test_addresses_of_the_command_line_leave_the_listeners_as_they_are_otherwise(tmp_path: Path) -> None:
    """Each address gets all of them, and a mistake in one is still named by its place in the file."""
    path = write(tmp_path, f'[[listener]]\n[[listener]]\nport = 465\ntls = "implicit"\n{TLS}')
    assert load(path, addresses=["127.0.0.1", "::1"]).listeners == (
        Listener("127.0.0.1", 25),
        Listener("127.0.0.1", 465, tls="implicit"),
        Listener("::1", 25),
        Listener("::1", 465, tls="implicit"),
    )
    path = write(tmp_path, '[[listener]]\n[[listener]]\nport = 465\ntls = "implicit"')
    found = mistake(path, addresses=["127.0.0.1", "::1"])
    assert found == f'[[listener]] number 2: tls = "implicit": {CERTIFICATE}'


DURATION = 'not a duration; write a number and a unit: ms, s, m, h or d, like "5m"'
SIZE = 'not a size; write a number of octets, or a number and a unit: B, KB, MB, GB, KiB, MiB or GiB, like "50 MB"'
HOST = (
    'not a host name; write letters, digits, hyphens and dots, like "relay.example.org", '
    'or an address literal like "[192.0.2.1]"'
)
NETWORK = 'not a network; write an address and a prefix without host bits, like "10.0.0.0/8"'
ADDRESS = 'not an IP address; write one like "192.0.2.1" or "2001:db8::1"'
LISTENING = 'not a host or an address; write one like "localhost", "192.0.2.1" or "::1"'
MAILBOX = 'not a mailbox; write a name and a domain, like "ops@example.org"'
NAMESERVER = 'not a name server; write an IP address, and a port if not 53, like "127.0.0.1:5300"'
PATH = 'not a path; write one like "../spool"; it is relative to this file'
LIMIT, ROUTE = 'delivery.limits."example.net"', 'routes."example.com"'
PLACE = 'not an address and a port; write them like "127.0.0.1:9125" or "[::1]:9125"'
EVERYONE = "everyone could relay; write open = true if you mean it"
POSTMASTER = (
    '[relay] postmaster: required unless all listeners are loopback; write a mailbox, like "ops@example.org"'
)
CERTIFICATE = "needs a certificate; write a table [tls]"
CLEAR = "passwords need TLS, so nobody could send"
TLS = '[tls]\ncertificate = "chain.pem"\nkey = "key.pem"'
USERS = '[auth]\nusers = "users"'

MISTAKES = [
    # Not TOML.
    ("[session]\ntimeout 5", "not TOML: Expected '=' after a key in a key/value pair (at line 2, column 9)"),
    ('a = "\n"', "not TOML: Illegal character '\\n' (at line 1, column 6)"),
    (f"a = {'9' * 5000}", "not TOML that can be read: a number too long or tables nested too deeply"),
    (f"a = {'[' * 5000}", "not TOML that can be read: a number too long or tables nested too deeply"),
    (b'hostname = "\xff"', "not UTF-8 at octet 12"),
    # Unknown keys and tables.
    ('[session]\ntimeuot = "5m"', '[session] timeuot = "5m": unknown key; did you mean timeout?'),
    ("[dns]\nfoo = 1", "[dns] foo = 1: unknown key; known: nameservers, timeout"),
    ("[sesion]\ntimeout = 1", "[sesion]: unknown table; did you mean session?"),
    ('hostnam = "a"', 'hostnam = "a": unknown key; did you mean hostname?'),
    ('"host\\nname" = 1', '"host\\nname" = 1: unknown key; did you mean hostname?'),
    ("[[listener]]\nports = 25", "[[listener]] ports = 25: unknown key; did you mean port?"),
    (
        "[[listener]]\n[[listener]]\nports = 25",
        "[[listener]] number 2: ports = 25: unknown key; did you mean port?",
    ),
    (
        "session" + ".a" * 3000 + " = 1",
        (
            "[session] a = {a = {a = {a = {a = …}}}}: unknown key; "
            "known: timeout, minimum_rate, per_client, maximum_message, maximum_recipients, bare_newline, extended"
        ),
    ),
    # The wrong kind of value.
    ("metrics = 9000", "metrics = 9000: not a table; write [metrics] on a line of its own, and its keys below"),
    ("[metrics]\nlisten = 9125", f"[metrics] listen = 9125: {PLACE}"),
    ('[metrics]\nlisten = "127.0.0.1"', f'[metrics] listen = "127.0.0.1": {PLACE}'),
    ('[metrics]\nlisten = "localhost:9125"', f'[metrics] listen = "localhost:9125": {PLACE}'),
    ('[metrics]\nlisten = "127.0.0.1:65536"', f'[metrics] listen = "127.0.0.1:65536": {PLACE}'),
    ("session = 5", "session = 5: not a table; write [session] on a line of its own, and its keys below"),
    ("routes = []", "routes = []: not a table; write [routes] on a line of its own, and its keys below"),
    (
        "[listener]\nport = 25",
        "listener = {port = 25}: not a table; write [[listener]] on a line of its own, and its keys below",
    ),
    (
        "listener = [25]",
        "listener = 25: not a table; write [[listener]] on a line of its own, and its keys below",
    ),
    ("listener = []", "listener = []: write at least one [[listener]], or none for the default"),
    ("[process]\nuser = 1000", '[process] user = 1000: write a name, like "relayd"'),
    ('[process]\nuser = ""', '[process] user = "": write a name, like "relayd"'),
    ("[process]\ngroup = true", '[process] group = true: write a name, like "relayd"'),
    ('[relay]\nopen = "yes"', '[relay] open = "yes": write true or false'),
    ("[session]\nextended = 1", "[session] extended = 1: write true or false"),
    ("[log]\nfile = 2026-01-01", f"[log] file = 2026-01-01: {PATH}"),
    ('[relay]\nallow = "::1"', '[relay] allow = "::1": write a list of networks, like ["10.0.0.0/8"]'),
    ("[delivery]\nsource = 1", '[delivery] source = 1: write a list of addresses, like ["192.0.2.1"]'),
    (
        '[dns]\nnameservers = "::1"',
        '[dns] nameservers = "::1": write a list of addresses, like ["127.0.0.1:5300"]',
    ),
    (
        "[delivery]\nretry = []",
        '[delivery] retry = []: write a list of one duration or more, like ["5m", "1h"]',
    ),
    # Choices.
    ('[[listener]]\ntls = "on"', '[[listener]] tls = "on": write "starttls", "implicit" or "off"'),
    ("[[listener]]\nauth = true", '[[listener]] auth = true: write "off", "offered" or "required"'),
    ('[delivery]\neight_bit = "8"', '[delivery] eight_bit = "8": write "send" or "fail"'),
    ('[session]\nbare_newline = "x"', '[session] bare_newline = "x": write "normalize" or "reject"'),
    ('[delivery]\nrank = "speed"', '[delivery] rank = "speed": write "preference" or "latency"'),
    ('[delivery]\nin_doubt = "x"', '[delivery] in_doubt = "x": write "retry" or "hold"'),
    ("[delivery]\nip = 4", '[delivery] ip = 4: write "both", "4" or "6"'),
    ('[log]\nformat = "xml"', '[log] format = "xml": write "text" or "json"'),
    # Numbers out of range.
    ("[[listener]]\nport = 65536", "[[listener]] port = 65536: write a whole number from 0 to 65535"),
    ("[[listener]]\nport = 2.5", "[[listener]] port = 2.5: write a whole number from 0 to 65535"),
    (
        "[process]\nworkers = -1",
        "[process] workers = -1: write a whole number from 0 to 256; 0 is one a core",
    ),
    (
        "[session]\nmaximum_recipients = 99",
        (
            "[session] maximum_recipients = 99: "
            "write a whole number from 100 (RFC 5321 section 4.5.3.1.8) to 100000"
        ),
    ),
    ("[delivery]\nport = 0", "[delivery] port = 0: write a whole number from 1 to 65535"),
    (
        "[delivery]\nconnections_per_destination = 0",
        "[delivery] connections_per_destination = 0: write a whole number from 1 to 1000",
    ),
    # Durations and sizes.
    ('[session]\ntimeout = "5 parsecs"', f'[session] timeout = "5 parsecs": {DURATION}'),
    ("[session]\ntimeout = 300", f"[session] timeout = 300: {DURATION}"),
    ('[session]\ntimeout = "0s"', '[session] timeout = "0s": too short; more than "0s"'),
    ('[process]\nstop_timeout = "-1s"', f'[process] stop_timeout = "-1s": {DURATION}'),
    ('[delivery]\nlifetime = "5000d"', '[delivery] lifetime = "5000d": too long; at most "3650d"'),
    ('[delivery]\nretry = ["5m", 10]', f"[delivery] retry, entry 2 = 10: {DURATION}"),
    ("[dns]\ntimeout = true", f"[dns] timeout = true: {DURATION}"),
    ('[session]\nmaximum_message = "5 mb"', f'[session] maximum_message = "5 mb": {SIZE}'),
    ("[session]\nmaximum_message = true", f"[session] maximum_message = true: {SIZE}"),
    ("[session]\nmaximum_message = 0", "[session] maximum_message = 0: too small; at least 1 octet"),
    ("[spool]\nminimum_free = -1", f"[spool] minimum_free = -1: {SIZE}"),
    (
        '[spool]\nminimum_free = "9999999 GB"',
        '[spool] minimum_free = "9999999 GB": too large; at most "1000000 GB"',
    ),
    # Names, addresses and paths.
    ('hostname = ""', f'hostname = "": {HOST}'),
    ('hostname = "a_b.example"', f'hostname = "a_b.example": {HOST}'),
    ('hostname = "-a.example"', f'hostname = "-a.example": {HOST}'),
    ('hostname = "192.0.2.1"', f'hostname = "192.0.2.1": {HOST}'),
    ('hostname = "[2001:db8::1]"', f'hostname = "[2001:db8::1]": {HOST}'),
    ("hostname = 1", f"hostname = 1: {HOST}"),
    ('[delivery]\nehlo_name = "a..b"', f'[delivery] ehlo_name = "a..b": {HOST}'),
    ('[[listener]]\naddress = ""', f'[[listener]] address = "": {LISTENING}'),
    ('[[listener]]\naddress = "127.0.0.256"', f'[[listener]] address = "127.0.0.256": {LISTENING}'),
    ('[relay]\nallow = ["::1", "10.0.0.1/8"]', f'[relay] allow, entry 2 = "10.0.0.1/8": {NETWORK}'),
    ("[relay]\nallow = [10]", f"[relay] allow, entry 1 = 10: {NETWORK}"),
    ('[relay]\npostmaster = "ops"', f'[relay] postmaster = "ops": {MAILBOX}'),
    ('[relay]\npostmaster = "a..b@c.example"', f'[relay] postmaster = "a..b@c.example": {MAILBOX}'),
    ('[delivery]\nown_addresses = ["mx"]', f'[delivery] own_addresses, entry 1 = "mx": {ADDRESS}'),
    ('[delivery]\nsource = ["::1/128"]', f'[delivery] source, entry 1 = "::1/128": {ADDRESS}'),
    ('[dns]\nnameservers = ["dns.example"]', f'[dns] nameservers, entry 1 = "dns.example": {NAMESERVER}'),
    ('[dns]\nnameservers = ["::1", "[::1]:0"]', f'[dns] nameservers, entry 2 = "[::1]:0": {NAMESERVER}'),
    ('[spool]\ndirectory = ""', f'[spool] directory = "": {PATH}'),
    ('[process]\npid_file = "a\\u0000"', f'[process] pid_file = "a\\u0000": {PATH}'),
    # Values against each other.
    ('[relay]\nallow = ["0.0.0.0/0"]', f'[relay] allow = ["0.0.0.0/0"]: {EVERYONE}'),
    ('[relay]\nallow = ["::/0"]', f'[relay] allow = ["::/0"]: {EVERYONE}'),
    ('[relay]\nallow = ["::ffff:0:0/96"]', f'[relay] allow = ["0.0.0.0/0"]: {EVERYONE}'),
    ('[relay]\nallow = ["::/1", "8000::/1"]', f'[relay] allow = ["::/1", "8000::/1"]: {EVERYONE}'),
    ('[[listener]]\naddress = "0.0.0.0"', POSTMASTER),
    ('[[listener]]\n[[listener]]\naddress = "mx.example.org"', POSTMASTER),
    ('[[listener]]\ntls = "implicit"', f'[[listener]] tls = "implicit": {CERTIFICATE}'),
    ('[[listener]]\n[[listener]]\ntls = "implicit"', f'[[listener]] number 2: tls = "implicit": {CERTIFICATE}'),
    (
        '[[listener]]\nauth = "required"',
        '[[listener]] auth = "required": needs users; write a table [auth]',
    ),
    (
        f'[[listener]]\nauth = "required"\n{USERS}',
        f'[[listener]] auth = "required": {CLEAR}; write a table [tls]',
    ),
    (
        f'[[listener]]\nauth = "required"\ntls = "off"\n{USERS}\n{TLS}',
        f'[[listener]] auth = "required": {CLEAR}; write tls = "starttls" or "implicit"',
    ),
    (
        f'[[listener]]\nauth = "required"\n{USERS}\n{TLS}\n[session]\nextended = false',
        '[[listener]] auth = "required": AUTH is an extension, and [session] extended = false',
    ),
    (
        "[[listener]]\nproxy = true",
        '[[listener]] trusted: required with proxy = true; write whose word counts, like ["192.0.2.10"]',
    ),
    (
        '[[listener]]\nproxy = true\ntrusted = ["::/0"]',
        '[[listener]] trusted = ["::/0"]: everyone could claim any address; write the addresses of the proxies',
    ),
    ('[[listener]]\ntrusted = ["::1"]', '[[listener]] trusted = ["::1/128"]: needs proxy = true'),
    (
        '[[listener]]\n[[listener]]\naddress = "LOCALHOST"',
        'port = 25: two listeners at "LOCALHOST" have this port',
    ),
    ("[tls]", '[tls] certificate: required; write the path of a file, like "certificate"'),
    ("[tls]\ncertificate = 'a'", '[tls] key: required; write the path of a file, like "key"'),
    ("[auth]", '[auth] users: required; write the path of a file, like "users"'),
    ("[auth]\nusers = 1", f"[auth] users = 1: {PATH}"),
    # How values are shown.
    (
        f'[log]\nformat = "{"x" * 100}"',
        f'[log] format = "{"x" * 59}…: write "text" or "json"',
    ),
    (
        '[log]\nformat = "a\\"\\\\\\u001b\\u2028"',
        '[log] format = "a\\"\\\\\\u001b\\u2028": write "text" or "json"',
    ),
]


@pytest.mark.parametrize(("text", "line"), MISTAKES, ids=[line[:60] for _, line in MISTAKES])
def test_a_mistake_is_one_line_with_file_table_key_value_and_what_is_allowed(
    tmp_path: Path, text: str | bytes, line: str
) -> None:
    """The whole line, and nothing in it that a terminal would not show."""
    found = mistake(write(tmp_path, text))
    assert found == line
    assert found.isprintable()


def test_the_line_starts_with_the_file_as_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader can open what is named."""
    write(tmp_path, '[session]\ntimeout = "5 parsecs"')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        load(Path("etc/relayd.toml"))
    assert str(raised.value) == f'etc/relayd.toml: [session] timeout = "5 parsecs": {DURATION}'


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    """A missing file, and a directory, whatever their names hold."""
    assert mistake(tmp_path / "none.toml") == "cannot be read: No such file or directory"
    assert mistake(tmp_path) == "cannot be read: Is a directory"
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "a\nb")
    assert str(raised.value) == f"{tmp_path}/a\\nb: cannot be read: No such file or directory"


def test_warnings_name_what_deserves_a_second_look(tmp_path: Path) -> None:
    """A short host name, ranking by latency alone, an open relay, tables that no listener makes use of."""
    text = """
        hostname = "relay"
        [relay]
        allow = ["::/0"]
        open = true
        [delivery]
        rank = "latency"
        [tls]
        certificate = "chain.pem"
        key = "key.pem"
        [auth]
        users = "users"
        [metrics]
        listen = "0.0.0.0:9125"
        [[listener]]
        tls = "off"
    """
    assert warnings(load(write(tmp_path, text))) == [
        'hostname "relay" is not a fully qualified name; EHLO names this host by its address',
        "RFC 5321 section 5.1 wants preference first; the configuration ranks by latency only",
        "this is an open relay: [relay] allow holds every address, and open = true",
        "[metrics] listen is no loopback address: whoever reaches it reads how much mail goes where",
        "[tls] is not used: no listener offers TLS",
        "[auth] is not used: no listener offers AUTH, which needs TLS",
    ]


@pytest.mark.parametrize("hostname", ["relay.example.org", "[192.0.2.1]", "[IPv6:2001:db8::1]"])
def test_a_sound_configuration_has_no_warnings(tmp_path: Path, hostname: str) -> None:
    """Neither a full domain nor an address literal needs a second look."""
    assert warnings(load(write(tmp_path, f'hostname = "{hostname}"\n[relay]\nopen = true'))) == []


@pytest.mark.parametrize(
    "text",
    [
        f"{TLS}\n{USERS}",
        f'{TLS}\n{USERS}\n[[listener]]\ntls = "implicit"\nauth = "required"',
        f"{USERS}\nloopback_without_tls = true",
        f'{USERS}\nloopback_without_tls = true\n[[listener]]\ntls = "off"\nauth = "required"',
        f'{TLS}\n[session]\nextended = false\n[[listener]]\ntls = "implicit"',
    ],
)
def test_tables_that_a_listener_makes_use_of_need_no_second_look(tmp_path: Path, text: str) -> None:
    """Encryption, and passwords where they are heard."""
    assert warnings(load(write(tmp_path, f'hostname = "relay.example.org"\n{text}'))) == []


@pytest.mark.parametrize(
    ("written", "network"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/95", "::/95"),
        ("::ffff:0:0/95", None),
    ],
)
def test_an_ipv4_mapped_network_is_one_of_ipv4(written: str, network: str | None) -> None:
    """Clients' addresses are taken so, and a way around "everyone" there is not."""
    if network is None:
        with pytest.raises(ValueError, match=re.escape(NETWORK)):
            names.network(written)
    else:
        assert names.network(written) == ip_network(network)


@pytest.mark.parametrize("hostname", ["localhost", "localhost.localdomain", "mac.local"])
def test_a_name_of_the_local_network_is_not_fully_qualified(hostname: str) -> None:
    """A dot alone does not make a name that others can look up."""
    assert not names.is_qualified(hostname)


@pytest.mark.parametrize(
    ("found", "name"), [("mx.example.org", "mx.example.org"), ("my_host", "localhost"), ("", "localhost")]
)
def test_a_system_name_that_smtp_forbids_gives_way_to_localhost(found: str, name: str) -> None:
    """The defaults load on any machine."""
    assert names.own_name(found) == name


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::", False),
        ("mx", False),
    ],
)
def test_loopback_is_localhost_and_the_loopback_addresses(address: str, loopback: bool) -> None:
    """Other names may lead anywhere."""
    assert names.is_loopback(address) is loopback


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("500ms", 0.5), ("90s", 90), ("5m", 300), ("1.5h", 5400), ("5d", 432_000), (" 5 m ", 300), ("0s", 0)],
)
def test_a_duration_is_a_number_and_a_unit(written: str, seconds: float) -> None:
    """In seconds."""
    assert units.duration(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "5", "m", "5 M", "5min", "1h30m", ".5s", "1e3s", "inf s", "9" * 400 + "s", 5]
)
def test_anything_else_is_no_duration(written: object) -> None:
    """A unit that would be a guess is refused."""
    with pytest.raises(ValueError, match=re.escape(DURATION)):
        units.duration(written)


@pytest.mark.parametrize(
    ("written", "octets"),
    [
        (0, 0),
        (4096, 4096),
        ("7B", 7),
        ("1 KB", 1000),
        ("50 MB", 50_000_000),
        ("2GB", 2 * 10**9),
        ("1 KiB", 1024),
        ("1.5 MiB", 1_572_864),
        ("1 GiB", 2**30),
    ],
)
def test_a_size_is_a_number_of_octets_or_a_number_and_a_unit(written: str | int, octets: int) -> None:
    """MB is 10^6, MiB is 2^20."""
    assert units.size(written) == octets


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (3.9, "3s"), (300, "5m"), (7800, "2h 10m"), (356_400, "4d 3h")]
)
def test_a_duration_in_words_has_two_units_at_most(seconds: float, words: str) -> None:
    """For people, who do not count seconds."""
    assert units.in_words(seconds) == words


def test_the_shipped_file_means_the_defaults(tmp_path: Path) -> None:
    """It loads, and nothing in it but its place differs from an empty file."""
    path = write(tmp_path, SHIPPED.read_bytes())
    shipped = load(path)
    assert shipped == load(write(tmp_path, ""))
    assert load(SHIPPED).spool.directory == SHIPPED.parents[1] / "spool"


def test_the_shipped_file_shows_every_key_with_its_default() -> None:
    """Key by key; where the default is worked out, the text above an example says so."""
    shown = commented_keys()
    assert set(shown) == {"", "routes", LIMIT, ROUTE, *raw.TABLES}
    assert list(shown[LIMIT]) == [each.name for each in msgspec.structs.fields(raw.Limit)]
    dead_ends = {"error", "hold"}
    assert [*shown[ROUTE], *sorted(dead_ends)] == [each.name for each in msgspec.structs.fields(raw.Route)]
    assert set(shown[""]) == {"hostname"}
    for table, kind in raw.TABLES.items():
        # Its tables are an example below.
        fields = [each for each in msgspec.structs.fields(kind) if each.name != "limits"]
        assert list(shown[table]) == [each.name for each in fields], table
        for each in fields:
            default = each.default_factory() if each.default is msgspec.NODEFAULT else each.default
            value, text = shown[table][each.name]
            assert "Default:" in text if default is None else value == json.dumps(default), each.name


def test_the_shipped_file_still_loads_with_every_comment_taken_away(tmp_path: Path) -> None:
    """The defaults that it shows are the ones it has, and the examples are sound."""
    text = re.sub(r"^#(?=\S)", "", SHIPPED.read_text(), flags=re.MULTILINE)
    config, defaults = load(write(tmp_path, text)), load(write(tmp_path, ""))
    assert set(config.routes) == {"example.net", ".example.net", "*", "bank.example", "old.example", "example.com"}
    assert config.routes["example.com"].user == "relay@example.org"
    assert set(config.delivery.limits) == {"example.net"}
    process = dataclasses.replace(defaults.process, user="relayd", group="relayd")
    relay = dataclasses.replace(defaults.relay, postmaster="ops@example.org", origin="example.org")
    delivery = dataclasses.replace(
        defaults.delivery, ehlo_name="relay.example.org", delay_warning=14400.0, limits=config.delivery.limits
    )
    assert config == dataclasses.replace(
        defaults,
        hostname="relay.example.org",
        process=process,
        relay=relay,
        delivery=delivery,
        routes=config.routes,
        log=Log("text", tmp_path / "relayd.log"),
        metrics=Metrics("127.0.0.1", 9125),
        tls=Tls(tmp_path / "etc" / "relay.example.org.pem", tmp_path / "etc" / "relay.example.org.key"),
        auth=Auth(tmp_path / "etc" / "users", loopback_without_tls=False),
    )


def test_the_examples_in_the_shipped_file_can_be_copied(tmp_path: Path) -> None:
    """The listeners for mail programs and behind a proxy, with the tables that they need."""
    text = SHIPPED.read_text()
    examples = "\n".join(re.findall(r"^#    (.*)", text, flags=re.MULTILINE))
    whole = re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE)
    assert load(write(tmp_path, f"{whole}\n{examples}")).listeners == (
        Listener("localhost", 25),
        Listener("0.0.0.0", 587, tls="starttls", auth="required"),
        Listener("0.0.0.0", 465, tls="implicit", auth="required"),
        Listener("192.0.2.1", 2525, proxy=True, trusted=(ip_network("192.0.2.10/32"),)),
    )


def test_what_is_allowed_names_every_choice() -> None:
    """A choice that is added must be added to the words too."""
    for table, kind in raw.TABLES.items():
        for key, hint in get_type_hints(kind).items():
            if get_origin(hint) is Literal:
                quoted = re.findall(r'"(\w+)"', raw.allowed(table, key))
                assert quoted == list(get_args(hint)), key


def commented_keys() -> dict[str, dict[str, tuple[str, str]]]:
    """Table → key → (the value shown, the text above it), from the shipped file."""
    found: dict[str, dict[str, tuple[str, str]]] = {"": {}}
    table, text = "", ""
    for line in SHIPPED.read_text().splitlines():
        if header := re.fullmatch(r"#?\[+([^\[\]]+)\]+", line):
            table, text = header[1], ""
            found[table] = {}
        elif setting := re.fullmatch(r"#(\S+) = (.+)", line):
            found[table][setting[1]] = (setting[2], text)
        elif line.startswith("#"):
            text += line
        elif not line:
            text = ""
    return found
