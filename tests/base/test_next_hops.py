"""Next hops: [routes] and [delivery.limits], every form that is right and every class of mistake in one line."""

from pathlib import Path

import pytest

from relayd.base import units
from relayd.base.config import Config, ConfigError, load, warnings
from relayd.base.sections import Limit, Route

FORM = 'write "smtp://host" or "smtp://host:port", or a table with hosts'
DOMAIN = 'not a domain; write "example.net", ".example.net" for all below it, or "*" for all'
HOSTS = 'write a list of one host or more, like ["10.0.0.5"]'
KNOWN = (
    "unknown key; known: hosts, port, tls, user, password_file, rank, error, hold; a domain is written in quotes"
)
TWICE = "written twice; capital and small letters are the same"
HOST = 'not a host or an address; write one like "mail.example.net" or "10.0.0.5"; port is a key'
ERROR = 'write a code of class 5 and a text of ASCII, 240 at most, like "5.1.2 no mail"'
TABLES = 'write tables, like [delivery.limits."example.net"], and their keys below'
RATE = 'not a rate; write a number, a slash and s, min, h or d, like "100/min"'
SECRET = 'a password needs a server that is known; write tls = "verify"'
LOGIN = 'user = "u"\npassword_file = "p"\n'


def read(directory: Path, text: str) -> Config:
    """What a file means."""
    path = directory / "relayd.toml"
    path.write_text(f'hostname = "relay.example.org"\n{text}')
    return load(path)


def route(directory: Path, text: str) -> Route:
    """What the keys of a route's table mean."""
    return read(directory, f'[routes."example.net"]\n{text}').routes["example.net"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("smtp://mail.example.org", Route(("mail.example.org",))),
        ("SMTP://10.0.0.5:2525", Route(("10.0.0.5",), 2525)),
        ("smtp://Mail.Example.ORG", Route(("mail.example.org",))),
        ("smtp://[2001:DB8:0::1]", Route(("2001:db8::1",))),
        ("smtp://[2001:db8::1]:26", Route(("2001:db8::1",), 26)),
    ],
)
def test_a_route_may_be_a_url(tmp_path: Path, written: str, value: Route) -> None:
    """The short form: one host, and the port."""
    assert read(tmp_path, f'[routes]\n"example.net" = "{written}"').routes == {"example.net": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('hosts = ["a.example"]', Route(("a.example",))),
        ('hosts = ["a.example", "10.0.0.5", "::1", "[::2]"]', Route(("a.example", "10.0.0.5", "::1", "::2"))),
        ('hosts = ["A.example", "a.Example", "::1", "[0:0::1]"]', Route(("a.example", "::1"))),
        ('hosts = ["a"]\nport = 2525\ntls = "off"\nrank = "latency"', Route(("a",), 2525, "off", rank="latency")),
        ('tls = "require"', Route((), tls="require")),
        ('rank = "latency"', Route((), rank="latency")),
        ('error = "5.1.2 nobody reads mail here"', Route((), error="5.1.2 nobody reads mail here")),
        ("hold = true", Route((), hold=True)),
        ('error = "5.7.1 no"\nhold = false', Route((), error="5.7.1 no")),
    ],
)
def test_a_route_may_be_a_table(tmp_path: Path, text: str, value: Route) -> None:
    """Several hosts, how they are used, or what becomes of the mail otherwise."""
    assert route(tmp_path, text) == value


def test_a_password_implies_a_verified_server(tmp_path: Path) -> None:
    """It is said to nobody else; its file's path is relative to the configuration."""
    assert route(
        tmp_path, 'hosts = ["a.example"]\nuser = "relay@example.org"\npassword_file = "x/../secret"'
    ) == Route(("a.example",), tls="verify", user="relay@example.org", password_file=tmp_path / "secret")


