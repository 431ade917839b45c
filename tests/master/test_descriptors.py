"""The limit of open files: what is asked for, and what is said of a low one."""

import resource
import subprocess
import sys

import pytest

from relayd.master.descriptors import wanted, warning

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("hard", "most", "is_root", "limit"),
    [
        (4096, 1_048_576, False, 4096),
        (4096, 1_048_576, True, 65_536),
        (4096, 20_000, True, 20_000),
        (1_048_576, 1_048_576, True, 1_048_576),
        (INFINITY, 1_048_576, False, 1_048_576),
        (INFINITY, 1_048_576, True, 1_048_576),
    ],
)
def test_the_soft_limit_goes_to_the_hard_one_and_root_raises_that(
    hard: int, most: int, is_root: bool, limit: int
) -> None:
    """Never beyond what the kernel allows any process, and never down."""
    assert wanted(hard, most, is_root=is_root) == (limit, limit)


def test_a_process_really_gets_it() -> None:
    """In a process of its own, since a limit that went down does not come up again for everyone."""
    program = (
        "import resource\n"
        "from relayd.master import descriptors\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
        "got = descriptors.raise_limit()\n"
        "print(got >= hard, got == resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    said = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "True"]


def test_a_low_limit_is_explained_and_a_high_one_is_not() -> None:
    """How many sessions it means, and where it is raised."""
    assert warning(65_536) is None
    said = warning(1024)
    assert said is not None
    for expected in ("1024 files", "512 sessions", "RLIMIT_NOFILE", "LimitNOFILE="):
        assert expected in said
