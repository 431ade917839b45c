"""A free port: one number that can be listened on at several loopback addresses at once.

DNS names hosts, not ports, so the exchangers of one test differ in address and share a port. Where a single
address is enough, port 0 is better: nobody can take the port between the choice and its use.
"""

import random
import socket

# Below the range Linux takes the ports of outgoing connections from, so that none of them is in the way when
# a server goes down and comes up again.
_PORTS = range(10_000, 32_000)
_TRIES = 100


def free_port(*addresses: str) -> int:
    """A TCP port nobody uses at any of the addresses (127.0.0.1 by default); OSError where there is none."""
    for port in random.sample(_PORTS, _TRIES):
        if all(_is_free(address, port) for address in addresses or ("127.0.0.1",)):
            return port
    raise OSError(f"no free port at {', '.join(addresses)} in {_TRIES} tries")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
