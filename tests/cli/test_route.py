"""`relayd route`: the order of trial and the reason, from DNS, the kept measures, and what is met now."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from relayd.cli import main
from relayd.deliver.exchangers import Candidate
from relayd.deliver.keeping import Keeping
from relayd.deliver.measures import Latencies
from relayd.deliver.outward import Outward
from relayd.spool.layout import Layout
from tests.world.exchanger import Exchanger
from tests.world.names import NameServer
from tests.world.network import free_port

ZONE = """
example.org. 3600 IN MX 10 one.example.org.
example.org. 3600 IN MX 10 two.example.org.
example.org. 3600 IN MX 20 three.example.org.
one.example.org. 300 IN A 127.0.0.2
two.example.org. 300 IN A 127.0.0.3
three.example.org. 300 IN A 127.0.0.4
null.test. 60 IN MX 0 .
"""
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


class Place:
    """A configuration whose name server is at `names`; `more` are further tables of it."""

    def __init__(self, folder: Path, names: tuple[str, int], port: int, more: str) -> None:
        self.port = port
        self.spool = folder / "spool"
        self.spool.mkdir()
        self._file = folder / "relayd.toml"
        self._file.write_text(
            'hostname = "relay.example.com"\n[[listener]]\naddress = "127.0.0.1"\nport = 2525\n'
            f'[spool]\ndirectory = "{self.spool}"\n'
            f"[delivery]\nport = {self.port}\nprivate_exchangers = true\n"
            f'[dns]\nnameservers = ["{names[0]}:{names[1]}"]\n{more}'
        )

    def words(self, *words: str) -> list[str]:
        """The command line."""
        return ["route", *words, "-c", str(self._file)]

    def candidate(self, name: str, address: str, preference: int = 10) -> Candidate:
        """An exchanger's address."""
        return Candidate(preference, f"{name}.example.org", ip_address(address), self.port)

    def remember(self, latencies: Latencies) -> None:
        """Leave measures as a delivery process does."""
        keeping = Keeping(Layout(str(self.spool)), None, time.monotonic, time.time)
        keeping.write(keeping.snapshot(latencies, Outward()))


@contextmanager
def place(folder: Path, more: str = "") -> Iterator[Place]:
    """A place whose name server answers."""
    with NameServer(ZONE) as names:
        yield Place(folder, names.address, free_port(*HOSTS), more)


def measured(at: Place) -> Latencies:
    """Two is fast, one is slow, and three has failed again and again."""
    latencies, now = Latencies(), time.monotonic()
    latencies.greeted(at.candidate("one", HOSTS[0]), 0.120, now)
    latencies.greeted(at.candidate("two", HOSTS[1]), 0.012, now)
    for _ in range(3):
        latencies.failed(at.candidate("three", HOSTS[2], 20), now)
    return latencies


