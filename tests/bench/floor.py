"""The floor: the bare durable write loop in a process of its own: relayd's group commit, and nothing around it.

    python -m tests.bench.floor SPOOL MESSAGES GROUP OCTETS

It prints the seconds, and those of processor time, as JSON. What it wrote stays for who called to take away.
"""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from relayd.spool.envelope import Envelope, Recipient
from relayd.spool.intake import Intake
from relayd.spool.layout import Layout


def write(spool: Path, messages: int, group: int, octets: int) -> dict[str, float]:
    """Commit so many messages in groups; seconds by what they were spent on."""
    layout = Layout(str(spool))
    layout.create()
    intake = Intake(layout, 0)
    content = b"Subject: One of many\r\n\r\n" + b"X" * octets
    began, cpu = time.monotonic(), time.process_time()
    for first in range(0, messages, group):
        drafts = []
        for _ in range(min(group, messages - first)):
            envelope = Envelope(
                arrived=datetime.now(UTC),
                reverse_path="a@source.test",
                recipients=(Recipient("b@example.test"),),
                session="floor",
                client="127.0.0.1:50000",
                helo="source.test",
            )
            draft = intake.begin(envelope)
            draft.write(content)
            drafts.append(draft)
        for result in intake.commit(drafts):
            if isinstance(result, Exception):
                raise result
    return {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}


def run(spool: Path, messages: int, group: int, octets: int, timeout: float) -> dict[str, float]:
    """The same in a process of its own; raises subprocess.SubprocessError."""
    command = [sys.executable, "-I", "-m", "tests.bench.floor", str(spool)]
    done = subprocess.run(
        [*command, *map(str, (messages, group, octets))],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=timeout,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    # Files for their owner only, as in a worker.
    os.umask(0o077)
    print(json.dumps(write(Path(sys.argv[1]), *map(int, sys.argv[2:5]))))
