"""Telnet: Debian's own, typed into line by line as a person would, each line after the reply to the last."""

import subprocess
from typing import IO

_SECONDS = 20.0


def telnet(host: str, port: int, typed: str) -> list[str]:
    """Type lines into a session and give all lines that came back; mail data is typed without waiting.

    subprocess.TimeoutExpired when the session does not end after the last line.
    """
    command = ["telnet", host, str(port)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        heard: list[str] = []
        _read_reply(process.stdout, heard)
        is_data = False
        for line in typed.splitlines():
            process.stdin.write(line + "\n")
            process.stdin.flush()
            if line == "." or not is_data:
                _read_reply(process.stdout, heard)
            is_data = line == "DATA" or (is_data and line != ".")
        # Without a terminal it waits for the end of what is typed, even after the other side has closed.
        process.stdin.close()
        process.wait(_SECONDS)
        return heard


def _read_reply(lines: IO[str], heard: list[str]) -> None:
    """Read on until a reply's last line, or the end."""
    while line := lines.readline():
        heard.append(line.rstrip("\r\n"))
        if line[:3].isdigit() and line[3:4] == " ":
            return
