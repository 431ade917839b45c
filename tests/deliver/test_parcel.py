"""A parcel: recipients that go together, and what a transaction came to for each of them."""

import msgspec
import pytest

from relayd.deliver.parcel import Parcel, Via, expire, kind_of, outcomes_of, parcels, refusal, rest_of
from relayd.smtp.client import NotAnOrder, Result, Wish
from relayd.smtp.reply import Reply, reply
from relayd.spool.outcome import Kind
from tests.deliver.making import BUSY, NO_SUCH_USER, NOON, TAKEN, asking, job, outcome

VIA = Via("mx.example.net", "192.0.2.1:25", 0.012346, "it is the only one")


def test_recipients_of_one_domain_share_a_parcel() -> None:
    """In any case of its letters: one copy goes to all of them."""
    made = job("a@example.net", "b@example.com", "c@EXAMPLE.net")
    assert parcels(made, made.open, lambda domain: domain) == [
        Parcel(made, "example.net", (0, 2)),
        Parcel(made, "example.com", (1,)),
    ]


def test_addresses_beyond_ascii_go_apart() -> None:
    """Where the exchanger cannot have them, the others are not to fail with them."""
    made = job("a@example.net", "\u00e4@example.net", "b@example.net", "\u00f6@example.net")
    assert [each.recipients for each in parcels(made, made.open, lambda domain: domain)] == [(0, 2), (1, 3)]


def test_domains_of_one_route_share_a_parcel() -> None:
    """What names the destination decides."""
    made = job("a@example.net", "b@example.com")
    assert [each.recipients for each in parcels(made, made.open, lambda domain: "route relay:25")] == [(0, 1)]


def test_only_open_recipients_are_in_a_parcel() -> None:
    """Who has the mail gets it no second time."""
    made = job("a@example.net", "b@example.net", "c@example.net", still_open=[0, 2])
    assert [each.recipients for each in parcels(made, made.open, lambda domain: domain)] == [(0, 2)]


def test_many_recipients_go_in_portions_that_every_server_takes() -> None:
    """A hundred each (section 4.5.3.1.8), nobody twice, nobody left out."""
    made = job(*(f"user{number}@example.net" for number in range(250)))
    portions = parcels(made, made.open, lambda domain: domain)
    assert [len(each.recipients) for each in portions] == [100, 100, 50]
    assert [index for each in portions for index in each.recipients] == list(range(250))


def test_an_order_carries_the_paths_of_its_recipients() -> None:
    """And the size and the body; the null reverse-path is empty."""
    made = job("a@example.net", "b@example.net", reverse_path=None, body="8BITMIME", size=4711)
    order = Parcel(made, "example.net", (1,)).order
    assert (order.reverse_path, order.forward_paths, order.size, order.body) == (
        "",
        ("b@example.net",),
        4711,
        "8BITMIME",
    )


def test_an_order_carries_what_the_client_asked_for() -> None:
    """Of those recipients that it is for; when none of them asked for anything, it says so."""
    made = asking(
        job("a@b.example", "c@d.example", "e@f.example"), "NEVER", None, "SUCCESS", ret="FULL", envid="x"
    )
    order = Parcel(made, "example.net", (1, 2)).order
    assert order.wishes == (Wish(), Wish("SUCCESS"))
    assert (order.ret, order.envid, order.smtputf8) == ("FULL", "x", False)
    assert Parcel(made, "example.net", (1,)).order.wishes == ()


def test_addresses_beyond_ascii_are_ordered_with_smtputf8_in_any_case() -> None:
    """Whatever the envelope says that somebody has edited."""
    made = job("\u00e4@example.net", "b@example.net")
    assert Parcel(made, "example.net", (0, 1)).order.smtputf8
    assert not Parcel(made, "example.net", (1,)).order.smtputf8
    assert Parcel(asking(made, smtputf8=True), "example.net", (1,)).order.smtputf8


def test_a_parcel_of_an_edited_file_may_have_no_order() -> None:
    """A path that would end its brackets is not put into a command."""
    made = job("a@example.net")
    recipients = (msgspec.structs.replace(made.envelope.recipients[0], address="a> SIZE=1 <b@c"),)
    made = msgspec.structs.replace(made, envelope=msgspec.structs.replace(made.envelope, recipients=recipients))
    with pytest.raises(NotAnOrder):
        _ = Parcel(made, "example.net", (0,)).order


