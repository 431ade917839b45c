"""The configuration: relayd.toml read into the frozen values of `sections`.

Every mistake is a `ConfigError` of one line that names file, table, key, value and what is allowed. Refuses to
look at the machine, except for the host's name where none is configured, and to ask whether users, directories
or addresses exist.
"""

import dataclasses
import os.path
import re
import socket
import tomllib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from relayd.base import names, next_hops, raw, sections, units
from relayd.base.coherence import contradiction, warnings
from relayd.base.mistake import ConfigError
from relayd.base.names import is_loopback
from relayd.base.reading import Reading
from relayd.base.sections import Config

__all__ = ["Config", "ConfigError", "is_loopback", "load", "read", "warnings"]

# Nobody writes so much, and a device has no end.
_LARGEST = 4_000_000
_PORTION = 50_000
_PLACE = re.compile(r" - at `\$\.(\w+)(?:\[(\d+)\])?(?:\.(\w+))?`$")


def load(
    path: Path | None,
    *,
    spool: Path | None = None,
    addresses: Sequence[str] = (),
    port: int | None = None,
    text: str | None = None,
) -> Config:
    """Read a file, or the defaults when `path` is None (then the spool is ./spool); the rest overrides it.

    `addresses` replace the listeners' addresses and keep their ports, `port` replaces all ports, and `spool` is
    relative to the working directory. `text` is what stands in the file, where it was read already. Raises
    ConfigError.
    """
    if path is None:
        reader = _Reader("built-in defaults", {"spool": {"directory": "spool"}})
        base = Path.cwd()
    else:
        reader = _Reader(str(path), _parse(path, read(path) if text is None else text))
        base = path.absolute().parent
    file = reader.convert()
    written = reader.listeners(file)
    listeners = _overridden(written, addresses, port)
    config = reader.build(path, file, base, listeners, None if spool is None else _below(Path.cwd(), str(spool)))
    reader.check(config, written)
    return config