@pytest.mark.parametrize("tls", ["off", "require", "verify"])
def test_a_password_for_this_host_itself_needs_no_tls(tmp_path: Path, tls: str) -> None:
    """Nobody listens in between, and no authority certifies loopback."""
    read_route = route(tmp_path, f'{LOGIN}hosts = ["127.0.0.1", "::1", "localhost"]\ntls = "{tls}"')
    assert (read_route.tls, read_route.user) == (tls, "u")


@pytest.mark.parametrize(
    "text",
    [
        'hosts = ["smtp://relay:tr0ub4dor@mail.example.net"]',
        'hosts = ["relay:tr0ub4dor@mail.example.net"]',
        'hosts = "smtp://relay:tr0ub4dor@mail.example.net"',
        'url = "smtp://relay@example.org:tr0ub4dor@mail.example.net"',
        'password = "tr0ub4dor"',
        "hosts = [{url = 'smtp://relay:tr0ub4dor@mail.example.net'}]",
    ],
)
def test_a_password_in_the_wrong_place_is_not_shown(tmp_path: Path, text: str) -> None:
    """The error goes to the log too, when the configuration is read again."""
    with pytest.raises(ConfigError) as caught:
        route(tmp_path, text)
    assert "tr0ub4dor" not in str(caught.value)
    assert '[routes."example.net"]' in str(caught.value)


def test_domains_are_in_lower_case_and_tables_may_be_in_line(tmp_path: Path) -> None:
    """As they are compared."""
    text = '[routes]\n"Example.NET" = {hosts = ["a"]}\n".Example.net" = {hold = true}\n"*" = "smtp://b"'
    assert list(read(tmp_path, text).routes) == ["example.net", ".example.net", "*"]


def test_limits_are_by_domain_or_exchanger(tmp_path: Path) -> None:
    """Each key alone or all of them; the rate in messages a second."""
    text = """
    [delivery.limits."Example.net"]
    connections = 2
    messages = 10
    rate = "120/min"
    [delivery.limits."mx.hosting.example"]
    rate = "5/s"
    [delivery.limits."10.0.0.5"]
    connections = 3
    """
    assert read(tmp_path, text).delivery.limits == {
        "example.net": Limit(connections=2, messages=10, rate=2.0),
        "mx.hosting.example": Limit(rate=5.0),
        "10.0.0.5": Limit(connections=3),
    }


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("5/s", 5.0),
        ("100/min", 100 / 60),
        (" 36 / h ", 0.01),
        ("1/d", 1 / 86400),
        ("0.5/s", 0.5),
        ("1000000/s", 1e6),
    ],
)
def test_a_rate_is_a_number_and_a_unit_of_time(written: str, rate: float) -> None:
    """In messages a second."""
    assert units.rate(written) == rate


@pytest.mark.parametrize(
    "written", [5, "5", "5/", "/s", "5/m", "-5/s", "5/S", "1e3/s", "\u0665/s", "5/s x", None, True]
)
def test_anything_else_is_no_rate(written: object) -> None:
    """A bare number has no unit; "m" might be a month."""
    with pytest.raises(ValueError, match="not a rate"):
        units.rate(written)


