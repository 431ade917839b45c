"""`relayd check`: looking as the user that the relay runs as."""

import os
import pwd
import signal
import tempfile
from pathlib import Path

import pytest

from relayd.cli.check import as_user
from relayd.master.credentials import Findings
from relayd.master.privileges import Identity

NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = Identity("nobody", NOBODY.pw_uid, NOBODY.pw_gid, (NOBODY.pw_gid,))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")
def test_root_looks_as_the_user_and_stays_root() -> None:
    """What only root may read is a trouble, and every word of it comes back."""
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder, "key")
        secret.touch(mode=0o600)

        def look() -> Findings:
            return Findings([f"{os.geteuid()} {os.access(secret, os.R_OK)}", "two\nlines"], ["ünïcode"])

        assert as_user(AS_NOBODY, look) == Findings([f"{NOBODY.pw_uid} False", "two\nlines"], ["ünïcode"])
        assert os.geteuid() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")
def test_a_look_that_dies_is_a_trouble() -> None:
    """Not a good configuration."""

    def look() -> Findings:
        raise RuntimeError("what nobody expected")

    assert as_user(AS_NOBODY, look) == Findings(["cannot look as user nobody: RuntimeError: what nobody expected"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")
def test_a_look_that_is_killed_is_a_trouble() -> None:
    """By a machine without memory, say: it has said nothing."""

    def look() -> Findings:
        os.kill(os.getpid(), signal.SIGKILL)
        return Findings()

    assert as_user(AS_NOBODY, look) == Findings(["cannot look as user nobody: the process that looked was killed"])