def read(path: Path) -> str:
    """What stands in the file; raises ConfigError."""
    try:
        with open(path, "rb") as file:
            # In portions: one read of so many octets takes so much memory first, whatever there is to read.
            portions = iter(lambda: file.read(_PORTION), b"")
            octets = b"".join(islice(portions, _LARGEST // _PORTION + 1))
        if len(octets) <= _LARGEST:
            return octets.decode("utf-8")
        why = f"no configuration: longer than {_LARGEST // 1_000_000} MB"
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        why = f"not UTF-8 at octet {error.start}"
    raise ConfigError(f"{path}: {why}")


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        why = f"not TOML: {error}"
    except (ValueError, RecursionError):
        # tomllib's own limits: a number of thousands of digits, brackets in brackets in brackets.
        why = "not TOML that can be read: a number too long or tables nested too deeply"
    raise ConfigError(f"{path}: {why}")


def _overridden(
    listeners: Sequence[sections.Listener], addresses: Sequence[str], port: int | None
) -> tuple[sections.Listener, ...]:
    line = _Reader("command line", {})
    ports = [each.port for each in listeners]
    if port is not None:
        if not 0 <= port <= 65535:
            raise line.fail("", "port", port, raw.allowed("listener", "port"))
        ports = [port] * len(listeners)
    replaced = [dataclasses.replace(each, port=number) for each, number in zip(listeners, ports, strict=True)]
    if addresses:
        checked = [line.value("", "address", address, names.listening) for address in addresses]
        replaced = [dataclasses.replace(each, address=address) for address in checked for each in replaced]
    if addresses or port is not None:
        # Two listeners that differed only in what was replaced are one now.
        replaced = list(dict.fromkeys(replaced))
    return tuple(replaced)


class _Reader(Reading):
    """One file's tables."""

    def __init__(self, source: str, tables: dict[str, Any]) -> None:
        super().__init__(source)
        self._tables = tables

    def convert(self) -> raw.File:
        """Check tables, keys, numbers and choices."""
        self.check_keys("", self._tables, raw.File.__struct_fields__)
        for name, kind in raw.TABLES.items():
            found = self._tables.get(name)
            for index, table in enumerate(found if isinstance(found, list) else [found]):
                if isinstance(table, dict):
                    self.check_keys(self._label(name, index), table, kind.__struct_fields__)
        try:
            return msgspec.convert(self._tables, raw.File)
        except msgspec.ValidationError as error:
            raise self._explain(str(error)) from None

    def _label(self, table: str, index: int = 0) -> str:
        if table != "listener":
            return f"[{table}]"
        found = self._tables.get(table)
        number = f" number {index + 1}:" if isinstance(found, list) and len(found) > 1 else ""
        return f"[[{table}]]{number}"

    def _explain(self, message: str) -> ConfigError:
        """msgspec says where; the value is fetched from the tables, and `raw` knows what is allowed."""
        place = _PLACE.search(message)
        if place is None:
            return ConfigError(f"{self.source}: {message}")
        table, index, key = place[1], int(place[2] or 0), place[3] or ""
        value = self._tables[table]
        if place[2]:
            value = value[index]
        if not key:
            return self.fail("", table, value, raw.allowed(table, key))
        return self.fail(self._label(table, index), key, value[key], raw.allowed(table, key))

    def listeners(self, file: raw.File) -> list[sections.Listener]:
        """Where the file says clients connect."""
        if not file.listener:
            raise self.fail("", "listener", [], "write at least one [[listener]], or none for the default")
        return [
            sections.Listener(
                self.value(self._label("listener", index), "address", each.address, names.listening),
                each.port,
                each.tls,
                each.auth,
                each.proxy,
                self.entries(self._label("listener", index), "trusted", each.trusted, names.network),
            )
            for index, each in enumerate(file.listener)
        ]

    def build(
        self,
        source: Path | None,
        file: raw.File,
        base: Path,
        listeners: tuple[sections.Listener, ...],
        spool: Path | None,
    ) -> Config:
        """The values, not yet checked against each other. Relative paths start at `base`."""
        process, session, log = file.process, file.session, file.log
        directory = self.optional("[spool]", "directory", file.spool.directory, names.path)
        spool = spool or _below(base, directory or _usual_spool(base))
        pid_file = self.optional("[process]", "pid_file", process.pid_file, names.path)
        log_file = self.optional("[log]", "file", log.file, names.path)
        maximum = self.value("[session]", "maximum_message", session.maximum_message, units.some_size)
        free = self.optional("[spool]", "minimum_free", file.spool.minimum_free, units.size)
        hostname = self.optional("", "hostname", file.hostname, names.hostname)
        return Config(
            source=source,
            hostname=names.own_name(socket.getfqdn()) if hostname is None else hostname,
            listeners=listeners,
            process=sections.Process(
                user=process.user,
                group=process.group,
                workers=process.workers,
                pin_workers=process.pin_workers,
                pid_file=spool / "relayd.pid" if pid_file is None else _below(base, pid_file),
                stop_timeout=self.value("[process]", "stop_timeout", process.stop_timeout, units.duration),
                drain_timeout=self.value("[process]", "drain_timeout", process.drain_timeout, units.duration),
            ),
            spool=sections.Spool(directory=spool, minimum_free=max(10**9, 4 * maximum) if free is None else free),
            relay=sections.Relay(
                allow=self.entries("[relay]", "allow", file.relay.allow, names.network),
                open=file.relay.open,
                postmaster=self.optional("[relay]", "postmaster", file.relay.postmaster, names.mailbox),
                origin=self.optional("[relay]", "origin", file.relay.origin, names.domain),
                messages_per_hour=file.relay.messages_per_hour,
                recipients_per_hour=file.relay.recipients_per_hour,
            ),
            session=sections.Session(
                timeout=self.value("[session]", "timeout", session.timeout, units.interval),
                minimum_rate=self.value("[session]", "minimum_rate", session.minimum_rate, units.size),
                per_client=session.per_client,
                maximum_message=maximum,
                maximum_recipients=session.maximum_recipients,
                bare_newline=session.bare_newline,
                extended=session.extended,
            ),
            delivery=self._delivery(file.delivery),
            routes=next_hops.routes(self, file.routes, base),
            dns=sections.Dns(
                nameservers=self.entries("[dns]", "nameservers", file.dns.nameservers, names.nameserver),
                timeout=self.value("[dns]", "timeout", file.dns.timeout, units.interval),
            ),
            log=sections.Log(format=log.format, file=None if log_file is None else _below(base, log_file)),
            metrics=self._metrics(file.metrics),
            health=sections.Health(
                overdue=self.value("[health]", "overdue", file.health.overdue, units.interval),
                window=self.value("[health]", "window", file.health.window, units.interval),
                failures=file.health.failures,
                restarts=file.health.restarts,
            ),
            tls=None if file.tls is None else self._tls(file.tls, base),
            auth=None if file.auth is None else self._auth(file.auth, base),
        )

    def _metrics(self, table: raw.Metrics) -> sections.Metrics | None:
        place = self.optional("[metrics]", "listen", table.listen, names.place)
        return None if place is None else sections.Metrics(*place)

    def _tls(self, table: raw.Tls, base: Path) -> sections.Tls:
        return sections.Tls(
            certificate=_below(base, self.required("[tls]", "certificate", table.certificate)),
            key=_below(base, self.required("[tls]", "key", table.key)),
        )

    def _auth(self, table: raw.Auth, base: Path) -> sections.Auth:
        return sections.Auth(
            users=_below(base, self.required("[auth]", "users", table.users)),
            loopback_without_tls=table.loopback_without_tls,
        )

    def _delivery(self, table: raw.Delivery) -> sections.Delivery:
        return sections.Delivery(
            port=table.port,
            rank=table.rank,
            private_exchangers=table.private_exchangers,
            own_addresses=self.entries("[delivery]", "own_addresses", table.own_addresses, names.address),
            connections_per_destination=table.connections_per_destination,
            retry=self.entries("[delivery]", "retry", table.retry, units.interval),
            lifetime=self.value("[delivery]", "lifetime", table.lifetime, units.duration),
            delay_warning=self.optional("[delivery]", "delay_warning", table.delay_warning, units.interval),
            in_doubt=table.in_doubt,
            eight_bit=table.eight_bit,
            ip=table.ip,
            source=self.entries("[delivery]", "source", table.source, names.address),
            ehlo_name=self.optional("[delivery]", "ehlo_name", table.ehlo_name, names.hostname),
            limits=next_hops.limits(self, table.limits),
        )

    def check(self, config: Config, written: Sequence[sections.Listener]) -> None:
        """Hold the values against each other; `written` are the file's listeners."""
        found = contradiction(config, written)
        if found is not None:
            label = self._label(found.table, found.index) if found.table else ""
            raise self.fail(label, found.key, found.value, found.why)


def _usual_spool(base: Path) -> str:
    # A checkout has etc/ and spool/ side by side. For a system's /etc that would be a folder in its root.
    is_systems = Path(os.path.normpath(base)).is_relative_to("/etc")
    return "/var/spool/relayd" if is_systems else "../spool"


def _below(base: Path, path: str) -> Path:
    # Without `..` but with links as they are: a spool that is a link must be seen as one.
    return Path(os.path.normpath(base / path))