@pytest.mark.parametrize("written", ["0/s", "0.5/d", "1000001/s", "999999999/s"])
def test_a_rate_has_bounds(written: str) -> None:
    """Beyond them it is a slip of the hand, and none at all would never send."""
    with pytest.raises(ValueError, match="too slow or too fast"):
        units.rate(written)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # The key.
        ('[routes]\n"*.a" = "smtp://b"', f'[routes] "*.a" = "smtp://b": {DOMAIN}'),
        ('[routes]\n"[192.0.2.1]" = "smtp://b"', f'[routes] "[192.0.2.1]" = "smtp://b": {DOMAIN}'),
        (
            '[routes]\n"a.example" = "smtp://b"\n"A.example" = "smtp://c"',
            f'[routes] "A.example" = "smtp://c": {TWICE}',
        ),
        (
            '[routes]\na.example = "smtp://b"',
            f'[routes.a] example = "smtp://b": {KNOWN}',
        ),
        (
            "[routes.a.example]\nhold = true",
            f"[routes.a] example = {{hold = true}}: {KNOWN}",
        ),
        # The URL.
        ('[routes]\n"*" = "smtps://b"', f'[routes] "*" = "smtps://b": only smtp:// is known; {FORM}'),
        (
            '[routes]\n"*" = "smtp://u:p@b"',
            '[routes] "*": a user has no place in it; write a table with hosts, user and password_file',
        ),
        ('[routes]\n"*" = "b:25"', f'[routes] "*" = "b:25": not a route; {FORM}'),
        ('[routes]\n"*" = "smtp://b:0"', f'[routes] "*" = "smtp://b:0": not a route; {FORM}'),
        ('[routes]\n"*" = "smtp://b:65536"', f'[routes] "*" = "smtp://b:65536": not a route; {FORM}'),
        ('[routes]\n"*" = "smtp://b/x"', f'[routes] "*" = "smtp://b/x": not a route; {FORM}'),
        ('[routes]\n"*" = "smtp://::1"', f'[routes] "*" = "smtp://::1": not a route; {FORM}'),
        ('[routes]\n"*" = "smtp://b\\nc"', f'[routes] "*" = "smtp://b\\nc": not a route; {FORM}'),
        ('[routes]\n"*" = 25', f'[routes] "*" = 25: not a route; {FORM}'),
        ('[routes]\n"*" = ["b"]', f'[routes] "*" = ["b"]: not a route; {FORM}'),
        # The table.
        ('[routes."*"]', f'[routes."*"] hosts: {HOSTS}'),
        ('[routes."*"]\nhosts = []', f'[routes."*"] hosts = []: {HOSTS}'),
        (
            '[routes."*"]\nhosts = "b"',
            '[routes."*"] hosts = "b": write a list of hosts, like ["10.0.0.5", "mail.example.net"]',
        ),
        ('[routes."*"]\nhosts = ["b", "c:25"]', f'[routes."*"] hosts, entry 2 = "c:25": {HOST}'),
        ('[routes."*"]\nhosts = ["[b]"]', f'[routes."*"] hosts, entry 1 = "[b]": {HOST}'),
        ('[routes."*"]\nhosts = ["10.0.0.256"]', f'[routes."*"] hosts, entry 1 = "10.0.0.256": {HOST}'),
        ('[routes."*"]\nhosts = [25]', f'[routes."*"] hosts, entry 1 = 25: {HOST}'),
        ('[routes."*"]\nhost = "b"', '[routes."*"] host = "b": unknown key; did you mean hosts?'),
        (
            '[routes."*"]\nhosts = ["b"]\nport = "25"',
            '[routes."*"] port = "25": write a whole number from 1 to 65535',
        ),
        (
            '[routes."*"]\nhosts = ["b"]\ntls = "maybe"',
            '[routes."*"] tls = "maybe": write "opportunistic", "require", "verify" or "off"',
        ),
        (
            '[routes."*"]\nhosts = ["b"]\nrank = "best"',
            '[routes."*"] rank = "best": write "preference" or "latency"',
        ),
        ('[routes."*"]\npassword = "secret"', '[routes."*"] password: unknown key; did you mean password_file?'),
        ('[routes."*"]\nhold = 1', '[routes."*"] hold = 1: write true or false'),
        ('[routes."*"]\ntls = "verify"\nport = 26', '[routes."*"] port = 26: needs hosts'),
        # Who sends.
        (f'[routes."*"]\n{LOGIN}tls = "verify"', '[routes."*"] user = "u": needs hosts'),
        ('[routes."*"]\nhosts = ["b"]\nuser = "u"', '[routes."*"] user = "u": needs password_file'),
        ('[routes."*"]\nhosts = ["b"]\npassword_file = "p"', '[routes."*"] password_file = "p": needs user'),
        *(
            (f'[routes."*"]\n{LOGIN}hosts = ["b"]\ntls = "{tls}"', f'[routes."*"] tls = "{tls}": {SECRET}')
            for tls in ("opportunistic", "require", "off")
        ),
        (
            f'[routes."*"]\n{LOGIN}hosts = ["127.0.0.1", "b"]\ntls = "off"',
            f'[routes."*"] tls = "off": {SECRET}',
        ),
        (
            f'[routes."*"]\n{LOGIN}hosts = ["::1"]\ntls = "opportunistic"',
            f'[routes."*"] tls = "opportunistic": {SECRET}',
        ),
        (
            '[routes."*"]\nhosts = ["b"]\nuser = "a\\u0000b"\npassword_file = "p"',
            '[routes."*"] user = "a\\u0000b": not a name; write one like "relay@example.org"',
        ),
        # Dead ends.
        *(
            (f'[routes."*"]\nerror = "{text}"', f'[routes."*"] error = "{text}": {ERROR}')
            for text in ("no", "4.1.2 later", "5.1.2", "5.1.2 ", "5.1.2 naïve", "5.1.2 a\\r\\nb")
        ),
        ('[routes."*"]\nerror = 550', f'[routes."*"] error = 550: {ERROR}'),
        ('[routes."*"]\nerror = "5.1.2 no"\nhold = true', '[routes."*"] hold = true: means nothing beside error'),
        ('[routes."*"]\nhold = true\nhosts = ["b"]', '[routes."*"] hosts = ["b"]: means nothing beside hold'),
        ('[routes."*"]\nhold = true\ntls = "off"', '[routes."*"] tls = "off": means nothing beside hold'),
        # Limits.
        (
            "[delivery]\nlimits = 5",
            '[delivery] limits = 5: write tables, like [delivery.limits."example.net"], and their keys below',
        ),
        ('[delivery.limits]\n"a.b" = 5', '[delivery.limits] "a.b" = 5: not a table; write {connections = 2}'),
        (
            '[delivery.limits."*"]\nrate = "5/s"',
            '[delivery.limits] "*" = {rate = "5/s"}: '
            'not a domain or an exchanger; write "example.net" or "mx.example.net"',
        ),
        (
            '[delivery.limits."a.b"]\nrate = "5/s"\n[delivery.limits."A.b"]\nrate = "5/s"',
            f'[delivery.limits."A.b"]: {TWICE}',
        ),
        ('[delivery.limits."a.b"]', '[delivery.limits."a.b"]: says nothing; write connections, messages or rate'),
        ('[delivery.limits."a.b"]\nrate = "5"', f'[delivery.limits."a.b"] rate = "5": {RATE}'),
        (
            '[delivery.limits."a.b"]\nconnections = 0',
            '[delivery.limits."a.b"] connections = 0: write a whole number from 1 to 1000',
        ),
        (
            '[delivery.limits."a.b"]\nmessages = 2.5',
            '[delivery.limits."a.b"] messages = 2.5: write a whole number from 1 to 1000000',
        ),
        (
            '[delivery.limits."a.b"]\nmesages = 2',
            '[delivery.limits."a.b"] mesages = 2: unknown key; did you mean messages?',
        ),
        (
            "[delivery.limits.a.b]\nmessages = 2",
            "[delivery.limits.a] b = {messages = 2}: "
            "unknown key; known: connections, messages, rate; a domain is written in quotes",
        ),
    ],
)
def test_a_mistake_is_one_line_with_table_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, line: str
) -> None:
    """What is written wrongly is named where it stands."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text)
    assert str(raised.value).removeprefix(f"{tmp_path / 'relayd.toml'}: ") == line


def test_ranking_a_domains_exchangers_by_latency_deserves_a_second_look(tmp_path: Path) -> None:
    """RFC 5321 section 5.1; the hosts of a route have no preference."""
    text = '[routes."a.b"]\nrank = "latency"\n[routes."c.d"]\nhosts = ["e"]\nrank = "latency"'
    assert warnings(read(tmp_path, text)) == [
        'RFC 5321 section 5.1 wants preference first; [routes."a.b"] ranks by latency only'
    ]
