"""A receiving session: the state an SMTP server keeps for one client, and its usual reply to each verb.

Lines and replies are bytes as on the wire. It knows no socket and no script. A peer that goes away inside a
line raises EOFError.
"""

from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass(slots=True)
class Session:
    """One connection: its number (from 1), the client's address, all command lines, the open transaction."""

    number: int
    peer: tuple[str, int]
    lines: list[bytes] = field(default_factory=list)
    helo: bytes = b""
    reverse_path: bytes | None = None
    recipients: list[bytes] = field(default_factory=list)
    data: bytes = b""
    # The version of TLS, empty in clear.
    tls: str = ""

    def secured(self, version: str) -> None:
        """TLS begins, and what was said before it is forgotten (RFC 3207 section 4.2)."""
        self.forget()
        self.helo = b""
        self.tls = version

    def forget(self) -> None:
        """No transaction is open any more."""
        self.reverse_path = None
        self.recipients = []
        self.data = b""

    def usual_reply(self, verb: str, name: bytes, extensions: tuple[bytes, ...] | None) -> bytes:
        """What RFC 5321 has a server of this name say now; without extensions it does not know EHLO."""
        match verb:
            case "EHLO" if extensions is not None:
                texts = (name, *extensions)
                return b"".join(b"250-%s\r\n" % text for text in texts[:-1]) + b"250 %s\r\n" % texts[-1]
            case "HELO":
                return b"250 %s\r\n" % name
            case "MAIL" if not self.helo:
                return b"503 5.5.1 HELO or EHLO first\r\n"
            case "MAIL" if self.reverse_path is not None:
                return b"503 5.5.1 A transaction is open\r\n"
            case "MAIL":
                return b"250 2.1.0 Ok\r\n"
            case "RCPT" | "DATA" if self.reverse_path is None:
                return b"503 5.5.1 MAIL first\r\n"
            case "RCPT":
                return b"250 2.1.5 Ok\r\n"
            case "DATA" if not self.recipients:
                return b"554 5.5.1 No valid recipients\r\n"
            case "DATA":
                return b"354 End data with <CR><LF>.<CR><LF>\r\n"
            case "RSET" | "NOOP":
                return b"250 2.0.0 Ok\r\n"
            case "STARTTLS" if extensions is not None and b"STARTTLS" in extensions:
                return b"220 2.0.0 Ready to start TLS\r\n"
            case "QUIT":
                return b"221 2.0.0 Bye\r\n"
            case _:
                return b"502 5.5.1 Not implemented\r\n"

    def advance(self, verb: str, line: bytes, reply: bytes) -> None:
        """Take in a command and the reply it got: only a 2yz changes anything."""
        if not reply.startswith(b"2"):
            return
        match verb:
            case "EHLO" | "HELO":
                self.forget()
                self.helo = line
            case "MAIL":
                self.reverse_path = line
            case "RCPT":
                self.recipients.append(line)
            case "RSET":
                self.forget()


def read_line(lines: BinaryIO) -> bytes:
    """All bytes up to and with the next LF; EOFError where the peer closed before it."""
    line = lines.readline()
    if not line.endswith(b"\n"):
        raise EOFError("the peer has closed the connection")
    return line


def read_mail_data(lines: BinaryIO) -> bytes:
    """Mail data up to CR LF . CR LF and nothing else, without transparency (RFC 5321 section 4.5.2)."""
    data: list[bytes] = []
    begins = True
    while True:
        line = read_line(lines)
        if begins and line == b".\r\n":
            return b"".join(data)
        # A line begins after CR LF only, so a dot after a bare LF is a dot of the mail.
        data.append(line[1:] if begins and line.startswith(b".") else line)
        begins = line.endswith(b"\r\n")
