"""A report: the multipart/report message of RFC 6522, from its fields and its parts to octets. Pure.

Lines end with CR LF and are short enough for any server (RFC 5321 section 4.5.3.1.6). All is 7-bit, but where the
caller says that it goes by SMTPUTF8. Nothing is folded: that could change an address. Refuses to know what is
reported.
"""

import binascii
import hashlib
from collections.abc import Iterable, Sequence

from relayd.smtp.reply import printable

Fields = Sequence[tuple[str, str]]

_LONGEST_7BIT_LINE = 998
_PREAMBLE = b"This is a delivery status notification in MIME format (RFC 3464).\r\n"


def fields(content: Fields, *, is_wide: bool = False) -> bytes:
    """Header fields or fields of a status, one line each, whatever the values hold; ASCII where not wide."""
    return b"".join(_field(name, value, "utf-8" if is_wide else "ascii") + b"\r\n" for name, value in content)


def assemble(header: Fields, parts: Sequence[bytes], *, is_wide: bool = False) -> bytes:
    """The message; it depends on the arguments alone, and none of the parts can hold the boundary."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(part)
    boundary = "=_" + digest.hexdigest()
    head = [
        *header,
        # RFC 3834 section 5: no vacation message answers it.
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/report; report-type=delivery-status; boundary="{boundary}"'),
        *([("Content-Transfer-Encoding", "8bit")] if is_wide else []),
    ]
    delimiter = f"--{boundary}".encode()
    body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
    return fields(head, is_wide=is_wide) + b"\r\n" + _PREAMBLE + b"\r\n" + body + delimiter + b"--\r\n"


def status_part(groups: Iterable[Fields], *, is_wide: bool) -> bytes:
    """The machine's part: a group of fields about the message, then one for each recipient (RFC 3464 section 2.1).

    By SMTPUTF8 it is that of RFC 6533 section 4, and may hold any character.
    """
    kind = "message/global-delivery-status" if is_wide else "message/delivery-status"
    content = b"\r\n".join(fields(group, is_wide=is_wide) for group in groups)
    return _part(kind, "Delivery report", "8bit" if is_wide else "7bit", content)


def text_part(kind: str, description: str, text: bytes) -> bytes:
    """Text as it is where that is sound 7-bit mail, else as quoted-printable, which keeps every octet."""
    if not text.isascii():
        kind += '; charset="utf-8"'
    if text.isascii() and is_sound(text):
        return _part(kind, description, "7bit", text)
    encoded = b"\r\n".join(map(_quoted_printable, text.split(b"\r\n")))
    return _part(kind, description, "quoted-printable", encoded)


def message_part(kind: str, description: str, mail_data: bytes) -> bytes:
    """A whole message, which may not be encoded (RFC 2046 section 5.2.1): it must be sound."""
    return _part(kind, description, "7bit" if mail_data.isascii() else "8bit", mail_data)


def is_sound(text: bytes) -> bool:
    """Whether its lines may stand in a message as they are (RFC 5322 section 2.1.1)."""
    return all(
        len(line) <= _LONGEST_7BIT_LINE and not any(octet in line for octet in (b"\0", b"\r", b"\n"))
        for line in text.split(b"\r\n")
    )


def _field(name: str, value: str, charset: str) -> bytes:
    line = f"{name}: {printable(value)}".encode(charset, "replace")
    if len(line) > _LONGEST_7BIT_LINE:
        # Not inside of a character.
        line = line[:_LONGEST_7BIT_LINE].decode("utf-8", "ignore").encode()
    return line


def _part(kind: str, description: str, encoding: str, content: bytes) -> bytes:
    head = [("Content-Type", kind), ("Content-Description", description), ("Content-Transfer-Encoding", encoding)]
    return fields(head) + b"\r\n" + content


def _quoted_printable(line: bytes) -> bytes:
    """One line, without its CR LF; what stands in it of CR and LF is no line's end."""
    return binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n")
