"""The package: what relayd needs, pinned, and the console script.

It knows nothing of the code but its version, read without importing. It fails when there is none.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

# Few, pinned, each with its reason. One package a line, in double quotes: bin/setup.sh reads these lists too.
# A checkout gets RUNTIME and METRICS, so that a key of the configuration never asks for an installation.
RUNTIME = [
    "dnspython==2.9.2",  # finds mail exchangers; the DNS wire format is not ours to write again
    "filelock==4.2.12",  # one master, one delivery process; since 4.2.12 it can keep the lock file
    "psutil==7.2.2",  # tells our process from a stranger with the same pid; memory and uptime for `status`
    "uvloop==0.23.0",  # the event loop of the workers: fewer instructions a session than asyncio's own
    "msgspec==0.22.0",  # typed configuration and envelopes, decoded and checked in one step
    "idna==3.20",  # internationalized domains: which are valid, and their names in DNS (IDNA 2008)
    "setproctitle==1.3.8",  # `ps` shows which process is master, worker or delivery
]
METRICS = [
    "prometheus-client==0.26.0",  # the text format of metrics, so that it is Prometheus' own
]
TEST = [
    "pytest==9.2.0",  # runs the tests
    "pytest-xdist==3.8.0",  # several at once: most of the live tests' time is waiting
    "hypothesis==6.170.15",  # finds inputs and orders of steps that nobody thinks of
    "ruff==0.17.6",  # one linter, in one pass
    "mypy==2.4.1",  # types, checked strictly
    "trustme==1.2.1",  # makes certificates for tests, good ones and bad ones
    "setuptools==84.2.1",  # builds sdist and wheel, which the tests install
    "shtab==1.13.0",  # writes the completion for shells from our own parser; bin/pages
    "types-psutil==7.2.2.20261111",  # the types of psutil, which has none itself
]

HERE = Path(__file__).parent

# What is no code and is wanted on an installed system, below the prefix, where man and the shells look for it. The
# names are theirs.
SHARED = {
    "share/man/man5": ["docs/man/relayd.toml.5"],
    "share/man/man8": ["docs/man/relayd.8"],
    "share/bash-completion/completions": ["etc/completion/bash/relayd"],
    "share/zsh/site-functions": ["etc/completion/zsh/_relayd"],
    "share/fish/vendor_completions.d": ["etc/completion/fish/relayd.fish"],
    # By name: etc/ of a checkout may hold somebody's keys and passwords.
    "share/relayd": [
        "etc/logrotate.conf",
        "etc/relayd-health",
        "etc/relayd.service",
        "etc/relayd.socket",
        "etc/relayd.toml",
        "etc/supervisord.conf",
        "etc/supervisord-program.conf",
    ],
    "share/doc/relayd": ["README.md", "CHANGELOG.md", "docs/*.md"],
}


def version() -> str:
    """Return `__version__` of relayd/__init__.py."""
    found = re.search(r'^__version__ = "([^"]+)"', (HERE / "relayd/__init__.py").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("relayd/__init__.py: no __version__")
    return found[1]


def shared() -> list[tuple[str, list[str]]]:
    """Return SHARED with its patterns as files, relative to this one."""
    return [
        (folder, sorted(str(path.relative_to(HERE)) for pattern in patterns for path in HERE.glob(pattern)))
        for folder, patterns in SHARED.items()
    ]


setup(
    name="relayd",
    version=version(),
    description="An outbound SMTP relay: takes mail, keeps it safe on disk, brings it to its mail exchanger",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license_expression="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["relayd", "relayd.*"]),
    package_data={"relayd": ["py.typed"]},
    data_files=shared(),
    install_requires=RUNTIME,
    extras_require={"metrics": METRICS, "test": METRICS + TEST},
    entry_points={"console_scripts": ["relayd = relayd.cli:main"]},
)
