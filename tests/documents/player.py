"""A player: does what one document says, block by block, and prints what came out otherwise.

    python -m tests.documents.player CHECKOUT DOCUMENT

It is meant for a network, a host name and a table of processes of its own, where port 25 is free and whatever a
document starts ends with the player. Everything happens in CHECKOUT, a copy that nobody else uses. Exit status 1
when something differs, each with its line.
"""

import fcntl
import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.documents.blocks import Block, Command, asked, blocks, commands, differs, with_id
from tests.world.telnet import telnet

_SECONDS = 60.0
# Who looks how it stands looks again, where something has only just been started; a line of the log may come late.
_LOOKS = re.compile(r"\b(status|curl)\b|^grep ")
_LOOK_SECONDS = 20.0
# What a person types who is asked for something: a password.
_TYPED = "correct horse battery staple\n"
_QUEUED = re.compile(r"queued as (\w{17})")
_TELNET = re.compile(r"telnet (\S+) (\d+)")


class Player:
    """One document on its way."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._config = checkout / "etc" / "relayd.toml"
        self._settings = ""
        self._id = "1" * 17
        self.wrong: list[str] = []

    def play(self, text: str) -> None:
        """All blocks, and what tables ask, in their order."""
        parts: list[Block | Command] = [*blocks(text), *asked(text)]
        for part in sorted(parts, key=lambda part: part.line):
            if isinstance(part, Command):
                self._ask(part)
            elif part.kind == "console":
                for command in commands(part):
                    self._run(command)
            elif part.kind == "sh":
                self._run(Command(part.line, "\n".join(part.lines), ()))
            elif part.kind.startswith("toml"):
                self._configure(part)

    def _configure(self, block: Block) -> None:
        before = "" if block.kind == "toml alone" else self._settings
        self._settings = before + "\n".join(block.lines) + "\n\n"
        self._config.write_text(self._settings)
        # It reads the configuration, and ends with 2 when that is none. What it names may be made later.
        said, status = self._shell("bin/relayd status")
        if status not in (0, 3):
            self._blame(Command(block.line, "bin/relayd status", ()), f"ended with {status}", said)

    def _run(self, command: Command) -> None:
        """Run it: what is shown was said; what shows nothing ends with 0."""
        deadline = time.monotonic() + _LOOK_SECONDS
        while (trouble := self._try(command)) and _LOOKS.search(command.words) and time.monotonic() < deadline:
            time.sleep(0.2)
        if trouble:
            self._blame(command, *trouble)

    def _try(self, command: Command) -> tuple[str, list[str]] | None:
        """Run it once; give what is wrong, and what it said."""
        dialogue = _TELNET.fullmatch(command.words)
        if dialogue is not None:
            said, status = self._talk(dialogue[1], int(dialogue[2]), command.shown), 0
        else:
            said, status = self._shell(command.words)
        if (found := _QUEUED.findall("\n".join(said))) != []:
            self._id = found[-1]
        line = differs([with_id(each, self._id) for each in command.shown if not _is_typed(command, each)], said)
        if line is not None:
            return f"did not say: {line}", said
        return (f"ended with {status}", said) if status and not command.shown else None

    def _ask(self, command: Command) -> None:
        """What a table asks may be answered with no; it has to be a command that there is."""
        said, status = self._shell(command.words)
        if status not in (0, 1) or any("Traceback" in line for line in said):
            self._blame(command, f"ended with {status}", said)

    def _shell(self, words: str) -> tuple[list[str], int]:
        words = with_id(words, self._id)
        done = subprocess.run(
            ["bash", "-ec", words],
            check=False,
            cwd=self._checkout,
            input=_TYPED,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            text=True,
            errors="replace",
        )
        return done.stdout.splitlines(), done.returncode

    def _talk(self, host: str, port: int, shown: tuple[str, ...]) -> list[str]:
        return telnet(host, port, "".join(line + "\n" for line in shown if not _is_said(line)))

    def _blame(self, command: Command, why: str, said: list[str]) -> None:
        shown = "\n".join("    " + line for line in said[-15:])
        self.wrong.append(f"line {command.line}: {shlex.quote(command.words)} {why}; it said:\n{shown}")


def _is_typed(command: Command, line: str) -> bool:
    return _TELNET.fullmatch(command.words) is not None and not _is_said(line)


def _is_said(line: str) -> bool:
    """Whether a line of a telnet session comes from telnet or the server."""
    return bool(re.match(r"\d{3}[ -]|Trying |Connected to |Escape character |Connection closed ", line))


def settle_in() -> None:
    """A host of the name that documents show; a new network has its loopback down (netdevice(7): SIOCSIFFLAGS)."""
    socket.sethostname("relay.example.org")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 1))


def open_the_way(path: Path) -> None:
    """Let everybody come to a file, for a Python below /root; nobody outside of this table of mounts sees it.

    A folder that only its owner may enter is covered with one that has its folders and nothing else.
    """
    for folder in reversed(path.parents):
        if folder.stat().st_mode & 0o001:
            continue
        # Taken away with rmdir alone: as long as it is the folder itself, that fails.
        aside = Path(tempfile.mkdtemp(prefix="relayd-documents-"))
        _mount("--bind", str(folder), str(aside))
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder))
        for each in aside.iterdir():
            place = folder / each.name
            if each.is_symlink():
                place.symlink_to(each.readlink())
            elif each.is_dir():
                place.mkdir()
                _mount("--bind", str(each), str(place))
        subprocess.run(["umount", str(aside)], check=True)
        aside.rmdir()


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def main() -> int:
    """Play the document; see the module."""
    checkout, document = (Path(word) for word in sys.argv[1:])
    settle_in()
    open_the_way(Path(sys.executable).resolve())
    open_the_way(Path(sys.prefix) / "bin")
    player = Player(checkout)
    began = time.monotonic()
    player.play(document.read_text())
    print("\n".join(player.wrong))
    print(f"{document.name}: {len(player.wrong)} differ, {time.monotonic() - began:.1f} s")
    return 1 if player.wrong else 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
