"""The player finds what a document shows otherwise than it is."""

from pathlib import Path

import pytest

from tests.documents.player import Player


def played(checkout: Path, text: str) -> list[str]:
    """What is wrong with a document, the first line of each finding."""
    player = Player(checkout)
    player.play(text)
    return [each.splitlines()[0] for each in player.wrong]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("```console\n$ echo a b\na   b\n```\n", []),
        ("```console\n$ echo a\nb\n```\n", ["line 2: 'echo a' did not say: b; it said:"]),
        ("```console\n$ false\n```\n", ["line 2: false ended with 1; it said:"]),
        ("```console\n$ echo no; false\nno\n```\n", []),
        ("```sh\nfalse; true\n```\n", ["line 2: 'false; true' ended with 1; it said:"]),
        ("```sh by-hand\nfalse\n```\n", []),
        ("```text\nfalse\n```\n", []),
        ("```console\n$ cat\ncorrect horse battery staple\n```\n", []),
        ("| ask |\n|---|\n| `false`, `exit 2` |\n", ["line 3: 'exit 2' ended with 2; it said:"]),
        ("| ask |\n|---|\n| `echo Traceback` |\n", ["line 3: 'echo Traceback' ended with 0; it said:"]),
    ],
)
def test_what_is_shown_is_held_against_what_happens(tmp_path: Path, text: str, wrong: list[str]) -> None:
    """A command that shows nothing has to end well; one of a table may say no."""
    assert played(tmp_path, text) == wrong


def test_the_last_message_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    """The ID that documents show stands for the one that a command before it has said."""
    text = (
        "```console\n$ echo queued as 1nbq8xq9vw''kr7d4hx\nqueued as 1mqp3a2v9wkr7d4hx\n"
        "$ test 1mqp3a2v9wkr7d4hx = 1nbq8xq9vw''kr7d4hx\n```\n"
    )
    assert played(tmp_path, text) == []


def test_a_configuration_grows_and_begins_anew(tmp_path: Path) -> None:
    """Each block is read by the relay with those before it; one that it does not take is found."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "bin").mkdir()
    relayd = tmp_path / "bin" / "relayd"
    relayd.write_text("#!/bin/sh\ngrep -q bad etc/relayd.toml && exit 2\nexit 3\n")
    relayd.chmod(0o755)
    text = "```toml\n[a]\n```\n```toml\nbad = 1\n```\n```toml\n[b]\n```\n```toml alone\n[c]\n```\n"
    assert [each.partition(":")[0] for each in played(tmp_path, text)] == ["line 5", "line 8"]
    assert (tmp_path / "etc" / "relayd.toml").read_text().split() == ["[c]"]
