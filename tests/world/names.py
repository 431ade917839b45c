"""A name server: authoritative DNS on a loopback port, over UDP and TCP, from zone lines in a test.

It holds all the data there is: it never asks another server, and a name without a line does not exist. A
packet that is not one plain question is dropped. A zone line that is no record raises ValueError with the
line, at the call that brought it.
"""

import enum
import selectors
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset

_Zone = dict[tuple[dns.name.Name, dns.rdatatype.RdataType], dns.rrset.RRset]

_CNAME = dns.rdatatype.CNAME
_SOA = dns.rdatatype.SOA
# Where the text has no SOA of its own, negative answers may be cached for one second.
_ROOT_SOA = dns.rrset.from_text(".", 1, "IN", "SOA", ". . 1 3600 600 86400 1")
_SMALLEST_PAYLOAD = 512
_PORT_TRIES = 20
_SEND_TIMEOUT = 5.0


class Fault(enum.Enum):
    """What a name server may do to a question instead of answering it from its zones."""

    SILENCE = "no answer"
    SERVFAIL = "SERVFAIL"
    REFUSED = "REFUSED"
    FORMERR = "FORMERR"
    TRUNCATE = "TC and no records over UDP, everything over TCP"
    TRUNCATE_THEN_SILENCE = "TC over UDP, nothing over TCP"
    TRUNCATE_THEN_CLOSE = "TC over UDP, and TCP is closed"
    NOISE = "octets that are no answer"
    ANOTHER_ID = "an answer to a question that was not asked"
    ANOTHER_NAME = "the records of the name, under another name"
    ALIAS_ONLY = "the alias, and not what it leads to"
    NOTHING = "no records, and no SOA that says for how long"


_RCODES = {
    Fault.SERVFAIL: dns.rcode.SERVFAIL,
    Fault.REFUSED: dns.rcode.REFUSED,
    Fault.FORMERR: dns.rcode.FORMERR,
}
_TRUNCATING = (Fault.TRUNCATE, Fault.TRUNCATE_THEN_SILENCE, Fault.TRUNCATE_THEN_CLOSE)


