"""IDs: they sort by arrival, never come twice, and say when."""

from relayd.spool.ids import LENGTH, Ids, arrival, derived, is_id


def test_ids_sort_by_arrival() -> None:
    """Whatever is random in them."""
    times = iter([1_700_000_000_000_000_000, 1_700_000_000_000_001_000, 1_800_000_000_000_000_000])
    ids = Ids(now=lambda: next(times), draw=lambda below: below - 1)
    given = [ids.next() for _ in range(3)]
    assert given == sorted(given)
    assert len(set(given)) == 3


def test_time_never_goes_back() -> None:
    """A clock that is set back gives no ID twice."""
    times = iter([2_000_000, 1_000_000, 1_000_000, 3_000_000])
    ids = Ids(now=lambda: next(times), draw=lambda below: 0)
    given = [ids.next() for _ in range(4)]
    assert given == sorted(given)
    assert len(set(given)) == 4


def test_processes_differ_in_what_they_drew() -> None:
    """In the same microsecond."""
    one, other = (
        Ids(now=lambda: 5_000_000, draw=lambda below: below - 1),
        Ids(now=lambda: 5_000_000, draw=lambda below: 0),
    )
    assert one.next() != other.next()


def test_an_id_says_when_the_message_came() -> None:
    """To the microsecond."""
    assert arrival(Ids(now=lambda: 1_700_000_000_123_456_000).next()) == 1_700_000_000.123456


def test_a_notification_has_one_id() -> None:
    """For each message and attempt its own, always the same."""
    message_id = Ids().next()
    assert derived(message_id, 1) == derived(message_id, 1)
    assert len({message_id, derived(message_id, 1), derived(message_id, 2), derived(Ids().next(), 1)}) == 4
    assert is_id(derived(message_id, 1))


def test_only_ids_are_ids() -> None:
    """The file names of others are not."""
    assert is_id("0" * LENGTH)
    for other in ["", "0" * (LENGTH - 1), "0" * (LENGTH + 1), "0" * (LENGTH - 1) + "l", "0" * (LENGTH - 1) + "\n"]:
        assert not is_id(other)
