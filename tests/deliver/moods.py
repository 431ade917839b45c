"""Moods: an exchanger that does the unexpected now and then, by dice that are handed in."""

import random
from collections.abc import Iterable, Sequence

from tests.world.exchanger import Exchanger
from tests.world.session import Session

# What is said instead of the usual reply, which None is, or how the connection ends.
Mood = bytes | type[Exception] | None
TRANSACTION = ("MAIL", "RCPT", "DATA", ".", "RSET")


def moody(
    exchanger: Exchanger, dice: random.Random, share: float, moods: Sequence[Mood], steps: Iterable[str]
) -> None:
    """Let an exchanger be in one of the moods in so many of these steps."""

    def script(session: Session, line: bytes) -> bytes | None:
        if dice.random() > share:
            return None
        mood = dice.choice(moods)
        if isinstance(mood, type):
            raise mood("in a bad mood")
        return mood

    exchanger.replies = dict.fromkeys(steps, script)
