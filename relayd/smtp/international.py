"""Internationalized mailboxes: which characters beyond ASCII may stand in them (RFC 6531, RFC 5890).

Refuses to know the rest of an address's grammar. Only what every reader reads the same gets through: no character
without a glyph, none that turns the direction of a line, none that a normalizing reader would take for one of
ASCII's own separators.
"""

from unicodedata import normalize

import idna

# RFC 1035 section 2.3.4. Also a bound on what the library is given.
_LABEL_OCTETS = 63
_DOMAIN_OCTETS = 255


def is_plain_text(text: str) -> bool:
    """Whether each character is one that can be seen, or a space, and stays what it is for every reader."""
    return text.isprintable() and (text.isascii() or not any(map(_hides_ascii, set(text))))


def parse_domain(text: str) -> str | None:
    """The domain, with labels beyond ASCII as U-labels in lower case; None when one is not valid (IDNA 2008).

    Upper case is no part of a U-label; a client that writes it means the lower one. Look-alikes of the dot are
    not taken for it: they are in no valid label.
    """
    labels = [label if label.isascii() else label.lower() for label in text.split(".")]
    octets = 0
    for label in labels:
        if len(label) > _LABEL_OCTETS:
            return None
        try:
            octets += 1 + (len(label) if label.isascii() else len(idna.alabel(label)))
        except idna.IDNAError:
            return None
    domain = ".".join(labels)
    return domain if octets <= _DOMAIN_OCTETS + 1 and len(domain.encode()) <= _DOMAIN_OCTETS else None


def _hides_ascii(character: str) -> bool:
    """Full-width and other compatibility forms of a sign, such as U+FF20 for `@` and U+2024 for a dot."""
    return not character.isascii() and any(
        each.isascii() and not each.isalnum() for each in normalize("NFKC", character)
    )
