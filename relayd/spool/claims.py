"""Claims: all messages that are in the hands of the delivery process, by ID, and the mail data kept for them.

Each claim has a token of its own, so that whoever holds an older one changes nothing. Refuses to know files.
`of` may be called from any thread.
"""

from collections.abc import Iterator, Mapping

from relayd.spool.claim import Claim
from relayd.spool.errors import LeaseLost
from relayd.spool.job import Job

# Mail data kept in memory between claim and sending, for all jobs together.
_CACHE = 32 << 20


class Claims(Mapping[str, Claim]):
    """For one queue."""

    def __init__(self) -> None:
        self._all: dict[str, Claim] = {}
        self._cached = 0
        self._token = 0

    def __getitem__(self, message_id: str) -> Claim:
        return self._all[message_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def may_cache(self) -> bool:
        """Whether the next claim may bring its mail data along."""
        return self._cached < _CACHE

    def new_token(self) -> int:
        """One that no claim has had."""
        self._token += 1
        return self._token

    def add(self, claim: Claim) -> None:
        """From here on its ID is not taken again."""
        self._all[claim.id] = claim
        self._cached += len(claim.mail_data or b"")

    def of(self, job: Job) -> Claim:
        """The job's claim; raises LeaseLost when it is no longer the live one."""
        claim = self._all.get(job.id)
        if claim is None or claim.token != job.token:
            raise LeaseLost(f"{job.id}: token {job.token} is not the live one")
        return claim

    def drop(self, claim: Claim) -> None:
        """It is in nobody's hands any more."""
        self._cached -= len(claim.mail_data or b"")
        del self._all[claim.id]