def test_every_exchanger_is_shown_in_the_order_it_would_be_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With TTLs, measures and circuits, and in one sentence why the first one is first."""
    with place(tmp_path) as at:
        at.remember(measured(at))
        assert main(at.words("user@example.org")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "user@example.org: the MX of example.org (TTL 3600 s), by preference"
    cells = [line.split() for line in lines[2:6]]
    assert cells[0] == ["exchanger", "pref", "address", "TTL", "greets", "samples", "failures", "circuit", "TLS"]
    assert [row[:3] for row in cells[1:]] == [
        ["1", "two.example.org", "10"],
        ["2", "one.example.org", "10"],
        ["3", "three.example.org", "20"],
    ]
    assert cells[1][3:] == [
        f"127.0.0.3:{at.port}", "300", "s", "12.0", "ms", "1", "0", "closed", "opportunistic",
    ]  # fmt: skip
    assert "open for" in lines[5]
    assert lines[-1].endswith(
        "preference 10: two.example.org (12.0 ms) greets faster than one.example.org (120.0 ms)"
    )


def test_programs_get_the_same_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing has to be read out of a table."""
    with place(tmp_path) as at:
        at.remember(measured(at))
        assert main(at.words("user@example.org", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["domain"], found["route"], found["rank"], found["tls"], found["mx_ttl_s"]) == (
        "example.org", None, "preference", "opportunistic", 3600,
    )  # fmt: skip
    assert [
        (each["exchanger"], each["greeting_ms"], each["failures"], each["circuit"]) for each in found["order"]
    ] == [
        ("two.example.org", 12.0, 0, "closed"),
        ("one.example.org", 120.0, 0, "closed"),
        ("three.example.org", None, 3, "open"),
    ]
    assert found["order"][0]["probed"] is None


def test_a_probe_measures_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What greets first comes first, whoever offers STARTTLS is shown, and who refuses says why."""
    with place(tmp_path) as at:
        slow = Exchanger(HOSTS[0], at.port, greeting_delay=0.2)
        fast = Exchanger(HOSTS[1], at.port, replies={"EHLO": b"250-two\r\n250 STARTTLS\r\n"})
        with slow, fast:
            assert main(at.words("example.org", "--probe", "--json")) == 0
            assert [each.lines for each in fast.sessions] == [[b"EHLO relay.example.com", b"QUIT"]]
        order = json.loads(capsys.readouterr().out)["order"]
    assert [each["exchanger"].partition(".")[0] for each in order] == ["two", "one", "three"]
    two, one, three = (each["probed"] for each in order)
    assert (two["has_starttls"], one["has_starttls"]) == (True, False)
    assert one["greeting_s"] > 0.2
    assert (three["greeting_s"], "Connection refused" in three["answer"]) == (None, True)


def test_a_probe_is_told_in_words_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line an address."""
    with place(tmp_path) as at, Exchanger(HOSTS[0], at.port, name=b"one.example.org"):
        assert main(at.words("user@example.org", "--probe")) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("probed ")]
    assert len(lines) == 3
    assert lines[0].startswith(f"probed one.example.org 127.0.0.2:{at.port}: greeted after ")
    assert lines[0].endswith(" ms, no STARTTLS: 220 one.example.org ESMTP")


ROUTES = """
[routes]
"example.org" = { hosts = ["127.0.0.3", "127.0.0.2"], tls = "off", rank = "latency" }
".example.org" = { error = "5.7.1 not from here" }
"held.test" = { hold = true }
"""


def test_a_route_takes_the_place_of_mx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its hosts, its rank and its TLS."""
    with place(tmp_path, ROUTES) as at:
        assert main(at.words("user@EXAMPLE.org", "--json")) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["route"], found["rank"], found["tls"], found["mx_ttl_s"]) == (
            "example.org", "latency", "off", None,
        )  # fmt: skip
        assert [each["preference"] for each in found["order"]] == [None, None]
        assert main(at.words("user@example.org")) == 0
        first = capsys.readouterr().out.splitlines()[0]
    assert first == 'user@example.org: [routes] "example.org": 127.0.0.3, 127.0.0.2, by latency'


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("user@sub.example.org", "the route refuses it: 550 5.7.1 not from here"),
        ("user@held.test", "the route holds it until somebody releases it"),
        ("user@gone.test", "550 5.1.2 gone.test: no such domain"),
        ("user@null.test", "556 5.1.10 null.test does not accept mail (null MX)"),
    ],
)
def test_where_mail_cannot_go_the_reason_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str, why: str
) -> None:
    """With status 1."""
    with place(tmp_path, ROUTES) as at:
        assert main(at.words(address)) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"it does not go: {why}"


@pytest.mark.parametrize(
    "address", ["", "user@", "@example.org", "a b@example.org", "user@[1.2.3]", "x-.y", "1.2.3.4"]
)
def test_what_is_no_address_is_a_complaint_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    """Status 2; no name server is asked."""
    with place(tmp_path) as at:
        assert main(at.words(address)) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_kept_measures_that_cannot_be_read_are_told_and_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The order is told nevertheless."""
    with place(tmp_path) as at:
        (at.spool / "exchangers").write_text("{")
        assert main(at.words("user@example.org")) == 0
    said = capsys.readouterr()
    assert "exchangers is not used" in said.err
    assert "two.example.org" in said.out
