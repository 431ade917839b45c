"""A sink that starts TLS: smtp-sink's counters, for mail that comes encrypted; smtp-sink has no TLS.

    python -m tests.bench.tls_sink ADDRESS PORT CERTIFICATE KEY

It takes whatever comes and prints how much it was as smtp-sink -c does, and ends when it is killed. It is no
example of a server: it trusts its clients.
"""

import asyncio
import ssl
import sys

from relayd.base.loop import run

_EHLO = b"250-sink\r\n250-PIPELINING\r\n"
_LARGEST_LINE = 1 << 20


class Sink:
    """All sessions, and how many messages they brought."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._count = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One session."""
        try:
            await self._talk(reader, writer)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_secure = False
        writer.write(b"220 sink\r\n")
        while line := await reader.readline():
            match line[:4].upper():
                case b"EHLO":
                    writer.write(_EHLO + (b"250 8BITMIME\r\n" if is_secure else b"250 STARTTLS\r\n"))
                case b"STAR":
                    writer.write(b"220 go on\r\n")
                    await writer.start_tls(self._context)
                    is_secure = True
                case b"DATA":
                    if not is_secure:
                        writer.write(b"554 not encrypted\r\n")
                        return
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    self._count += 1
                    print(f"mesg={self._count}", end="\r", flush=True)
                    writer.write(b"250 taken\r\n")
                case b"QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                case _:
                    writer.write(b"250 good\r\n")


async def _main(address: str, port: str, certificate: str, key: str) -> int:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(Sink(context).serve, address, int(port), limit=_LARGEST_LINE, backlog=4096)
    await server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(run(_main(*sys.argv[1:])))
