"""Roff: a manual page in the macros of man(7), from plain values.

Knows nothing of relayd. Text is escaped here and nowhere else, so that no line of it is taken for a request.
"""

import textwrap
from collections.abc import Iterable, Sequence

_WIDTH = 80


class Page:
    """One page as it grows; `text` at the end. `date` is that of the version, as YYYY-MM-DD."""

    def __init__(self, name: str, section: int, date: str, source: str) -> None:
        self._lines = [
            '.\\" Made by bin/pages; changes here are lost.',
            # A path or a key that is cut in two cannot be searched, nor copied. Each heading asks HY again.
            ".nr HY 0",
            f'.TH {name.upper()} {section} {date} "{source}"',
            ".ad l",
        ]

    @property
    def text(self) -> str:
        """The whole page."""
        return "\n".join(self._lines) + "\n"

    def section(self, title: str) -> None:
        """A heading of the first rank, in capitals by custom."""
        self._lines.append(f'.SH "{_quoted(title)}"')

    def part(self, title: str) -> None:
        """A heading below it."""
        self._lines.append(f'.SS "{_quoted(title)}"')

    def paragraphs(self, texts: Iterable[str]) -> None:
        """Prose, one paragraph each. None starts right after a heading, where there is room already."""
        for text in texts:
            if not self._lines[-1].startswith((".SH", ".SS")):
                self._lines.append(".PP")
            self._prose(text)

    def items(self, tag: str, texts: Sequence[str]) -> None:
        """A term, in bold, and what it means in paragraphs below it."""
        self._lines += [".TP", f".B {literal(tag)}"]
        for number, text in enumerate(texts):
            if number:
                self._lines.append(".IP")
            self._prose(text)

    def plain(self, line: str) -> None:
        """A line as it is, escaped already."""
        self._lines.append(line)

    def example(self, lines: Sequence[str]) -> None:
        """Lines as they are typed."""
        self._lines += [".PP", ".RS 4", ".EX", *(literal(line) for line in lines), ".EE", ".RE"]

    def _prose(self, text: str) -> None:
        wrapped = textwrap.wrap(_escaped(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
        self._lines += [_guarded(line) for line in wrapped]


def literal(text: str) -> str:
    """What can be copied from the page into a shell: its hyphens stay hyphens."""
    return _guarded(_escaped(text).replace("-", "\\-"))


def _escaped(text: str) -> str:
    # A caret, a tilde or a backtick is a letter of its own here, not an accent.
    for char, written in (("\\", "\\e"), ("^", "\\(ha"), ("~", "\\(ti"), ("`", "\\(ga"), ("'", "\\(aq")):
        text = text.replace(char, written)
    return text


def _quoted(text: str) -> str:
    return literal(text).replace('"', '""')


def _guarded(line: str) -> str:
    return f"\\&{line}" if line.startswith((".", "'")) else line
