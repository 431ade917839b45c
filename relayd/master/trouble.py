"""Trouble: why a start came to nothing, as one line for people and an exit status for programs."""


class StartFailed(Exception):
    """The relay cannot be started; `status` is the command's exit status (1 failed, 2 configuration)."""

    def __init__(self, line: str, status: int = 1) -> None:
        super().__init__(line)
        self.status = status
