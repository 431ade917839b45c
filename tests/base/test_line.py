"""A line: whatever an event says, it stays one line, printable, whole, and not longer than a pipe takes."""

import json
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.base import events
from relayd.base.events import Event
from relayd.base.line import LONGEST, Format, Read, read, render, word

AT = datetime(2026, 7, 1, 9, 5, 3, 45_000, UTC)
HOSTILE = 'a "b" \\ \r\n\x00\x1b[2J\x7f\x85\u2028\u2029\u202e\ufeff\udcff é \U0001f600'


def text(event: Event) -> str:
    """The event as text, without the newline."""
    return rendered(event, "text").decode()


def rendered(event: Event, format: Format) -> bytes:
    """The event's line without its newline."""
    line = render(event, format, AT, 42)
    assert line.endswith(b"\n")
    return line[:-1]


def accepted(**changes: Any) -> events.MessageAccepted:
    """An event with some of everything."""
    fields: dict[str, Any] = {
        "id": "1k",
        "session": "1j",
        "client": "[::1]:9",
        "protocol": "ESMTPS",
        "reverse_path": "<a@b>",
        "recipients": 2,
        "size": 7,
    }
    return events.MessageAccepted(**{**fields, **changes})


def test_a_line_of_text_reads_from_left_to_right() -> None:
    """Time to the millisecond, process, event, then the values with the message's ID first."""
    assert text(accepted()) == (
        "2026-07-01T09:05:03.045Z relayd[42] message.accepted "
        "id=1k session=1j client=[::1]:9 protocol=ESMTPS reverse_path=<a@b> recipients=2 size=7"
    )


def test_a_line_of_json_has_the_same_in_the_same_order() -> None:
    """Time, pid and event first."""
    line = rendered(accepted(), "json")
    assert list(json.loads(line).items()) == [
        ("time", "2026-07-01T09:05:03.045Z"),
        ("pid", 42),
        ("event", "message.accepted"),
        ("id", "1k"),
        ("session", "1j"),
        ("client", "[::1]:9"),
        ("protocol", "ESMTPS"),
        ("reverse_path", "<a@b>"),
        ("recipients", 2),
        ("size", 7),
    ]


def test_what_is_not_known_is_left_out() -> None:
    """None and empty texts take no room."""
    event = events.SpoolTrouble(reason="full")
    assert text(event).endswith("spool.failed reason=full")
    assert json.loads(rendered(event, "json")).keys() == {"time", "pid", "event", "reason"}


def test_a_text_with_spaces_stands_in_quotes() -> None:
    """So that a reader knows where it ends; a fraction has three digits."""
    event = events.SessionClosed(session="1j", client="[::1]:1", messages=0, seconds=1 / 3, reason="too many")
    assert text(event).endswith('messages=0 seconds=0.333 reason="too many"')
    assert json.loads(rendered(event, "json"))["seconds"] == 0.333


def test_nothing_that_is_not_printable_reaches_the_text() -> None:
    """Line ends, terminal sequences, invisible characters and odd separators are escaped, quotes too."""
    line = text(accepted(reverse_path=HOSTILE))
    assert line.isprintable()
    assert (
        r'reverse_path="a \"b\" \\ \r\n\x00\x1b[2J\x7f\x85\u2028\u2029\u202e\ufeff\udcff é ' + "\U0001f600" + '"'
    ) in line


def test_nothing_that_is_not_printable_reaches_the_json() -> None:
    """It is ASCII, and says the same once it is read; what is no character shows as an escape."""
    line = rendered(accepted(reverse_path=HOSTILE), "json")
    assert all(0x20 <= octet <= 0x7E for octet in line)
    assert json.loads(line)["reverse_path"] == HOSTILE.replace("\udcff", "\\udcff")


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize("value", ["x" * 10_000, "\x00" * 10_000, "\U0001f600" * 10_000, "é" * 3990, '"' * 3000])
def test_a_long_value_loses_its_middle(format: Format, value: str) -> None:
    """The line stays a whole one with all its keys, and shows the cut."""
    line = rendered(accepted(reverse_path=value), format)
    assert len(line) < LONGEST
    if format == "json":
        cut = json.loads(line)
        assert cut["size"] == 7
        assert "…" in cut["reverse_path"]
    else:
        shown = line.decode()
        assert shown.endswith("size=7")
        assert "…" in shown


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize("character", ["\U0001f600", "\x00", "\udcff", "\U000e0001"])
def test_values_that_are_all_long_and_all_escaped_fit(format: Format, character: str) -> None:
    """The event with the most values, each of the characters that take the most room."""
    value = character * 4000
    event = events.DeliveryDelivered(
        id=value,
        recipients=value,
        attempt=1,
        reply=value,
        exchanger=value,
        address=value,
        greeting_ms=1 / 3,
        chosen=value,
        age_s=1e9,
    )
    line = rendered(event, format)
    assert len(line) < LONGEST
    assert b"greeting_ms" in line
    assert b"age_s" in line


