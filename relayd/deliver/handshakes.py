"""Handshakes: our side of TLS with exchangers, how strict it is, and the sessions it may go on with.

A session is kept for one exchanger and one strictness, used once (RFC 8446 appendix C.4), and the oldest are
forgotten. The contexts are made when they are needed first, since the system's certificate store takes its time.
"""

import ssl
from collections.abc import Callable, Mapping
from functools import partial

from relayd.base.sections import TlsMode
from relayd.base.tls import Codec, Server, TlsError, client_context
from relayd.deliver.exchangers import Candidate

_MOST_SESSIONS = 1000

MAKERS: Mapping[TlsMode, Callable[[], ssl.SSLContext]] = {
    "opportunistic": partial(client_context, verify=False, weak=True),
    "require": partial(client_context, verify=False),
    "verify": partial(client_context, verify=True),
}


class Handshakes:
    """See the module."""

    def __init__(self, makers: Mapping[TlsMode, Callable[[], ssl.SSLContext]] = MAKERS) -> None:
        self._makers = makers
        self._contexts: dict[TlsMode, ssl.SSLContext] = {}
        self._sessions: dict[tuple[TlsMode, str, int], ssl.SSLSession] = {}

    def codec(self, candidate: Candidate, mode: TlsMode) -> Codec:
        """Our side of a new session with it; raises TlsError."""
        if mode not in self._contexts:
            self._contexts[mode] = self._makers[mode]()
        context = self._contexts[mode]
        session = self._sessions.pop(_key(candidate, mode), None)
        try:
            return Codec(context, Server(_bare(candidate.exchanger), session))
        except TlsError:
            if mode == "verify":
                raise
            # DNS knows names that are none in TLS: they are not said.
            return Codec(context, Server(None, session))

    def keep(self, candidate: Candidate, mode: TlsMode, codec: Codec) -> None:
        """The exchanger has answered in TLS: what comes next may go on with this session."""
        session = codec.session
        if session is None:
            return
        key = _key(candidate, mode)
        self._sessions.pop(key, None)
        self._sessions[key] = session
        if len(self._sessions) > _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]


def _key(candidate: Candidate, mode: TlsMode) -> tuple[TlsMode, str, int]:
    return mode, candidate.exchanger, candidate.port


def _bare(exchanger: str) -> str:
    """The name or the address, as a certificate has it."""
    return exchanger.removeprefix("[").removesuffix("]").removeprefix("IPv6:")
