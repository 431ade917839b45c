"""A copy of a running spool, made as docs/operation.md says, and started elsewhere."""

import subprocess
from pathlib import Path

from tests.live.test_delivery import delivering, send
from tests.world.exchanger import Exchanger
from tests.world.network import free_port
from tests.world.relay import USER

ZONE = """
up.test. 60 IN MX 10 mx.up.test.
mx.up.test. 60 IN A 127.0.0.2
down.test. 60 IN MX 10 mx.down.test.
mx.down.test. 60 IN A 127.0.0.3
"""
DOCUMENT = Path(__file__).parents[2] / "docs" / "operation.md"


def backup_commands() -> str:
    """The block of the document that copies a running spool."""
    text = DOCUMENT.read_text()
    start = text.index("mkdir -p backup/spool")
    return text[start : text.index("```", start)]


def test_a_restored_copy_sends_nobody_what_its_journal_says_is_done() -> None:
    """One recipient has the mail, the other waits: the copy delivers to the other alone."""
    port = free_port("127.0.0.2", "127.0.0.3")
    settings = 'retry = ["1h"]'
    with (
        Exchanger("127.0.0.2", port) as up,
        Exchanger("127.0.0.3", port) as down,
        delivering(ZONE, port, delivery=settings) as original,
    ):
        down.stop()
        send(original, 1, recipient="bob@up.test,carol@down.test")
        up.wait_for(1)
        original.wait(lambda: bool(original.files("cur")), "message in cur/")
        with delivering(ZONE, port, delivery=settings) as other:
            other.stop()
            subprocess.run(["sh", "-euc", backup_commands()], cwd=original.folder, check=True)
            subprocess.run(["rm", "-r", str(other.spool)], check=True)
            (original.folder / "backup" / "spool").rename(other.spool)
            if USER:
                subprocess.run(["chown", "-R", f"{USER}:", str(other.spool)], check=True)
            down.start()
            other.start()
            assert other.command("queue", "flush").returncode == 0
            down.wait_for(1)
            other.wait_until_empty()
            assert other.command("audit").returncode == 0
        assert len(up.messages) == 1
        assert down.messages[0].recipients == (b"RCPT TO:<carol@down.test>",)
