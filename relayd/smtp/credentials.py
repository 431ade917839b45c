"""Credentials: the user and the password that a server is to know us by, as SASL's PLAIN and LOGIN say them.

PLAIN is RFC 4616; LOGIN was never more than a draft, and some servers have nothing else. Refuses to know when they
may be sent. Neither its repr nor what it masks shows the password.
"""

import base64
import re
from dataclasses import dataclass

from relayd.smtp.reply import Reply

MASK = "[credentials]"

# Shorter pieces would be found in words that are nobody's secret, and tell as little.
_BASE64 = re.compile("[A-Za-z0-9+/]{6,}=*")


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """The name and the password of a user, without control characters."""

    user: str
    password: str

    @property
    def plain(self) -> str:
        """The one message of PLAIN, in base64."""
        return _base64(f"\0{self.user}\0{self.password}")

    @property
    def login(self) -> tuple[str, str]:
        """The two answers of LOGIN, in base64."""
        return _base64(self.user), _base64(self.password)

    def masked(self, answer: Reply) -> Reply:
        """The reply without the password in any form we have said it in: some servers repeat a line."""
        encoded = self.plain, self.login[1]

        def hidden(found: re.Match[str]) -> str:
            return MASK if any(found[0].lower() in each.lower() for each in encoded) else found[0]

        lines = answer.lines
        for secret in (*encoded, self.password):
            lines = tuple(line.replace(secret, MASK) for line in lines)
        # Some cut it short, or in lines, or say it in capital letters.
        lines = tuple(_BASE64.sub(hidden, line) for line in lines)
        return answer if lines == answer.lines else Reply(answer.code, answer.enhanced, lines)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
