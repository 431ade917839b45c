"""Words of the command line: what is understood, and what is refused in one line."""

from pathlib import Path

import pytest

from relayd.base.config import ConfigError
from relayd.cli.arguments import command_of, config_path, configuration, parse
from relayd.cli.users import run


def test_options_stand_before_or_after_the_command() -> None:
    """-c and --spool belong to every command."""
    for words in (["-c", "a", "--spool", "b", "status"], ["status", "-c", "a", "--spool", "b"]):
        parsed = parse(words)
        assert (parsed.config, parsed.spool, parsed.command) == (Path("a"), Path("b"), "status")


def test_start_replaces_addresses_and_port(tmp_path: Path) -> None:
    """start ADDRESS --port N, over what the file says."""
    path = tmp_path / "relayd.toml"
    path.write_text('[[listener]]\naddress = "127.0.0.1"\nport = 25\n')
    config = configuration(parse(["start", "localhost", "::1", "--port", "2525", "-c", str(path)]))
    assert [(each.address, each.port) for each in config.listeners] == [("localhost", 2525), ("::1", 2525)]


def test_the_checkouts_configuration_is_the_default() -> None:
    """etc/relayd.toml beside the package."""
    assert config_path(parse(["check"])) == Path(__file__).parents[2] / "etc" / "relayd.toml"


def test_an_installed_relay_reads_the_systems_configuration(tmp_path: Path) -> None:
    """The first of the usual places that has a file; -c before all of them."""
    checkout, system = tmp_path / "checkout.toml", tmp_path / "system.toml"
    system.touch()
    assert config_path(parse(["check"]), usual=(checkout, system)) == system
    checkout.touch()
    assert config_path(parse(["check"]), usual=(checkout, system)) == checkout
    assert config_path(parse(["check", "-c", "mine"]), usual=(checkout, system)) == Path("mine")


def test_without_any_configuration_a_spool_must_be_named(tmp_path: Path) -> None:
    """Otherwise the line says where a configuration belongs; no folder of the moment becomes a spool."""
    usual = (tmp_path / "relayd.toml",)
    assert config_path(parse(["check", "--spool", "mine"]), usual=usual) is None
    with pytest.raises(ConfigError) as raised:
        config_path(parse(["check"]), usual=usual)
    assert str(raised.value).startswith(f"no configuration: {usual[0]} is not there; copy ")


@pytest.mark.parametrize("words", [["user", "add", "alice"], ["user", "remove", "alice"], ["user", "list"]])
def test_the_commands_for_users_are_one_module(words: list[str]) -> None:
    """With the name, where there is one."""
    parsed = parse(words)
    assert (parsed.user_command, getattr(parsed, "name", None)) == (words[1], (*words, None)[2])
    assert command_of(parsed) is run


@pytest.mark.parametrize(
    "words",
    [
        ["user"],
        ["user", "add"],
        ["user", "add", "a", "b"],
        [],
        ["fly"],
        ["start", "--port", "x"],
        ["queue"],
        ["queue", "show"],
        ["status", "--yes"],
        ["stop", "now"],
    ],
)
def test_words_that_mean_nothing_are_one_line_and_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, and where to read more."""
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.startswith("relayd: ")
    assert "--help" in said
