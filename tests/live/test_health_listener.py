"""The event listener in etc/, as supervisord talks to it."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "etc" / "relayd-health"
# Of each two in a row that say the same, only the first is told.
TOLD = (
    "all is well",
    "the oldest due message has been due for 59m 59s: see relayd queue list",
    "worker 2 is missing: it died (signal SIGSEGV) and starts again in 1s; failed/ is not empty: 1 file",
    "failed/ is not empty: 1 file",
    "all is well",
)
SAME = (
    "all is well",
    "the oldest due message has been due for 1h 2m: see relayd queue list",
    "worker 9 is missing: it died 2 times (signal SIGSEGV) and is starting; failed/ is not empty: 2 files",
    "failed/ is not empty: 2 files",
    "all is well",
)
ANSWERS = [line for pair in zip(TOLD, SAME, strict=True) for line in pair]


def test_it_speaks_the_protocol_and_tells_changes_only(tmp_path: Path) -> None:
    """READY, an event with its payload, RESULT; one line on standard error and one call where it changed."""
    for folder in ("bin", "etc", "told"):
        (tmp_path / folder).mkdir()
    script = tmp_path / "etc" / "relayd-health"
    script.write_bytes(SCRIPT.read_bytes())
    script.chmod(0o755)
    relayd = tmp_path / "bin" / "relayd"
    # It says the next answer each time, and would swallow an event if it were given standard input.
    relayd.write_text(
        f'#!/bin/sh\ncat\necho "$@" >> {tmp_path}/words\nhead -n 1 {tmp_path}/answers\n'
        f"sed -i 1d {tmp_path}/answers\n"
    )
    relayd.chmod(0o755)
    (tmp_path / "answers").write_text("".join(f"{each}\n" for each in ANSWERS))
    tell = tmp_path / "tell"
    tell.write_text(f'#!/bin/sh\necho told\necho "$1" >> {tmp_path}/heard\n')
    tell.chmod(0o755)
    payload = b"when:1201063880\nnonsense RESULT 2\nOK"
    event = b"ver:3.0 server:supervisor serial:21 pool:health poolserial:10 eventname:TICK_60 len:%d\n%s"
    said = subprocess.run(
        [script, "-c", "a file"],
        input=event % (len(payload), payload) * len(ANSWERS),
        capture_output=True,
        check=True,
        timeout=30,
        env={**os.environ, "RELAYD_HEALTH_TELL": str(tell)},
    )
    assert said.stdout == b"READY\nRESULT 2\nOK" * len(ANSWERS) + b"READY\n"
    lines = [line for line in said.stderr.decode().splitlines() if line != "told"]
    assert [line.partition(" ")[2] for line in lines] == [*TOLD]
    assert (tmp_path / "heard").read_text().splitlines() == [*TOLD]
    assert (tmp_path / "words").read_text().splitlines() == ["status --check -c a file"] * len(ANSWERS)


def test_a_relayd_that_cannot_be_run_is_told_too(tmp_path: Path) -> None:
    """In whatever words the shell has for it."""
    script = tmp_path / "relayd-health"
    script.write_bytes(SCRIPT.read_bytes())
    said = subprocess.run(
        ["/bin/sh", script],
        input=b"ver:3.0 eventname:TICK_60 len:0\n",
        capture_output=True,
        check=True,
        timeout=30,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert said.stdout == b"READY\nRESULT 2\nOKREADY\n"
    assert b"not found" in said.stderr
