"""A claim: one message in the hands of the delivery process, and how far the settling of its attempt has come.

What is done is remembered here, so that an attempt whose settling failed goes on where it stopped. Refuses to
know files.
"""

from collections.abc import Iterable

import msgspec

from relayd.spool.journal import Journal
from relayd.spool.layout import name_of
from relayd.spool.outcome import Entry, Outcome


class Claim(msgspec.Struct, eq=False):
    """`state` is the folder that it was taken from, `size` the file's, `offset` where in it the mail data begins.

    `open` are the recipients without a final outcome, `untold` is what the originator is owed word of.
    """

    id: str
    token: int
    state: str
    size: int
    due: float
    offset: int
    mail_data: bytes | None
    journal: Journal
    open: set[int]
    untold: list[Outcome]

    outcomes: list[Outcome] = []
    # Journal lines and ledger lines to be written; what was written is taken out.
    unsaved: list[Entry] = []
    unentered: list[Outcome] = []
    is_scheduled: bool = False
    # Notifications by attempt, as they come from tmp/ (prepared) to new/ (visible) and to the medium.
    prepared: dict[int, tuple[str, int]] = {}
    is_told: bool = False
    visible: set[int] = msgspec.field(default_factory=set)

    @property
    def name(self) -> str:
        """The message's file name."""
        return name_of(self.id, self.size)

    def take(self, outcomes: Iterable[Outcome]) -> None:
        """Note outcomes; one that was noted before is not noted again."""
        for outcome in outcomes:
            if outcome not in self.outcomes:
                self.outcomes.append(outcome)
                self.unsaved.append(outcome)
                self.unentered.append(outcome)
                if outcome.kind.is_final:
                    self.open.difference_update(outcome.recipients)
                if outcome.kind.is_owed:
                    self.untold.append(outcome)
