"""A census: how many commands and replies there were, by verb and by code, in all sessions that share it.

Refuses to know whose they were and who asks. It is bounded: what is no command of ours counts as "other", and
a code has three digits.
"""

from collections import defaultdict


class Census:
    """Plain numbers, since every command passes here; `commands` are by verb, `replies` by code."""

    __slots__ = ("commands", "replies")

    def __init__(self) -> None:
        self.commands: defaultdict[str, int] = defaultdict(int)
        self.replies: defaultdict[int, int] = defaultdict(int)
