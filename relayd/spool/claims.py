"""Claims: all messages that are in the hands of the delivery process, by ID, and the mail data kept for them.

Each claim has a token of its own, so that whoever holds an older one changes nothing. Refuses to know files.
`of` may be called from any thread.
"""

from relayd.spool.claim import Claim
from relayd.spool.errors import LeaseLost
from relayd.spool.job import Job

# Mail data kept in memory between claim and sending, for all jobs together.
_CACHE = 32 << 20


class Claims(dict[str, Claim]):
    """For one queue; changed by `add` and `drop` alone."""

    def __init__(self) -> None:
        super().__init__()
        self._cached = 0
        self._token = 0

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
        self[claim.id] = claim
        self._cached += len(claim.mail_data or b"")

    def of(self, job: Job) -> Claim:
        """The job's claim; raises LeaseLost when it is no longer the live one."""
        claim = self.get(job.id)
        if claim is None or claim.token != job.token:
            raise LeaseLost(f"{job.id}: token {job.token} is not the live one")
        return claim

    def drop(self, claim: Claim) -> None:
        """It is in nobody's hands any more."""
        self._cached -= len(claim.mail_data or b"")
        del self[claim.id]
