"""The package: what relayd needs, pinned, and the console script.

It knows nothing of the code but its version, read without importing. It fails when there is none.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

# Few, pinned, each with its reason. One package a line, in double quotes: bin/setup.sh reads these lists too.
RUNTIME = [
    "dnspython==2.9.2",  # finds mail exchangers; the DNS wire format is not ours to write again
    "filelock==4.2.12",  # one master, one delivery process; since 4.2.12 it can keep the lock file
    "psutil==7.2.2",  # tells our process from a stranger with the same pid; memory and uptime for `status`
    "uvloop==0.23.0",  # the event loop of the workers: fewer instructions a session than asyncio's own
    "msgspec==0.22.0",  # typed configuration and envelopes, decoded and checked in one step
    "idna==3.20",  # internationalized domains: which are valid, and their names in DNS (IDNA 2008)
    "setproctitle==1.3.8",  # `ps` shows which process is master, worker or delivery
]
TEST = [
    "pytest==9.2.0",  # runs the tests
    "pytest-xdist==3.8.0",  # several at once: most of the live tests' time is waiting
    "hypothesis==6.170.15",  # finds inputs and orders of steps that nobody thinks of
    "ruff==0.17.6",  # one linter, in one pass
    "mypy==2.4.1",  # types, checked strictly
    "trustme==1.2.1",  # makes certificates for tests, good ones and bad ones
    "types-psutil==7.2.2.20261111",  # the types of psutil, which has none itself
]

HERE = Path(__file__).parent


def version() -> str:
    """Return `__version__` of relayd/__init__.py."""
    found = re.search(r'^__version__ = "([^"]+)"', (HERE / "relayd/__init__.py").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("relayd/__init__.py: no __version__")
    return found[1]


setup(
    name="relayd",
    version=version(),
    description="An outbound SMTP relay: takes mail, keeps it safe on disk, brings it to its mail exchanger",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["relayd", "relayd.*"]),
    package_data={"relayd": ["py.typed"]},
    install_requires=RUNTIME,
    extras_require={"test": TEST},
    entry_points={"console_scripts": ["relayd = relayd.cli:main"]},
)
