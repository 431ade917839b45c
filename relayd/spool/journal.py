"""A journal: the outcomes of one message as JSON lines, appended and synced, for us and for people.

Refuses to know what follows from an outcome. What a crash leaves of an unfinished append (a torn last line, or
octets of nothing where data never reached the medium) is not read, and is cut off before the next append. What
else cannot be read raises NotSound; OSError is the disk's.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from relayd.smtp.reply import Reply, printable
from relayd.spool.dialogue import latest
from relayd.spool.disk import Disk
from relayd.spool.errors import NO_ROOM, NotSound
from relayd.spool.layout import Layout
from relayd.spool.outcome import Entry, Notified, Outcome, Scheduled, check_recipients
from relayd.spool.regular import open_regular, read_all

# More than all attempts of five days for a message with ten thousand recipients; a larger one is not ours.
LARGEST = 128 << 20
# How much of a reply is kept, in characters: a hostile one must not use up the disk, try after try.
_LONGEST_REPLY = 2000
# How long a journal may become with transcripts, in octets; beyond that it does without.
_LONG = 4 << 20

# As we write it. Within a string of JSON its quotes would be escaped.
_SCHEDULED = b'"kind":"scheduled"'

_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")

_encoder = msgspec.json.Encoder()
_outcome = msgspec.json.Decoder(Outcome)
_marked = msgspec.json.Decoder(Notified | Scheduled)


class _Kind(msgspec.Struct):
    kind: str


_kind = msgspec.json.Decoder(_Kind)


class Journal:
    """One message's, for as long as somebody works on the message.

    It remembers how much of the file is sound and durable, so that after a failed append the next one begins
    there: what an fsync has once failed for is written again, never taken for written.
    """

    def __init__(self, disk: Disk, layout: Layout, message_id: str) -> None:
        self._disk = disk
        self._layout = layout
        self._path = layout.journal(message_id)
        self._size = 0
        self._is_named = False

    @property
    def exists(self) -> bool:
        """Whether there is one, durably."""
        return self._is_named

    def read(self, is_doubtful: Callable[[float], bool] = lambda mtime: False) -> list[Entry]:
        """All whole lines, oldest first; none when there is no journal.

        `is_doubtful` says of the time of the last change whether it may never have been synced, since its writer
        was killed; then that is made good before anybody acts on it.
        """
        try:
            content = read(self._disk, self._path, is_doubtful)
        except FileNotFoundError:
            return []
        entries, self._size = parse(content)
        self._is_named = True
        return entries

    def append(self, entries: Sequence[Entry], make_room: Callable[[], bool] = lambda: False) -> None:
        """Add lines; done means durable. `make_room` is asked for room when there is none, until it gives none.

        Transcripts are for people: where there is no room it does without them.
        """
        octets = _lines(entries)
        if self._size + len(octets) > _LONG:
            octets = _lines(entries, is_brief=True)
        while True:
            try:
                self._append(octets)
                return
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                brief = _lines(entries, is_brief=True)
                if octets == brief and not make_room():
                    raise
                octets = brief

    def _append(self, octets: bytes) -> None:
        fd = self._disk.open_append(self._path)
        try:
            size = self._disk.stat(fd).st_size
            if size < self._size:
                # Somebody took it away or cut it off during the attempt: what they left counts.
                self._size = 0
                self.read()
                self._is_named = False
            if size != self._size:
                self._disk.truncate(fd, self._size)
            self._disk.write(fd, octets)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)
        if not self._is_named:
            self._disk.sync_folder(self._layout.folder("journal"))
            self._is_named = True
        self._size += len(octets)


def read(disk: Disk, path: str, is_doubtful: Callable[[float], bool] = lambda mtime: False) -> bytes:
    """The content of a journal; raises NotSound, FileNotFoundError when there is none, and OSError."""
    try:
        fd, status = open_regular(disk, path)
    except NotSound as error:
        raise NotSound(f"its journal: {error}") from None
    try:
        if status.st_size > LARGEST:
            raise NotSound(f"its journal has {status.st_size} octets")
        if is_doubtful(status.st_mtime):
            disk.sync(fd)
        return read_all(disk, fd, status.st_size)
    finally:
        disk.close(fd)


class Standing(NamedTuple):
    """How a message stands: who is open, how many attempts there were, and what came last of those who are."""

    open: tuple[int, ...]
    attempts: int
    last: Outcome | None


def standing(content: bytes, recipients: int) -> Standing:
    """The fold of a journal in short, from its end and no further than needed; raises NotSound.

    It may differ from the whole fold only where somebody wrote lines that we do not write.
    """
    end = _sound(content)
    unseen = set(range(recipients))
    waiting: set[int] = set()
    attempts = 0
    last: Outcome | None = None
    last_of_open: Outcome | None = None
    while end and unseen:
        begin = content.rfind(b"\n", 0, end - 1) + 1
        line, end = content[begin : end - 1], begin
        if _SCHEDULED in line:
            continue
        entry = _parsed(line) or parse_line(line, content.count(b"\n", 0, begin) + 1)
        if not isinstance(entry, Outcome):
            continue
        check_recipients(entry, recipients)
        attempts = max(attempts, entry.attempt)
        if last is None and len(entry.recipients) == recipients:
            # It says all there is to know of nearly every message, and a listing has many.
            return Standing(() if entry.kind.is_final else tuple(sorted(entry.recipients)), attempts, entry)
        last = last or entry
        seen = unseen.intersection(entry.recipients)
        unseen -= seen
        if seen and not entry.kind.is_final:
            waiting |= seen
            last_of_open = last_of_open or entry
    return Standing(tuple(sorted(waiting | unseen)), attempts, last_of_open or last)


def parse(content: bytes) -> tuple[list[Entry], int]:
    """The entries, and how many octets of the file are whole lines; raises NotSound."""
    sound = _sound(content)
    entries = [parse_line(line, number) for number, line in enumerate(content[:sound].split(b"\n")[:-1], start=1)]
    return entries, sound


def parse_line(line: bytes, number: int) -> Entry:
    """One line; raises NotSound."""
    try:
        if _kind.decode(line).kind in ("notified", "scheduled"):
            marked: Notified | Scheduled = _marked.decode(line)
            return marked
        entry = _outcome.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotSound(f"line {number} of its journal cannot be read: {error}") from None
    if not _is_sound(entry.reply):
        raise NotSound(f"line {number} of its journal cannot be read: its reply is none")
    return entry


def _parsed(line: bytes) -> Outcome | None:
    """The outcome that nearly every line is, or None when it is something else."""
    try:
        entry = _outcome.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return entry if _is_sound(entry.reply) else None


def _sound(content: bytes) -> int:
    """How many octets were certainly written whole."""
    # After a power cut a file may be as long as it should and have zeros where data never came; ours has none.
    written = content.find(b"\0")
    return content.rfind(b"\n", 0, written if written >= 0 else len(content)) + 1


def _is_sound(reply: Reply) -> bool:
    """Whether a reply has the form of one: it goes into notifications, and people can edit a journal."""
    return (
        200 <= reply.code <= 599
        and bool(reply.lines)
        and _is_printable("".join(reply.lines))
        and (reply.enhanced is None or _ENHANCED.fullmatch(reply.enhanced) is not None)
    )


def _is_printable(text: str) -> bool:
    return text.isprintable() or printable(text) == text


def _lines(entries: Sequence[Entry], *, is_brief: bool = False) -> bytes:
    return b"".join(_encoder.encode(_bounded(entry, is_brief)) + b"\n" for entry in entries)


def _bounded(entry: Entry, is_brief: bool) -> Entry:
    """The entry with a reply that can be read again, and is kept at bearable length; in brief, no transcript."""
    if not isinstance(entry, Outcome):
        return entry
    transcript = () if is_brief else latest(entry.transcript)
    if len(transcript) != len(entry.transcript):
        entry = msgspec.structs.replace(entry, transcript=transcript)
    kept: list[str] = []
    left = _LONGEST_REPLY
    for line in map(printable, entry.reply.lines or ("",)):
        kept.append(line if len(line) <= left else line[:left] + "…")
        left -= len(line) + 1
        if left <= 0:
            break
    if tuple(kept) == entry.reply.lines:
        return entry
    return msgspec.structs.replace(entry, reply=Reply(entry.reply.code, entry.reply.enhanced, tuple(kept)))
