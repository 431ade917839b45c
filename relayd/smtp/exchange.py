"""The AUTH exchange: challenges and responses in base64 until a user and a password are there (RFC 4954).

The mechanisms are PLAIN (RFC 4616) and LOGIN, which never became an RFC but which clients use. Refuses to know
users, TLS and the session around it. What is malformed becomes the `Reply` that ends the exchange; nothing
raises, and nothing that is written down here has the password in it.
"""

from base64 import b64decode, b64encode

from relayd.smtp.event import Auth
from relayd.smtp.reply import Reply, reply
from relayd.smtp.wording import ANOTHER_IDENTITY, CANCELLED, NOT_BASE64

MECHANISMS = ("PLAIN", "LOGIN")


class Exchange:
    """One exchange. `begin` and each `respond` give a challenge (334), the `Auth` event, or a refusal."""

    __slots__ = ("_mechanism", "_user")

    def __init__(self, mechanism: str) -> None:
        self._mechanism = mechanism
        self._user: str | None = None

    def begin(self, initial: str) -> Auth | Reply:
        """Start, with an initial response where the client gave one; `=` is an empty one (section 4)."""
        if not initial:
            return _challenge("" if self._mechanism == "PLAIN" else "Username:")
        return self._take("" if initial == "=" else initial)

    def respond(self, line: bytes) -> Auth | Reply:
        """Take one line of the client."""
        return CANCELLED if line == b"*" else self._take(line.decode("ascii", "replace"))

    def _take(self, encoded: str) -> Auth | Reply:
        try:
            octets = b64decode(encoded, validate=True)
            response = octets.decode("utf-8")
        except ValueError:
            return NOT_BASE64
        # The library lets some padding pass that is none, and bits that are lost.
        if b64encode(octets).decode() != encoded:
            return NOT_BASE64
        return self._plain(response) if self._mechanism == "PLAIN" else self._login(response)

    def _plain(self, response: str) -> Auth | Reply:
        parts = response.split("\0")
        if len(parts) != 3 or not parts[1] or not parts[2]:
            return NOT_BASE64
        identity, user, password = parts
        return Auth("PLAIN", user, password) if identity in ("", user) else ANOTHER_IDENTITY

    def _login(self, response: str) -> Auth | Reply:
        if not response or "\0" in response:
            return NOT_BASE64
        if self._user is None:
            self._user = response
            return _challenge("Password:")
        return Auth("LOGIN", self._user, response)


def _challenge(text: str) -> Reply:
    return reply(334, None, b64encode(text.encode()).decode())
