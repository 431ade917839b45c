"""How commands print."""

import pytest

from relayd.cli.output import clean, complain, octets, plural, table


def test_a_table_is_aligned_and_has_no_trailing_space() -> None:
    """Numbers to the right."""
    assert table([("name", "n"), ("a", "10"), ("long name", "")], frozenset({1})) == [
        "name        n",
        "a          10",
        "long name",
    ]


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4_200_000, "4.2 MB"), (10**10, "10.0 GB")]
)
def test_a_size_is_short(count: int, shown: str) -> None:
    """Powers of ten, as the configuration has them."""
    assert octets(count) == shown


def test_one_is_not_many() -> None:
    """1 message, 2 messages, 0 messages."""
    assert [plural(count, "message") for count in (0, 1, 2)] == ["0 messages", "1 message", "2 messages"]
    assert plural(2, "is", "are") == "2 are"


def test_nothing_that_a_terminal_obeys_is_printed() -> None:
    """Escape sequences and surrogates of odd file names are shown, not sent."""
    assert clean("a\x1b[31m\r\nb\udcff") == "a\\x1b[31m\\r\\nb\\udcff"
    assert clean("grün") == "grün"


def test_what_has_no_end_is_shortened_in_a_complaint(capsys: pytest.CaptureFixture[str]) -> None:
    """A path or a number of thousands of characters is still one line that can be read; words stay whole."""
    complain("no file " + "a" * 5000 + " there; " + "word " * 50)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("relayd: no file " + "a" * 120 + "…" + "a" * 20 + " there; word word ")
    assert line.count("word") == 50