@pytest.mark.parametrize(("reports", "kind"), [(True, Kind.DELIVERED), (False, Kind.RELAYED)])
def test_success_that_somebody_asked_about_is_relayed_where_nobody_reports_it(reports: bool, kind: Kind) -> None:
    """RFC 3461 section 5.2.2; who asked for nothing, or was refused, is not concerned."""
    made = asking(job(*(f"user{number}@b.example" for number in range(3))), "SUCCESS,FAILURE", "SUCCESS", None)
    result = Result((TAKEN, NO_SUCH_USER, TAKEN))
    found = outcomes_of(Parcel(made, "b.example", (0, 1, 2)), result, VIA, NOON, reports=reports)
    assert {index: each.kind for each in found for index in each.recipients} == {
        0: kind,
        1: Kind.FAILED,
        2: Kind.DELIVERED,
    }


def test_success_is_not_told_to_a_null_reverse_path() -> None:
    """It is a delivery like any."""
    made = asking(job("a@b.example", reverse_path=None), "SUCCESS")
    (found,) = outcomes_of(Parcel(made, "b.example", (0,)), Result((TAKEN,)), VIA, NOON, reports=False)
    assert found.kind is Kind.DELIVERED


def test_each_recipient_gets_the_outcome_of_its_own_reply() -> None:
    """Those with the same reply share one; indexes are the envelope's, not the transaction's."""
    made = job(*(f"user{number}@example.net" for number in range(4)), still_open=[1, 2, 3])
    found = outcomes_of(Parcel(made, "example.net", (1, 2, 3)), Result((TAKEN, NO_SUCH_USER, TAKEN)), VIA, NOON)
    assert [(each.kind, each.recipients, each.reply) for each in found] == [
        (Kind.DELIVERED, (1, 3), TAKEN),
        (Kind.FAILED, (2,), NO_SUCH_USER),
    ]


def test_only_those_in_doubt_are() -> None:
    """A recipient that was refused before is not, though the connection ended after the final dot."""
    gone = reply(451, "4.4.2", "lost")
    made = job("a@example.net", "b@example.net")
    found = outcomes_of(
        Parcel(made, "example.net", (0, 1)), Result((gone, NO_SUCH_USER), frozenset({0})), VIA, NOON
    )
    assert [(each.kind, each.recipients) for each in found] == [(Kind.IN_DOUBT, (0,)), (Kind.FAILED, (1,))]


def test_an_outcome_says_whose_reply_it_is() -> None:
    """The exchanger, its address and how fast it greeted."""
    (found,) = refusal(Parcel(job(attempt=3), "example.net", (0,)), BUSY, VIA, NOON)
    assert (found.exchanger, found.address, found.attempt, found.at) == ("mx.example.net", "192.0.2.1:25", 3, NOON)
    assert found.greeting_s == 0.012346


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (TAKEN, Kind.DELIVERED),
        (BUSY, Kind.DEFERRED),
        (NO_SUCH_USER, Kind.FAILED),
        (reply(354, None, "go on"), Kind.DEFERRED),
        (reply(554, None, "no"), Kind.FAILED),
    ],
)
def test_the_first_digit_decides(answer: Reply, kind: Kind) -> None:
    """Section 4.2.1; what is out of place is tried again."""
    assert kind_of(answer) is kind


def test_giving_up_leaves_what_is_final_alone() -> None:
    """Deferred and in doubt become expired; delivered and failed stay."""
    kinds = [Kind.DELIVERED, Kind.DEFERRED, Kind.FAILED, Kind.IN_DOUBT]
    assert [each.kind for each in expire(map(outcome, kinds))] == [
        Kind.DELIVERED,
        Kind.EXPIRED,
        Kind.FAILED,
        Kind.EXPIRED,
    ]


def test_the_rest_that_goes_in_another_transaction_has_no_outcome_yet() -> None:
    """It is a parcel of the same message; where it does not go on, its reply counts."""
    made = job(*(f"user{number}@example.net" for number in range(4)), still_open=[1, 2, 3])
    whole = Parcel(made, "example.net", (1, 2, 3))
    result = Result((TAKEN, BUSY, TAKEN), deferred_rest=(1,))
    assert rest_of(whole, result) == Parcel(made, "example.net", (2,))
    found = outcomes_of(whole, result, VIA, NOON, is_divided=True)
    assert [(each.kind, each.recipients) for each in found] == [(Kind.DELIVERED, (1, 3))]
    found = outcomes_of(whole, result, VIA, NOON)
    assert [(each.kind, each.recipients) for each in found] == [(Kind.DELIVERED, (1, 3)), (Kind.DEFERRED, (2,))]
    assert rest_of(whole, Result((TAKEN, BUSY, TAKEN))) is None
