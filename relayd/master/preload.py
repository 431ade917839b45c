"""Preload: what Python and its libraries would import only when they first need it.

After root is dropped, the code may not be readable any more (a checkout in root's home), and memory that is filled
before the fork is shared by all children. Nothing here is used by name.
"""

import codecs
import importlib

# Escapes in log lines, host names in getaddrinfo, and what notifications are written in.
_ENCODINGS = ("ascii", "latin-1", "utf-8", "unicode_escape", "idna", "punycode", "quopri", "base64")
_MODULES = (
    "_strptime",
    "concurrent.futures.thread",
    "dns._asyncio_backend",
    "dns.rdtypes.ANY.CNAME",
    "dns.rdtypes.ANY.DNAME",
    "dns.rdtypes.ANY.MX",
    "dns.rdtypes.ANY.OPT",
    "dns.rdtypes.ANY.RRSIG",
    "dns.rdtypes.ANY.SOA",
    "dns.rdtypes.IN.A",
    "dns.rdtypes.IN.AAAA",
    "email.contentmanager",
    "email.encoders",
    "email.generator",
    "email.header",
    "email.mime.multipart",
    "email.quoprimime",
    "linecache",
    "stringprep",
    "traceback",
)


def preload() -> None:
    """Import it all."""
    for encoding in _ENCODINGS:
        codecs.lookup(encoding)
    for module in _MODULES:
        importlib.import_module(module)
