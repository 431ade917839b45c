"""The way out: what `status` and `check` say when every connect outward times out."""

import getpass
import json
from pathlib import Path

import pytest

from relayd.base.config import load
from relayd.cli import main, outward
from relayd.deliver.keeping import Keeping, Memory
from relayd.deliver.measures import Latencies
from relayd.deliver.outward import Outward
from relayd.spool.layout import Layout
from tests.world.network import free_port

NOW = 1_800_000_000.0


def memory(count: int, *, age: float = 30.0) -> Memory:
    """What a delivery process met that had a timeout at so many destinations, for the last two hours."""
    blocked = Outward()
    for number in range(count):
        blocked.timed_out(f"{number}.test", NOW - 7200.0)
    return Memory(outward=blocked, age=age)


def configured(folder: Path) -> Path:
    """A configuration."""
    path = folder / "relayd.toml"
    path.write_text(
        f'hostname = "relay.example.com"\n[[listener]]\naddress = "127.0.0.1"\nport = {free_port()}\n'
        f'[spool]\ndirectory = "{folder}/spool"\n[process]\nuser = "{getpass.getuser()}"\n'
    )
    return path


def test_a_way_out_that_looks_blocked_is_one_sentence_with_what_to_do(tmp_path: Path) -> None:
    """The port is that of [delivery]."""
    config = load(configured(tmp_path))
    assert outward.warning(config, memory(3), NOW) == (
        "port 25 outward looks blocked: for 2h every connect to every destination (3 of them) has timed out; "
        'many providers block it: ask yours, or send through their relay with [routes] "*"'
    )


@pytest.mark.parametrize("met", [memory(2), memory(0), memory(3, age=86_400.0)])
def test_one_or_two_destinations_or_the_day_before_yesterday_say_nothing(tmp_path: Path, met: Memory) -> None:
    """These are other people's trouble, or over."""
    assert outward.warning(load(configured(tmp_path)), met, NOW) is None


def test_status_and_check_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also when nothing runs; for programs it is a field."""
    config = configured(tmp_path)
    layout = Layout(str(tmp_path / "spool"))
    layout.create()
    blocked = Outward()
    for number in range(3):
        blocked.timed_out(f"{number}.test", 0.0)
    keeping = Keeping(layout, None, lambda: 100.0, lambda: NOW)
    fresh = keeping.snapshot(Latencies(), blocked).replace(b'"written":1800000000.0', b'"written":9e9')
    keeping.write(fresh)
    main(["check", "-c", str(config)])
    assert "port 25 outward looks blocked" in capsys.readouterr().err
    main(["status", "-c", str(config)])
    assert "port 25 outward looks blocked" in capsys.readouterr().out
    main(["status", "--json", "-c", str(config)])
    assert json.loads(capsys.readouterr().out)["outward_blocked"] is True
    (tmp_path / "spool" / "exchangers").unlink()
    main(["status", "--json", "-c", str(config)])
    assert json.loads(capsys.readouterr().out)["outward_blocked"] is False