def test_both_ends_of_a_long_traceback_are_kept() -> None:
    """Where it began and what was raised."""
    line = text(events.Bug(where="session", traceback="Traceback:\n" + "frame\n" * 5000 + "ValueError: why"))
    assert 'traceback="Traceback:\\nframe' in line
    assert line.endswith('ValueError: why"')


def test_a_line_that_just_fits_is_not_cut() -> None:
    """The bound counts the newline."""
    room = LONGEST - 1 - len(rendered(accepted(reverse_path=""), "text")) - len(" reverse_path=")
    assert len(render(accepted(reverse_path="x" * room), "text", AT, 42)) == LONGEST
    assert "…" not in text(accepted(reverse_path="x" * room))
    assert "…" in text(accepted(reverse_path="x" * (room + 1)))


class Nested(Event, frozen=True, kw_only=True, tag="test.nested"):
    """An event of no release, whose values are more than words."""

    names: tuple[str, ...]
    table: dict[str, Any]
    flag: bool = True


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_nested_value_is_written_too(format: Format) -> None:
    """And cut where it is too long."""
    small = Nested(names=("a", "b\n"), table={"k": [1, {"x": "\u2028"}]})
    line = rendered(small, format)
    assert line.decode().isprintable()
    if format == "json":
        assert json.loads(line)["table"] == {"k": [1, {"x": "\u2028"}]}
    large = rendered(Nested(names=("x" * 9000,), table={str(n): "\udcff\0" for n in range(900)}), format)
    assert len(large) < LONGEST
    if format == "json":
        assert json.loads(large)["flag"] is True


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(st.characters(), max_size=4000), min_size=7, max_size=7),
    st.sampled_from(["text", "json"]),
)
def test_any_values_make_one_line(values: list[str], format: Format) -> None:
    """Never longer than allowed, never with a line end inside, always JSON when it is to be JSON."""
    keys = ("id", "recipients", "reply", "exchanger", "address", "chosen")
    event = events.DeliveryDelivered(**dict(zip(keys, values, strict=False)), attempt=1, age_s=2.0)  # type: ignore[arg-type]
    line = rendered(event, format)
    assert len(line) < LONGEST
    assert line.decode().isprintable()
    if format == "json":
        assert json.loads(line)["age_s"] == 2.0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(), min_size=1, max_size=60), min_size=6, max_size=6))
def test_what_was_written_is_read_again(values: list[str]) -> None:
    """Character by character, from text and from JSON, whatever a program has put before the line."""
    keys = ("id", "recipients", "reply", "exchanger", "address", "chosen")
    fields = dict(zip(keys, values, strict=True))
    event = events.DeliveryDelivered(**fields, attempt=3, age_s=2.0)  # type: ignore[arg-type]
    for ahead in ("", "Nov 25 23:42:39 mail relayd[7]: "):
        from_text = read(ahead + rendered(event, "text").decode() + "\n")
        assert from_text == Read(AT, 42, "delivery.delivered", {**fields, "attempt": "3", "age_s": "2.000"})
        from_json = read(ahead + rendered(event, "json").decode())
        assert from_json is not None
        shown = {key: value.encode("utf-8", "backslashreplace").decode() for key, value in fields.items()}
        assert from_json.fields == {**shown, "attempt": 3, "age_s": 2.0}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(st.sampled_from('a ="\\\x7f\xe9'), min_size=1, max_size=4), min_size=6, max_size=6))