class NameServer:
    """Answers as long as its context lasts; `address` is where.

    `zones` has one record a line, in the words of a master file (RFC 1035 section 5.1) and all of them there:
    "example.test. 60 IN MX 10 fast.example.test.". Indentation and comments after ";" mean nothing.
    """

    def __init__(self, zones: str, address: str = "127.0.0.1", port: int = 0) -> None:
        self._zone = _parse(zones)
        self._lock = threading.Lock()
        self._queries: list[tuple[str, str]] = []
        self._faults: dict[tuple[dns.name.Name, str], Fault] = {}
        self._udp, self._tcp = _bind(address, port)
        self.address: tuple[str, int] = (address, self._udp.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="name server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering; the thread has ended and the port is free when this returns."""
        self._waker.close()
        if self._thread.is_alive():
            self._thread.join()
        for each in (self._udp, self._tcp, self._wake):
            each.close()
        self._selector.close()

    @property
    def queries(self) -> list[tuple[str, str]]:
        """Every question so far, oldest first, as (name in lower case with the last dot, type)."""
        with self._lock:
            return list(self._queries)

    def replace(self, zones: str) -> None:
        """Answer from these lines from now on, and forget the old ones; faults stay."""
        zone = _parse(zones)
        with self._lock:
            self._zone = zone

    def silence(self, name: str) -> None:
        """Never answer a question for this name."""
        self.misbehave(name, Fault.SILENCE)

    def servfail(self, name: str) -> None:
        """Answer SERVFAIL for this name."""
        self.misbehave(name, Fault.SERVFAIL)

    def truncate(self, name: str) -> None:
        """Answer for this name with TC and no records over UDP (RFC 1035 section 4.1.1), in full over TCP."""
        self.misbehave(name, Fault.TRUNCATE)

    def misbehave(self, name: str, fault: Fault, kind: str = "") -> None:
        """Do so for this name, and this type of record only where one is given."""
        with self._lock:
            self._faults[dns.name.from_text(name), kind] = fault

    def restore(self, name: str) -> None:
        """Answer for this name as the zone says again."""
        restored = dns.name.from_text(name)
        with self._lock:
            self._faults = {key: fault for key, fault in self._faults.items() if key[0] != restored}

    def _serve(self) -> None:
        self._watch(self._udp, self._answer_datagram)
        self._watch(self._tcp, self._accept)
        self._selector.register(self._wake, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wake:
                    self._drop_connections()
                    return
                ready: Callable[[], None] = key.data
                ready()

    def _watch(self, readable: socket.socket, ready: Callable[[], None]) -> None:
        self._selector.register(readable, selectors.EVENT_READ, ready)

    def _drop_connections(self) -> None:
        lasting = (self._udp, self._tcp, self._wake)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket) and key.fileobj not in lasting:
                key.fileobj.close()

    def _answer_datagram(self) -> None:
        wire, peer = self._udp.recvfrom(65_535)
        reply = self._reply(wire, over_tcp=False)
        if reply is not None:
            self._udp.sendto(reply, peer)

    def _accept(self) -> None:
        connection, _ = self._tcp.accept()
        connection.settimeout(_SEND_TIMEOUT)
        received = bytearray()
        self._watch(connection, lambda: self._read(connection, received))

    def _read(self, connection: socket.socket, received: bytearray) -> None:
        """Answer what is whole of this connection's questions, each with two octets of length before it."""
        try:
            chunk = connection.recv(65_535)
            received += chunk
            while len(received) >= 2 and len(received) >= (end := 2 + int.from_bytes(received[:2])):
                reply = self._reply(bytes(received[2:end]), over_tcp=True)
                del received[:end]
                if reply is not None:
                    connection.sendall(len(reply).to_bytes(2) + reply)
        except OSError:
            chunk = b""
        if not chunk:
            self._selector.unregister(connection)
            connection.close()

    def _reply(self, wire: bytes, over_tcp: bool) -> bytes | None:
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if query.opcode() != dns.opcode.QUERY or query.flags & dns.flags.QR or len(query.question) != 1:
            return None
        question = query.question[0]
        with self._lock:
            kind = dns.rdatatype.to_text(question.rdtype)
            self._queries.append((question.name.canonicalize().to_text(), kind))
            fault = self._faults.get((question.name, kind), self._faults.get((question.name, "")))
            zone = self._zone
        if fault is Fault.SILENCE or (over_tcp and fault is Fault.TRUNCATE_THEN_SILENCE):
            return None
        if over_tcp and fault is Fault.TRUNCATE_THEN_CLOSE:
            raise OSError(fault.value)
        if fault is Fault.NOISE:
            # The ID is right, and nothing that follows.
            return wire[:2] + b"\xff" * 40
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if fault in _RCODES:
            response.set_rcode(_RCODES[fault])
        elif fault in _TRUNCATING and not over_tcp:
            response.flags |= dns.flags.TC
        elif fault is not Fault.NOTHING:
            _fill(response, zone, question.name, question.rdtype)
        if fault is Fault.ANOTHER_ID:
            response.id ^= 1
        elif fault is Fault.ANOTHER_NAME:
            another = dns.name.from_text("another.test.")
            response.answer = [dns.rrset.from_rdata_list(another, 60, list(each)) for each in response.answer]
        elif fault is Fault.ALIAS_ONLY:
            response.answer = [each for each in response.answer if each.rdtype == _CNAME]
            response.authority.clear()
        limit = 65_535 if over_tcp else max(_SMALLEST_PAYLOAD, query.payload)
        return response.to_wire(max_size=limit, prefer_truncation=True)


def _fill(response: dns.message.Message, zone: _Zone, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> None:
    """Put what the zone has for the question into the response, aliases followed (RFC 1034 section 4.3.2)."""
    followed = set()
    while name not in followed:
        followed.add(name)
        records = zone.get((name, kind))
        if records is not None:
            response.answer.append(records)
            return
        alias = zone.get((name, _CNAME))
        if alias is None:
            # The code is about the last name of the chain (RFC 6604 section 3); the SOA says how long it
            # holds (RFC 2308).
            if not _exists(zone, name):
                response.set_rcode(dns.rcode.NXDOMAIN)
            response.authority.append(_soa(zone, name))
            return
        response.answer.append(alias)
        name = alias[0].target


def _exists(zone: _Zone, name: dns.name.Name) -> bool:
    """A name that only has names below it exists too, without records (RFC 8020)."""
    return any(owner.is_subdomain(name) for owner, _ in zone)


def _soa(zone: _Zone, name: dns.name.Name) -> dns.rrset.RRset:
    while (name, _SOA) not in zone:
        if name == dns.name.root:
            return _ROOT_SOA
        name = name.parent()
    return zone[name, _SOA]


def _parse(zones: str) -> _Zone:
    zone: _Zone = {}
    for line in filter(None, map(str.strip, zones.splitlines())):
        if line.startswith(";"):
            continue
        try:
            name, ttl, kind_of_data, kind, data = line.split(None, 4)
            records = dns.rrset.from_text_list(
                name, int(ttl), kind_of_data, kind, [data], origin=dns.name.root, relativize=False
            )
        except (ValueError, dns.exception.DNSException) as error:
            raise ValueError(f"not a record: {line}") from error
        known = zone.setdefault(
            (records.name, records.rdtype), dns.rrset.RRset(records.name, records.rdclass, records.rdtype)
        )
        for record in records:
            known.add(record, records.ttl)
    return zone


def _bind(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket of the same port."""
    for _ in range(_PORT_TRIES):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            udp.bind((address, port))
            tcp.bind(udp.getsockname())
            tcp.listen()
            return udp, tcp
        except OSError:
            udp.close()
            tcp.close()
            if port:
                raise
    raise OSError(f"no port at {address} is free for both UDP and TCP")
