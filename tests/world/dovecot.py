"""Dovecot's authentication service, as far as Postfix asks it: one user, PLAIN and LOGIN, on a UNIX socket.

Postfix asks somebody else about passwords; this answers as Dovecot would (its authentication protocol, version
1.1). A thread a connection. What is not understood is not answered.
"""

import base64
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_HELLO = (
    "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\n"
    "COOKIE\t00112233445566778899aabbccddeeff\nDONE\n"
)


@contextmanager
def authenticating(user: str, password: str) -> Iterator[Path]:
    """Answer at this path, which everybody may connect to."""
    # Not in pytest's own folder, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="dovecot-test-") as folder, socket.socket(socket.AF_UNIX) as listening:
        Path(folder).chmod(0o755)
        path = Path(folder, "auth")
        listening.bind(str(path))
        path.chmod(0o666)
        listening.listen()
        thread = threading.Thread(target=_accept, args=(listening, user, password), daemon=True)
        thread.start()
        yield path
        # Closing a socket does not wake a thread that waits in accept; shutting it down does.
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def _accept(listening: socket.socket, user: str, password: str) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_serve, args=(connection, user, password), daemon=True).start()


def _serve(connection: socket.socket, user: str, password: str) -> None:
    said: dict[str, list[str]] = {}
    with connection, connection.makefile("rw", encoding="utf-8", newline="\n") as lines, suppress(OSError):

        def say(line: str) -> None:
            lines.write(line)
            lines.flush()

        say(_HELLO)
        for line in lines:
            verb, *words = line.rstrip("\n").split("\t")
            if verb not in ("AUTH", "CONT"):
                continue
            number = words[0]
            if verb == "AUTH":
                said[number] = []
            response = [word.removeprefix("resp=") for word in words if word.startswith("resp=")]
            said[number] += map(_decoded, words[1:] if verb == "CONT" else response)
            mechanism = words[1] if verb == "AUTH" else "LOGIN"
            if mechanism == "PLAIN" and response:
                found = said[number][0].split("\0")[1:]
            elif len(said[number]) == 2:
                found = said[number]
            else:
                prompt = "Password:" if said[number] else "Username:"
                say(f"CONT\t{number}\t{base64.b64encode(prompt.encode()).decode()}\n")
                continue
            say(
                f"OK\t{number}\tuser={user}\n"
                if found == [user, password]
                else f"FAIL\t{number}\tuser={found[0]}\n"
            )


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
