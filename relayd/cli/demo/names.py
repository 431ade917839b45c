"""A name server for the demonstration: it answers from a few records over UDP and knows nothing else."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

# By name (in lower case, with the last dot) and type.
Records = Mapping[tuple[str, str], Sequence[str]]

_TTL = 60


class NameServer(asyncio.DatagramProtocol):
    """Authoritative for all there is."""

    def __init__(self, records: Records) -> None:
        self._records = records

    @classmethod
    async def start(cls, records: Records, address: str) -> tuple[asyncio.DatagramTransport, int]:
        """Answer at the address; give the transport to close and the port."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: cls(records), local_addr=(address, 0))
        return transport, int(transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question; what is none gets nothing."""
        try:
            query = dns.message.from_wire(data)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        found = self._records.get((name, kind))
        if found is not None:
            answer.answer.append(dns.rrset.from_text_list(question.name, _TTL, "IN", kind, list(found)))
        elif not any(known == name for known, _ in self._records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), addr)
