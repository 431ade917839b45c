"""Complaints are made once a minute for each kind, and none is lost from the count."""

from relayd.receive.complaints import Complaints


def test_the_first_is_made_at_once_and_the_others_are_counted() -> None:
    """Until a minute has passed since the last that was made."""
    complaints = Complaints()
    assert complaints.is_due("full", 100.0)
    assert complaints.unsaid("full") is None
    assert [complaints.is_due("full", now) for now in (100.0, 130.0, 159.9)] == [False, False, False]
    assert complaints.is_due("full", 160.0)
    assert complaints.unsaid("full") == 3
    assert not complaints.is_due("full", 200.0)
    assert complaints.is_due("full", 220.0)
    assert complaints.unsaid("full") == 1


def test_each_kind_has_a_minute_of_its_own() -> None:
    """A disk that fails is said although it was full a second ago."""
    complaints = Complaints()
    assert complaints.is_due("full", 0.0)
    assert complaints.is_due("failed", 1.0)
    assert complaints.unsaid("failed") is None
