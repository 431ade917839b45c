r"""An order: one transaction to perform, and the commands that ask a server for it, with what it understands.

The parameters are those of SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531) and DSN (RFC 3461 section
5.2.1); each goes only where the server offers the extension. Refuses to know replies, and whether mail may go to
a server without an extension. Fails with `NotAnOrder` for what would not stay inside its line or its brackets.
"""

import re
from collections.abc import Container

import msgspec

# A mailbox as far as it matters here: nothing in it ends the brackets that it will stand in. Whether a character
# is a glyph is Python's to say.
_PATH = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^<>"@ ]+)@[^<>"@ ]+', re.DOTALL)
# Section 4.1.2: esmtp-value. RFC 6533 section 3 lets the address of an ORCPT go beyond ASCII.
_VALUE = re.compile(r"[^\x00- =\x7f]+")


class NotAnOrder(ValueError):
    """What was to be ordered cannot be put into commands; the message says why."""


class Wish(msgspec.Struct, frozen=True):
    """What was asked for one forward-path (RFC 3461 section 4): the values of NOTIFY and ORCPT as they came."""

    notify: str | None = None
    orcpt: str | None = None


class Order(msgspec.Struct, frozen=True):
    """One transaction to perform: paths in wire form, `size` in octets (for SIZE), `body` for BODY.

    `wishes` has one for each forward-path, or is empty when nobody asked for anything. Raises NotAnOrder.
    """

    reverse_path: str
    forward_paths: tuple[str, ...]
    size: int | None = None
    body: str | None = None
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None
    wishes: tuple[Wish, ...] = ()

    def __post_init__(self) -> None:
        paths = (self.reverse_path, *self.forward_paths) if self.reverse_path else self.forward_paths
        for path in paths:
            if not path.isprintable() or _PATH.fullmatch(path) is None:
                raise NotAnOrder(f"not a path: {path!r}")
        for value in (self.body, self.ret, self.envid):
            if value is not None:
                _check_value(value)
        for wish in self.wishes:
            if wish.notify is not None:
                _check_value(wish.notify)
            if wish.orcpt is not None:
                _check_value(wish.orcpt, is_wide=True)

    @property
    def is_ascii(self) -> bool:
        """Whether its paths can go to a server without SMTPUTF8."""
        return self.reverse_path.isascii() and all(map(str.isascii, self.forward_paths))

    def mail(self, extensions: Container[str]) -> str:
        """The MAIL command for a server with these extensions, by their keywords."""
        command = f"MAIL FROM:<{self.reverse_path}>"
        if self.size is not None and "SIZE" in extensions:
            command += f" SIZE={self.size}"
        if self.body is not None and "8BITMIME" in extensions:
            command += f" BODY={self.body}"
        if self.smtputf8 and "SMTPUTF8" in extensions:
            command += " SMTPUTF8"
        if self.ret is not None and "DSN" in extensions:
            command += f" RET={self.ret}"
        if self.envid is not None and "DSN" in extensions:
            command += f" ENVID={self.envid}"
        return command

    def rcpts(self, extensions: Container[str]) -> list[str]:
        """The RCPT commands for all forward-paths."""
        if not self.wishes or "DSN" not in extensions:
            return [f"RCPT TO:<{path}>" for path in self.forward_paths]
        return [self.rcpt(place, extensions) for place in range(len(self.forward_paths))]

    def rcpt(self, place: int, extensions: Container[str]) -> str:
        """The RCPT command for one of the forward-paths, by its place among them."""
        command = f"RCPT TO:<{self.forward_paths[place]}>"
        if not self.wishes or "DSN" not in extensions:
            return command
        wish = self.wishes[place]
        if wish.notify is not None:
            command += f" NOTIFY={wish.notify}"
        if wish.orcpt is not None:
            # RFC 6533 section 3: without SMTPUTF8 its 7-bit form must go.
            is_wide = self.smtputf8 and "SMTPUTF8" in extensions
            command += f" ORCPT={wish.orcpt if is_wide else seven_bit(wish.orcpt)}"
        return command


def _check_value(value: str, *, is_wide: bool = False) -> None:
    if not (value.isascii() or (is_wide and value.isprintable())) or _VALUE.fullmatch(value) is None:
        raise NotAnOrder(f"not a parameter: {value!r}")


def seven_bit(text: str) -> str:
    r"""The text with each character beyond ASCII as `\x{HEX}`: utf-8-addr-xtext (RFC 6533 section 3)."""
    if text.isascii():
        return text
    return "".join(each if each.isascii() else f"\\x{{{ord(each):X}}}" for each in text)
