"""The manual pages and the completion of shells say what parser and configuration say, and are well made."""

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from relayd.base import raw, sections
from relayd.cli.arguments import parse, parser
from tests.packaging import annotated, completion, manual
from tests.packaging.pages import TOP, made
from tests.packaging.roff import Page, literal

MADE = made()


@pytest.mark.parametrize("path", MADE, ids=str)
def test_what_is_checked_in_is_what_would_be_made(path: Path) -> None:
    """Otherwise bin/pages was not run after a change."""
    assert (TOP / path).read_text() == MADE[path], "run bin/pages"


@pytest.mark.parametrize("name", ["relayd.8", "relayd.toml.5"])
def test_a_page_is_without_fault(name: str) -> None:
    """Said by mandoc and groff."""
    path = TOP / "docs" / "man" / name
    checkers = (["mandoc", "-Tlint", "-Wwarning"], ["groff", "-man", "-Tascii", "-ww", "-z"])
    there = [words for words in checkers if shutil.which(words[0])]
    if not there:
        pytest.skip("neither mandoc nor groff is here")
    for words in there:
        done = subprocess.run([*words, str(path)], check=False, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_key_of_the_sections_is_in_the_file_and_the_page() -> None:
    """By its name; that the defaults shown are true is proved with the configuration."""
    shown = {table.name.strip("[]"): table for table in annotated.tables(TOP / "etc" / "relayd.toml")}
    page = manual.configuration_page()
    kinds: dict[str, type[msgspec.Struct]] = {**raw.TABLES, 'delivery.limits."example.net"': raw.Limit}
    for table, kind in kinds.items():
        keys = [key.name for entry in shown[table].entries for key in entry.keys]
        # The tables below it are shown as such.
        assert keys == [each.name for each in msgspec.structs.fields(kind) if each.name != "limits"]
        for entry in shown[table].entries:
            if entry.keys:
                tag = ", ".join(key.name for key in entry.keys)
                assert f".B {tag}\n" in page


def test_what_is_read_and_what_is_used_have_the_same_keys() -> None:
    """A key of `sections` that nobody can write, or one that is read and forgotten, is found here."""
    other = {"metrics": {"listen"} ^ {"address", "port"}}
    for table, kind in raw.TABLES.items():
        used = {each.name for each in dataclasses.fields(getattr(sections, table.capitalize()))}
        read = {each.name for each in msgspec.structs.fields(kind)}
        assert used ^ read == other.get(table, set()), table


def test_an_example_is_not_called_a_default() -> None:
    """Where the value depends on something, and in tables with a domain in their name."""
    page = manual.configuration_page()
    for wrong in ('Default: "relay.example.org"', 'Default: ["smtp1.example.com"', 'Default: "100/min"'):
        assert wrong not in page
    assert "Example: 20\n" in page
    assert "Default: 1000\n" in page


def test_every_command_is_in_the_page_with_its_options() -> None:
    """A command or an option without a help text would be missing."""
    page = manual.commands_page()
    for words, command in manual.commands(parser()):
        assert f'.SS "{" ".join(words)}"\n' in page
        for action in manual.own(command):
            assert f".B {literal(manual.tag(action))}\n" in page


def test_a_new_argument_without_a_meaning_cannot_be_overlooked() -> None:
    """The page is not made with a hole in it."""
    command = parser()
    argument = command.add_argument("thing")
    with pytest.raises(KeyError, match="THING"):
        manual.meaning(argument)


@pytest.mark.parametrize("line", ["#key with words", "key", "[table", "# ok\nwords"])
def test_a_line_of_another_form_is_not_left_out(tmp_path: Path, line: str) -> None:
    """What cannot be understood in the configuration stops the making of the page."""
    path = tmp_path / "relayd.toml"
    path.write_text(f"# Head.\n\n{line}\n")
    with pytest.raises(ValueError, match="line "):
        annotated.tables(path)


def test_a_changelog_without_a_date_is_an_error() -> None:
    """The page's date is that of the version."""
    assert manual.date_of("# Changes\n\n## 1.2.3 (2026-01-31)\n\n## 1.2.2 (2025-01-31)\n") == "2026-01-31"
    with pytest.raises(ValueError, match="heading"):
        manual.date_of("# Changes\n\n## 1.2.3\n")


def test_no_text_is_taken_for_a_request_of_roff() -> None:
    """A point or a quote at the start of a line, and backslashes, mean themselves."""
    page = Page("x", 1, "2026-01-31", "x 1")
    page.section("S")
    page.paragraphs([".example.net is a domain", "a\\b 'c' ~ ^"])
    page.example([".TH", "--state"])
    assert page.text.splitlines()[5:] == [
        "\\&.example.net is a domain",
        ".PP",
        "a\\eb \\(aqc\\(aq \\(ti \\(ha",
        ".PP",
        ".RS 4",
        ".EX",
        "\\&.TH",
        "\\-\\-state",
        ".EE",
        ".RE",
    ]


def test_man_shows_a_key_as_it_is_typed() -> None:
    """The hyphens of an option can be copied and searched."""
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("no man here")
    path = TOP / "docs" / "man" / "relayd.8"
    environment = {**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["man", "-l", str(path)], check=True, capture_output=True, text=True, env=environment)
    text = re.sub(".\b", "", done.stdout)
    assert "--foreground\n" in text
    assert "relayd queue show ID" in text


@pytest.mark.parametrize("shell", completion.NAMES)
def test_a_shell_reads_its_file(shell: str) -> None:
    """As a script, without a word."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    path = TOP / "etc" / "completion" / shell / completion.NAMES[shell]
    done = subprocess.run([shell, "-n", str(path)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["relayd", "rel"], {"reload"}),
        (["relayd", "queue", "f"], {"flush", "fail"}),
        (["relayd", "queue", "list", "--st"], {"--state"}),
        (["relayd", "queue", "list", "--state", "h"], {"hold"}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_word_is_completed(shell: str, words: list[str], offered: set[str]) -> None:
    """Commands, the commands below them, options, and the values of options."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    path = TOP / "etc" / "completion" / shell / completion.NAMES[shell]
    typed = " ".join(words)
    script = {
        "bash": f'. {path}; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; COMP_LINE="{typed}"; '
        f"COMP_POINT={len(typed)}; _shtab_relayd relayd {words[-1]} {words[-2]}; "
        'printf "%s\\n" "${COMPREPLY[@]}"',
        "fish": f'source {path}; complete -C "{typed}"',
    }[shell]
    done = subprocess.run([shell, "-c", script], check=False, capture_output=True, text=True)
    assert {line.partition("\t")[0].strip() for line in done.stdout.splitlines()} == offered, done.stderr


def test_files_are_completed_where_a_file_is_meant() -> None:
    """-c has files, --spool folders."""
    text = MADE[Path("etc/completion/zsh/_relayd")]
    assert ":FILE:_files" in text
    assert ":DIR:_files -/" in text


def test_help_is_there_for_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 0 and says how the command is used."""
    for words, _ in manual.commands(parser()):
        with pytest.raises(SystemExit) as ended:
            parse([*words, "--help"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: relayd {' '.join(words)} ")
