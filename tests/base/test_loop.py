"""The event loop: uvloop where there is one, asyncio's own where it is missing or asked for."""

import os
import subprocess
import sys

import pytest

_ASK = """
import sys
{before}
from relayd.base.loop import factory, run
loop = factory()()
print(type(loop).__module__.partition(".")[0])
loop.close()

async def main():
    return 7

sys.exit(run(main()))
"""


def loop_in_new_process(before: str = "", **environment: str) -> str:
    """The package that makes the loop there; `run` gives the status of what it runs."""
    env = {name: value for name, value in os.environ.items() if name != "RELAYD_LOOP"}
    done = subprocess.run(
        [sys.executable, "-c", _ASK.format(before=before)],
        env={**env, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("before", "environment", "package"),
    [
        ("", {}, "uvloop"),
        ("", {"RELAYD_LOOP": "asyncio"}, "asyncio"),
        ("sys.modules['uvloop'] = None", {}, "asyncio"),
    ],
)
def test_the_loop_is_the_one_that_is_wanted_and_there(
    before: str, environment: dict[str, str], package: str
) -> None:
    """Nothing is said and nothing fails for want of uvloop."""
    assert loop_in_new_process(before, **environment) == package
