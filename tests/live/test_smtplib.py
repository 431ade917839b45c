"""Python's smtplib against the real relay: STARTTLS, implicit TLS, AUTH, and who may relay."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

import pytest

from tests.world.service import NAME, PASSWORD, Service, service

LETTER = (
    "From: Alice <alice@example.org>\r\nTo: bob@example.test\r\nSubject: Hello\r\n\r\n.dot\r\n..two\r\nend\r\n"
)


def trusting(there: Service) -> ssl.SSLContext:
    """What a client that verifies certificates uses."""
    return ssl.create_default_context(cafile=str(there.papers.authority))


@contextmanager
def client(port: int) -> Iterator[smtplib.SMTP]:
    """A session that has said EHLO."""
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", 20) as session:
        session.ehlo()
        yield session


def test_a_user_relays_after_starttls_and_login() -> None:
    """RFC 3207, RFC 4954: verified, encrypted, authenticated, delivered; the trace says ESMTPSA."""
    with service() as there:
        with client(there.submission) as session:
            assert "auth" not in session.esmtp_features
            session.starttls(context=trusting(there))
            session.ehlo()
            assert "starttls" not in session.esmtp_features
            assert session.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
            session.login(NAME, PASSWORD)
            session.sendmail("alice@example.org", ["bob@example.test"], LETTER)
        message = there.delivered()
        assert message.data.startswith(b"Received: from client.example.org ([127.0.0.1])\r\n")
        assert b" with ESMTPSA id " in b" ".join(message.data.split())
        # smtplib adds no Date and no Message-ID; the relay does (RFC 6409 section 8).
        header, _, body = message.data.partition(b"\r\n\r\n")
        for name in (b"\r\nDate: ", b"\r\nMessage-ID: "):
            assert header.count(name) == 1
        assert body == b".dot\r\n..two\r\nend\r\n"
        (accepted,) = there.running.wait_for_events("auth.accepted")
        assert (accepted["user"], accepted["client"].partition("]")[0]) == (NAME, "[127.0.0.1")
        (started,) = there.running.events("tls.started")
        assert started["version"] in ("TLSv1.2", "TLSv1.3")
        assert PASSWORD not in there.running.log_text()
        totals = there.running.report()["totals"]
        assert (totals["tls_sessions"], totals["authenticated"], totals["auth_failures"]) == (1, 1, 0)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("initial", [True, False])
def test_each_mechanism_with_implicit_tls(mechanism: str, initial: bool, there: Service) -> None:
    """RFC 8314: encrypted from the first octet; with and without an initial response."""
    context = trusting(there)
    with smtplib.SMTP_SSL(
        "127.0.0.1", there.implicit, "client.example.org", timeout=20, context=context
    ) as session:
        session.ehlo()
        session.user, session.password = NAME, PASSWORD
        way = session.auth_plain if mechanism == "PLAIN" else session.auth_login
        code, _ = session.auth(mechanism, way, initial_response_ok=initial)
        assert code == 235
        session.sendmail("alice@example.org", ["bob@example.test"], LETTER)
    assert b" with ESMTPSA id " in b" ".join(there.delivered().data.split())


def test_a_wrong_password_is_535_and_the_session_may_not_relay() -> None:
    """Neither a wrong password nor an unknown user gets anywhere, and both are answered alike."""
    with service() as there:
        for mechanism, name, password in (("PLAIN", NAME, "wrong word"), ("LOGIN", "mallory", PASSWORD)):
            with client(there.plain) as session:
                session.starttls(context=trusting(there))
                session.ehlo()
                # Its `login` would go through all mechanisms, each with the wait for a wrong password.
                session.user, session.password = name, password
                way = session.auth_plain if mechanism == "PLAIN" else session.auth_login
                with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                    session.auth(mechanism, way, initial_response_ok=False)
                assert refused.value.smtp_code == 535
                session.mail("alice@example.org")
                assert session.rcpt("bob@example.test")[0] == 554
        refusals = there.running.wait_for_events("auth.refused", 2)
        assert {event["user"] for event in refusals} == {NAME, "mallory"}
        assert len({event["reply"] for event in refusals}) == 1
        assert "wrong word" not in there.running.log_text()


def test_a_port_that_requires_auth_takes_no_mail_before_it(there: Service) -> None:
    """530 5.7.0 at MAIL, with and without TLS."""
    with client(there.submission) as session:
        assert session.mail("alice@example.org")[0] == 530
        session.starttls(context=trusting(there))
        session.ehlo()
        code, text = session.mail("alice@example.org")
        assert (code, text.split()[0]) == (530, b"5.7.0")


def test_a_stranger_is_refused_at_rcpt_with_and_without_tls(there: Service) -> None:
    """554 5.7.1: encryption is no proof of anything."""
    before = there.accepted
    with client(there.plain) as session:
        for _ in range(2):
            session.mail("alice@example.org")
            code, text = session.rcpt("bob@example.test")
            assert (code, text.split()[0]) == (554, b"5.7.1")
            session.rset()
            if session.has_extn("starttls"):
                session.starttls(context=trusting(there))
                session.ehlo()
        assert there.accepted == before


def test_a_new_user_may_relay_at_once_and_a_removed_one_may_not() -> None:
    """The workers read the file again when it changes."""
    with service() as there:

        def login(name: str) -> int:
            with client(there.submission) as session:
                session.starttls(context=trusting(there))
                try:
                    return session.login(name, "another word")[0]
                except smtplib.SMTPAuthenticationError as error:
                    return error.smtp_code

        assert there.running.command("user", "add", "bob", typed="another word\n").returncode == 0
        assert login("bob") == 235
        assert there.running.command("user", "remove", "bob").returncode == 0
        assert login("bob") == 535


def test_mail_in_utf_8_reaches_an_exchanger_that_takes_it() -> None:
    """RFC 6531: the addresses and the header as they were sent."""
    extensions = (b"PIPELINING", b"8BITMIME", b"SMTPUTF8")
    with service(extensions=extensions) as there:
        letter = EmailMessage()
        letter["From"], letter["To"], letter["Subject"] = "jörg@example.test", "bøb@example.test", "Grüße"
        letter.set_content("Grüße\n", cte="8bit")
        with client(there.submission) as session:
            session.starttls(context=trusting(there))
            session.login(NAME, PASSWORD)
            session.send_message(letter)
        message = there.delivered()
        assert message.reverse_path.startswith("MAIL FROM:<jörg@example.test>".encode())
        assert b"SMTPUTF8" in message.reverse_path
        assert message.recipients == ("RCPT TO:<bøb@example.test>".encode(),)
        assert "Subject: Grüße".encode() in message.data


def test_what_a_client_wants_told_is_passed_on_to_an_exchanger_that_has_dsn() -> None:
    """RFC 3461: NOTIFY, ORCPT, RET and ENVID as they were given."""
    with service(extensions=(b"PIPELINING", b"DSN")) as there:
        with client(there.submission) as session:
            session.starttls(context=trusting(there))
            session.login(NAME, PASSWORD)
            session.sendmail(
                "alice@example.org",
                ["bob@example.test"],
                LETTER,
                mail_options=["RET=HDRS", "ENVID=QQ+2B314159"],
                rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Bob@example.test"],
            )
        message = there.delivered()
        assert b"RET=HDRS" in message.reverse_path
        assert b"ENVID=QQ+2B314159" in message.reverse_path
        (recipient,) = message.recipients
        assert b"NOTIFY=SUCCESS,FAILURE" in recipient
        assert b"ORCPT=rfc822;Bob@example.test" in recipient


def test_an_address_without_a_domain_gets_the_origin() -> None:
    """`relay.origin`, for cron and root on application hosts: in the envelope, for clients that may relay only."""
    with service(relay='origin = "example.test"') as there:
        with client(there.plain) as stranger:
            stranger.docmd("MAIL FROM:<root>")
            assert stranger.docmd("RCPT TO:<root>")[0] >= 500
        with client(there.submission) as session:
            session.starttls(context=trusting(there))
            session.login(NAME, PASSWORD)
            session.sendmail("root", ["cron"], LETTER)
        message = there.delivered()
        assert message.reverse_path.startswith(b"MAIL FROM:<root@example.test>")
        assert message.recipients == (b"RCPT TO:<cron@example.test>",)


def test_many_clients_over_tls_at_once_lose_nothing(there: Service) -> None:
    """Thirty sessions side by side, each with its own message: thirty arrive, each whole and once."""
    context = trusting(there)
    sessions = [smtplib.SMTP_SSL("127.0.0.1", there.implicit, timeout=60, context=context) for _ in range(30)]
    for session in sessions:
        session.login(NAME, PASSWORD)
    bodies = [f"number {number}\r\n" + f"{number:064}\r\n" * 200 for number in range(30)]
    for session, body in zip(sessions, bodies, strict=True):
        session.sendmail("alice@example.org", ["bob@example.test"], f"Subject: Hello\r\n\r\n{body}")
    for session in sessions:
        session.quit()
    there.exchanger.wait_for(30)
    there.running.wait_until_empty()
    found = sorted(message.data.partition(b"\r\n\r\n")[2].decode() for message in there.exchanger.messages)
    assert found == sorted(bodies)
