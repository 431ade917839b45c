"""`relayd status`: what it says of clients before any mail. The rest is in tests/live/test_processes.py."""

from relayd.base.counters import TOTALS
from relayd.cli.status import doors

NOTHING = dict.fromkeys(TOTALS, 0)


def test_where_nobody_encrypts_and_nobody_is_refused_there_is_no_line() -> None:
    """A relay on loopback."""
    assert doors(NOTHING) == []


def test_encrypted_and_authenticated_sessions_are_counted() -> None:
    """One line for both."""
    assert doors(NOTHING | {"tls_sessions": 3, "authenticated": 2}) == ["3 sessions encrypted, 2 authenticated"]
    assert doors(NOTHING | {"authenticated": 1}) == ["0 sessions encrypted, 1 authenticated"]


def test_refused_clients_are_counted_by_reason() -> None:
    """Only the reasons that there were."""
    assert doors(NOTHING | {"auth_failures": 7, "limited": 1}) == [
        "refused clients: 7 wrong passwords, 1 over the limit of an hour; the log says which"
    ]
    assert doors(NOTHING | {"sessions_refused": 2, "tls_failures": 4}) == [
        "refused clients: 2 turned away at the door, 4 without a TLS handshake; the log says which"
    ]
