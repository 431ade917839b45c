"""Names: hosts, addresses, networks, mailboxes and paths as an operator writes them.

Refuses to look anything up: a name is judged by its form alone. Fails with ValueError, which says what is allowed.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_address, ip_network

from relayd.base.sections import IP, Network

_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_DOMAIN = re.compile(rf"(?=.{{1,255}}\Z)(?:{_LABEL}\.)*{_LABEL}", re.ASCII)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART = re.compile(rf"(?=.{{1,64}}\Z){_ATOM}(?:\.{_ATOM})*", re.ASCII)
_NAMESERVER = re.compile(r"\[([^\]]+)\](?::([0-9]{1,5}))?|([0-9.]+):([0-9]{1,5})", re.ASCII)

# Last labels that no resolver outside the host's own network knows.
_LOCAL_DOMAINS = (".local", ".localdomain")


def hostname(written: object) -> str:
    """The name in greetings: a domain, or an address literal (RFC 5321 section 4.1.3)."""
    if isinstance(written, str) and (is_domain(written) or _is_literal(written)):
        return written
    raise ValueError(
        'not a host name; write letters, digits, hyphens and dots, like "relay.example.org", '
        'or an address literal like "[192.0.2.1]"'
    )


def domain(written: object) -> str:
    """A mail domain."""
    if isinstance(written, str) and is_domain(written):
        return written
    raise ValueError('not a domain; write one like "example.org"')


def own_name(found: str) -> str:
    """The name that the system gives this host, or "localhost" where it is none that SMTP allows."""
    return found if is_domain(found) else "localhost"


def is_qualified(name: str) -> bool:
    """Whether other hosts can make something of a name: a full domain or an address literal."""
    return _is_literal(name) or ("." in name and not name.lower().endswith(_LOCAL_DOMAINS))


def mailbox(written: object) -> str:
    """A mailbox `name@domain`, the local part without quotes."""
    if isinstance(written, str):
        local, at, domain = written.rpartition("@")
        if at and _LOCAL_PART.fullmatch(local) and (is_domain(domain) or _is_literal(domain)):
            return written
    raise ValueError('not a mailbox; write a name and a domain, like "ops@example.org"')


def network(written: object) -> Network:
    """A network, or one address as a network of its own. IPv4-mapped ones are IPv4's, as clients' are."""
    try:
        found = ip_network(_text(written))
    except ValueError:
        raise ValueError(
            'not a network; write an address and a prefix without host bits, like "10.0.0.0/8"'
        ) from None
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    return found if mapped is None or found.prefixlen < 96 else IPv4Network((mapped, found.prefixlen - 96))


def everyone(networks: Iterable[Network]) -> bool:
    """Whether the networks together hold every address of IPv4 or of IPv6."""
    networks = list(networks)
    four = collapse_addresses([each for each in networks if isinstance(each, IPv4Network)])
    six = collapse_addresses([each for each in networks if isinstance(each, IPv6Network)])
    return any(each.prefixlen == 0 for each in four) or any(each.prefixlen == 0 for each in six)


def address(written: object) -> IP:
    """An IPv4 or IPv6 address."""
    try:
        return ip_address(_text(written))
    except ValueError:
        raise ValueError('not an IP address; write one like "192.0.2.1" or "2001:db8::1"') from None


def listening(written: object) -> str:
    """Where to listen: a host's name or an address, IPv6 without brackets."""
    if isinstance(written, str) and is_host(written):
        return written
    raise ValueError('not a host or an address; write one like "localhost", "192.0.2.1" or "::1"')


def is_loopback(written: str) -> bool:
    """Whether a listener's address is reachable from this host only."""
    return written.lower() == "localhost" or (is_address(written) and ip_address(written).is_loopback)


def nameserver(written: object) -> tuple[str, int]:
    """A name server's address and port (53 where none is written). It has no name: who would look it up?"""
    match = _NAMESERVER.fullmatch(_text(written))
    host, port = (match[1] or match[3], match[2] or match[4]) if match else (_text(written), None)
    if is_address(host) and (port is None or 0 < int(port) < 65536):
        return host, int(port or 53)
    raise ValueError('not a name server; write an IP address, and a port if not 53, like "127.0.0.1:5300"')


def place(written: object) -> tuple[str, int]:
    """An address and a port where something listens (0: the kernel chooses the port)."""
    match = _NAMESERVER.fullmatch(_text(written))
    host, port = (match[1] or match[3], match[2] or match[4]) if match else ("", None)
    if is_address(host) and port is not None and int(port) < 65536:
        return host, int(port)
    raise ValueError('not an address and a port; write them like "127.0.0.1:9125" or "[::1]:9125"')


def path(written: object) -> str:
    """A file's or a directory's path."""
    if isinstance(written, str) and written and written.isprintable():
        return written
    raise ValueError('not a path; write one like "../spool"; it is relative to this file')


def _text(written: object) -> str:
    # ip_address and ip_network would take an integer for an address, which nobody means here.
    return written if isinstance(written, str) else ""


def is_domain(text: str) -> bool:
    """Whether it has the form of one."""
    # A last label of digits alone is an address, or a slip in one.
    return _DOMAIN.fullmatch(text) is not None and not text.rpartition(".")[2].isdigit()


def is_host(text: str) -> bool:
    """Whether it has the form of a host's name or is an address, IPv6 without brackets."""
    return is_domain(text) or is_address(text)


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_literal(text: str) -> bool:
    if not (text.startswith("[") and text.endswith("]")):
        return False
    inside = text[1:-1]
    tagged = inside[:5].lower() == "ipv6:"
    bare = inside[5:] if tagged else inside
    return is_address(bare) and tagged == isinstance(ip_address(bare), IPv6Address)
