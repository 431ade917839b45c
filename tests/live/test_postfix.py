"""Postfix as a client: a whole mail system that hands all its mail to the relay."""

import pytest

from tests.world.mta import available, postfix
from tests.world.service import NAME, PASSWORD, Service, service

needs_postfix = pytest.mark.skipif(not available(), reason="Postfix is missing, or this is not root")
LETTER = b"From: Alice <alice@example.org>\nTo: bob@example.test\nSubject: Hello\n\n.dot\n..two\nend\n"


def settings(there: Service, port: int) -> dict[str, str]:
    """All mail to this port of the relay."""
    return {"myhostname": "client.example.org", "relayhost": f"[localhost]:{port}"}


@needs_postfix
def test_postfix_relays_through_us_with_verified_tls_and_a_password() -> None:
    """Its own line says Trusted or Verified TLS, and its queue is empty; the body arrives as it was."""
    with service() as there:
        given = settings(there, there.submission) | {
            "smtp_tls_security_level": "secure",
            "smtp_tls_secure_cert_match": "localhost",
            "smtp_tls_CAfile": str(there.papers.authority),
            "smtp_tls_loglevel": "1",
            "smtp_sasl_auth_enable": "yes",
            "smtp_sasl_password_maps": f"static:{{{NAME}:{PASSWORD}}}",
            "smtp_sasl_security_options": "noanonymous",
        }
        with postfix(**given) as client:
            client.send(LETTER, "-f", "alice@example.org", "bob@example.test")
            client.wait_for("Verified TLS connection established to localhost")
            client.wait_for("status=sent (250 2.0.0 Ok: queued as ")
        message = there.delivered()
        assert message.reverse_path.startswith(b"MAIL FROM:<alice@example.org>")
        assert message.data.endswith(b"\r\n\r\n.dot\r\n..two\r\nend\r\n")
        (accepted,) = there.running.wait_for_events("auth.accepted")
        assert accepted["user"] == NAME


@needs_postfix
def test_postfix_sends_many_messages_and_none_is_lost_or_doubled() -> None:
    """From a network that may relay: fifty messages, each to two recipients in one transaction."""
    with service(allow="127.0.0.0/8") as there:
        with postfix(**settings(there, there.plain)) as client:
            for number in range(50):
                letter = LETTER.replace(b"end", b"end %d" % number)
                client.send(letter, "-f", "alice@example.org", "bob@example.test", "carol@example.test")
            client.wait_for("status=sent (250 2.0.0 Ok: queued as ", 100)
        there.exchanger.wait_for(50)
        there.running.wait_until_empty()
        ends = [message.data.rsplit(b"\r\n", 2)[1] for message in there.exchanger.messages]
        assert sorted(ends) == sorted(b"end %d" % number for number in range(50))
        assert all(len(message.recipients) == 2 for message in there.exchanger.messages)


@needs_postfix
def test_postfix_gets_the_report_of_delivery_that_it_asks_for() -> None:
    """RFC 3461: sendmail -N success; where the exchanger has no DSN, we report "relayed"."""
    with service(allow="127.0.0.0/8", extensions=(b"PIPELINING", b"8BITMIME")) as there:
        with postfix(**settings(there, there.plain)) as client:
            words = ("-N", "success", "-V", "QQ314159", "-f", "alice@example.test", "bob@example.test")
            client.send(LETTER, *words)
            client.wait_for("status=sent (250 2.0.0 Ok: queued as ")
        there.exchanger.wait_for(2)
        there.running.wait_until_empty()
        _, report = there.exchanger.messages
        assert report.reverse_path.startswith(b"MAIL FROM:<>")
        for expected in (
            b"Action: relayed",
            b"Original-Envelope-Id: QQ314159",
            b"Original-Recipient: rfc822; bob@",
        ):
            assert expected in report.data


@needs_postfix
def test_postfix_sends_mail_in_utf_8() -> None:
    """SMTPUTF8 from end to end."""
    with service(allow="127.0.0.0/8", extensions=(b"PIPELINING", b"8BITMIME", b"SMTPUTF8")) as there:
        with postfix(**settings(there, there.plain)) as client:
            letter = "From: jörg@example.test\nSubject: Grüße\n\nGrüße\n".encode()
            client.send(letter, "-f", "jörg@example.test", "bøb@example.test")
            client.wait_for("status=sent (250 2.0.0 Ok: queued as ")
        message = there.delivered()
        assert message.recipients[0].startswith("RCPT TO:<bøb@example.test>".encode())
        assert "\r\nSubject: Grüße\r\n".encode() in message.data
        assert message.data.endswith("\r\n\r\nGrüße\r\n".encode())
