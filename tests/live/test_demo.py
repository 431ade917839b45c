"""`relayd demo`: a stranger's first ten seconds."""

import subprocess
import sys


def test_the_demo_shows_the_whole_way_of_a_mail() -> None:
    """Dialogue, spool file, the mail as it arrived, and the choice with both figures, in plain text."""
    shown = subprocess.run(
        [sys.executable, "-I", "-m", "relayd", "demo"], check=False, capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0, shown.stderr
    for expected in (
        "250 2.0.0 Ok: queued as ",
        "relayd 1",
        '"reverse_path": "alice@example.org"',
        "Received: from client.example.org",
        "near.example.test",
        "far.example.test",
        "The relay has stopped",
    ):
        assert expected in shown.stdout
    assert "greets faster than far.example.test" in shown.stdout
    assert "\033" not in shown.stdout
    assert shown.stderr == ""