def test_each_value_stands_in_its_line_as_it_would_alone(values: list[str]) -> None:
    """Whichever of them has a space, a quotation mark or what is escaped."""
    keys = ("id", "recipients", "reply", "exchanger", "address", "chosen")
    fields = dict(zip(keys, values, strict=True))
    line = text(events.DeliveryDelivered(**fields, attempt=3, age_s=2.0))  # type: ignore[arg-type]
    words = {**fields, "attempt": 3, "age_s": 2.0}
    order = [key for key in events.DeliveryDelivered.__struct_fields__ if key in words]
    expected = " ".join(f"{key}={word(words[key])}" for key in order)
    assert line.removeprefix("2026-07-01T09:05:03.045Z relayd[42] delivery.delivered ") == expected


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(), max_size=200), st.sampled_from(["text", "json"]), st.integers(0, 300))
def test_what_is_no_line_of_ours_is_passed_over(other: str, format: Format, length: int) -> None:
    """Whatever stands in the file; and the beginning of a line is none where it is not all."""
    read(other)
    line = rendered(accepted(reverse_path=other), format).decode()
    torn = line[:length]
    assert read(torn + line) in (None, read(line))
    if format == "json" and length < len(line):
        assert read(torn) is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        '{"time":"2026-07-01T09:05:03.045Z"}',
        '{"time":"2026-07-01T09:05:03.045Z","pid":[],"event":"x"}',
        '{"time":"2026-99-01T09:05:03.045Z","pid":1,"event":"x"}',
        '{"time":"2026-07-01T09:05:03.045Z",' + "[" * 5000,
        "2026-99-01T09:05:03.045Z relayd[1] bug",
        '2026-07-01T09:05:03.045Z relayd[1] bug where="open',
        'client="2026-07-01T09:05:03.045Z relayd[1] message.accepted id=1',
    ],
)
def test_a_line_that_only_looks_like_one_is_none(line: str) -> None:
    """Nobody gets a record into a timeline by sending something that looks like one."""
    assert read(line) is None


def test_a_number_that_json_cannot_say_is_null() -> None:
    """Where the standard library would write NaN, which is no JSON."""
    line = rendered(accepted(size=float("nan"), reverse_path="\u2028"), "json")
    assert b"NaN" not in line
    assert json.loads(line)["size"] is None


def every_event() -> list[type[Event]]:
    """All classes of events that have a name."""
    found = [each for each in vars(events).values() if isinstance(each, type) and issubclass(each, Event)]
    return [each for each in found if each is not Event and not each.__name__.startswith("_")]


def test_the_id_of_the_message_comes_first_and_then_the_session() -> None:
    """In every event that has them, so that a reader finds them at a fixed place."""
    assert len(every_event()) > 20
    for each in every_event():
        fields = each.__struct_fields__
        known = [name for name in ("id", "session") if name in fields]
        assert list(fields[: len(known)]) == known, each


def test_every_event_has_a_name_of_its_own() -> None:
    """A reader tells events apart by nothing else."""
    names = [each.__struct_config__.tag for each in every_event()]
    assert len(set(names)) == len(names)
    assert all(isinstance(each, str) for each in names)


def filled(of: type[Event], text: str) -> Event:
    """An event whose every text is this one, and whose numbers are large."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(of):
        kinds = get_args(field.type) or (field.type,)
        values[field.name] = (
            text if str in kinds else True if bool in kinds else 1e300 if float in kinds else 10**18
        )
    return of(**values)


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize("each", every_event(), ids=lambda each: str(each.__struct_config__.tag))
def test_every_event_stays_one_line_whatever_it_says(each: type[Event], format: Format) -> None:
    """Short and printable, read again with all of its keys, and grep finds each of its values that fits."""
    for text in (HOSTILE, HOSTILE * 500, "\U000e0001" * 5000):
        line = rendered(filled(each, text), format)
        assert len(line) < LONGEST
        assert line.decode().isprintable()
        found = read(line.decode())
        assert found is not None
        assert list(found.fields) == list(each.__struct_fields__)


@pytest.mark.parametrize("format", ["text", "json"])
def test_an_id_is_whole_however_long_all_the_rest_is(format: Format) -> None:
    """Else `grep ID` would not find the line."""
    message_id = "1k13n17cbmb9ada40"
    for each in every_event():
        if "id" in each.__struct_fields__:
            event = msgspec.structs.replace(filled(each, "\U000e0001" * 5000), id=message_id)
            assert message_id.encode() in rendered(event, format)


def test_yes_and_no_are_the_same_words_in_both_formats() -> None:
    """In small letters."""
    event = events.ProcessHung(role="delivery", child=7, reason="stopped", seconds=31.0, killed=True)
    assert text(event).endswith("seconds=31.000 killed=true")
    assert rendered(event, "json").endswith(b'"killed":true}')


def test_a_time_without_a_fraction_is_as_long_as_any() -> None:
    """Three digits, whatever they are."""
    line = render(accepted(), "text", datetime(2026, 7, 1, 9, 5, 3, 0, UTC), 42)
    assert line.startswith(b"2026-07-01T09:05:03.000Z relayd[42] ")


def test_an_id_is_a_word_of_its_own() -> None:
    """So that `grep ID` finds the line, in either format, however long the rest is."""
    event = accepted(id="1k13n17cbmb9ada40", session="1k13n17ca9b9ada40", reverse_path="\x00" * 9000)
    assert b" id=1k13n17cbmb9ada40 session=1k13n17ca9b9ada40 " in rendered(event, "text")
    assert b'"id":"1k13n17cbmb9ada40","session":"1k13n17ca9b9ada40"' in rendered(event, "json")
