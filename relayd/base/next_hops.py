"""Next hops: the entries of [routes] and [delivery.limits] as an operator writes them, made into values.

Refuses to look anything up, files too. Fails with ConfigError.
"""

import os.path
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from relayd.base import names, raw, units
from relayd.base.mistake import shown_key
from relayd.base.reading import Reading
from relayd.base.sections import Limit, Route, TlsMode

_URL = re.compile(r"(?i:smtp)://(?:\[([0-9A-Fa-f:.]+)\]|([^:/?#@\[\]]+))(?::([0-9]{1,5}))?", re.ASCII)
_ERROR = re.compile(r"5\.[0-9]{1,3}\.[0-9]{1,3} [\x20-\x7e]*[\x21-\x7e]", re.ASCII)
# RFC 5321 section 4.5.3.1.5: 512 octets a reply line, of which the address needs up to 256.
_LONGEST_ERROR = 240
_FORM = 'write "smtp://host" or "smtp://host:port", or a table with hosts'
_LOGIN = "write a table with hosts, user and password_file"
_NO_HOSTS = "hosts", "port", "tls", "user", "password_file", "rank"


def routes(reading: Reading, table: dict[str, Any], base: Path) -> dict[str, Route]:
    """By domain, ".domain" or "*", in lower case. Relative paths start at `base`."""
    found: dict[str, Route] = {}
    for written, target in table.items():
        key = shown_key(written)
        domain = reading.name("[routes]", written, target, _route_key)
        if domain in found:
            raise reading.fail("[routes]", key, target, "written twice; capital and small letters are the same")
        if isinstance(target, dict):
            label = f"[routes.{key}]"
            found[domain] = _table(reading, label, reading.entry(label, target, raw.Route), target, base)
        elif isinstance(target, str) and "@" in target:
            # The value is not shown: there may be a password in it.
            raise reading.fail("[routes]", key, None, f"a user has no place in it; {_LOGIN}")
        else:
            found[domain] = reading.value("[routes]", key, target, _url)
    return found


def limits(reading: Reading, table: dict[str, Any]) -> dict[str, Limit]:
    """By recipient domain or exchanger, which a route may name by its address; in lower case."""
    found: dict[str, Limit] = {}
    for written, limit in table.items():
        label = f"[delivery.limits.{shown_key(written)}]"
        name = reading.name("[delivery.limits]", written, limit, _name)
        if name in found:
            raise reading.fail(label, "", None, "written twice; capital and small letters are the same")
        if not isinstance(limit, dict):
            raise reading.fail(
                "[delivery.limits]", shown_key(written), limit, "not a table; write {connections = 2}"
            )
        read = reading.entry(label, limit, raw.Limit)
        if not limit:
            raise reading.fail(label, "", None, "says nothing; write connections, messages or rate")
        found[name] = Limit(
            read.connections, read.messages, reading.optional(label, "rate", read.rate, units.rate)
        )
    return found


def _url(written: Any) -> Route:
    match = _URL.fullmatch(written) if isinstance(written, str) else None
    if match and (names.is_address(match[1]) if match[1] else names.is_host(match[2])):
        port = int(match[3] or 25)
        if 0 < port < 65536:
            return Route((_as_compared(match[1] or match[2]),), port)
    text = written if isinstance(written, str) else ""
    if "://" in text and not text.lower().startswith("smtp://"):
        raise ValueError(f"only smtp:// is known; {_FORM}")
    raise ValueError(f"not a route; {_FORM}")


def _table(reading: Reading, label: str, table: raw.Route, written: dict[str, Any], base: Path) -> Route:
    if table.error is not None or table.hold:
        return _dead_end(reading, label, table, written)
    # One that is written twice is tried once.
    hosts = tuple(dict.fromkeys(reading.entries(label, "hosts", table.hosts or [], _host)))
    for key, needed in [("user", table.password_file), ("password_file", table.user)]:
        if needed is None and key in written:
            other = "password_file" if key == "user" else "user"
            raise reading.fail(label, key, written[key], f"needs {other}")
    if not hosts:
        if table.hosts is not None or not (table.tls or table.rank):
            raise reading.fail(label, "hosts", table.hosts, 'write a list of one host or more, like ["10.0.0.5"]')
        for key in ("port", "user"):
            if key in written:
                raise reading.fail(label, key, written[key], "needs hosts")
    tls = table.tls or ("opportunistic" if table.user is None else "verify")
    if table.user is not None and tls not in _safe_with_password(hosts):
        why = 'a password needs a server that is known; write tls = "verify"'
        raise reading.fail(label, "tls", tls, why)
    password_file = reading.optional(label, "password_file", table.password_file, names.path)
    return Route(
        hosts=hosts,
        port=table.port,
        tls=tls,
        user=reading.optional(label, "user", table.user, _user),
        password_file=None if password_file is None else Path(os.path.normpath(base / password_file)),
        rank=table.rank,
    )


def _dead_end(reading: Reading, label: str, table: raw.Route, written: dict[str, Any]) -> Route:
    """A route that leads nowhere, on purpose."""
    ending = "hold" if table.error is None else "error"
    for key in (*_NO_HOSTS, "hold" if ending == "error" else "error"):
        if written.get(key) not in (None, False):
            raise reading.fail(label, key, written[key], f"means nothing beside {ending}")
    return Route((), error=reading.optional(label, "error", table.error, _error), hold=table.hold)


def _safe_with_password(hosts: tuple[str, ...]) -> tuple[TlsMode, ...]:
    """Nobody listens between this host and itself."""
    return ("verify", "require", "off") if all(map(names.is_loopback, hosts)) else ("verify",)


def _route_key(written: str) -> str:
    if written == "*" or names.is_domain(written.removeprefix(".")):
        return written.lower()
    raise ValueError('not a domain; write "example.net", ".example.net" for all below it, or "*" for all')


def _name(written: str) -> str:
    if names.is_host(written):
        return _as_compared(written)
    raise ValueError('not a domain or an exchanger; write "example.net" or "mx.example.net"')


def _as_compared(host: str) -> str:
    """A name in lower case, an address in the one form that it has."""
    return str(ip_address(host)) if names.is_address(host) else host.lower()


def _host(written: Any) -> str:
    text = written if isinstance(written, str) else ""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if names.is_host(bare) if bare == text else names.is_address(bare):
        return _as_compared(bare)
    raise ValueError('not a host or an address; write one like "mail.example.net" or "10.0.0.5"; port is a key')


def _user(written: Any) -> str:
    if isinstance(written, str) and written and written.isprintable() and len(written.encode()) <= 255:
        return written
    raise ValueError('not a name; write one like "relay@example.org"')


def _error(written: Any) -> str:
    if isinstance(written, str) and len(written) <= _LONGEST_ERROR and _ERROR.fullmatch(written):
        return written
    raise ValueError(
        f'write a code of class 5 and a text of ASCII, {_LONGEST_ERROR} at most, like "5.1.2 no mail"'
    )
