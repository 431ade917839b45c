"""The cases of the hostile next hops that offer STARTTLS."""

from tests.hostile.next_hop import (
    ALERT,
    LARGE,
    LOST,
    PROTOCOL,
    RECORD,
    TIMEOUT,
    TOO_LONG,
    closes,
    deaf,
    deferred,
    delivered,
    doubtful,
    dribbling,
    ends_tls,
    failed,
    falls_silent,
    injects,
    interrupts,
    listening,
    reads_slowly,
    resets,
    says,
    secured,
    talks_in_clear,
    then,
    without_end,
)
from tests.world.exchanger import EXTENSIONS

INJECTED, NO_TLS = "4.7.5 protocol error: more in the clear", "4.7.5 TLS: "
HANDSHAKE = "4.7.5 TLS: a handshake longer than"
_GO = b"220 2.0.0 go\r\n"
TLS = [
    delivered("TLS as it should be", "250 2.0.0 Ok", tls=True),
    delivered("STARTTLS offered again under TLS", "250 2.0.0 Ok", tls=True, extensions=(*EXTENSIONS, b"STARTTLS")),
    deferred(
        "a reply injected behind the 220", INJECTED, "STARTTLS", injects(b"250-mx\r\n250 AUTH PLAIN\r\n"), tls=True
    ),
    deferred("octets injected behind the 220", INJECTED, "STARTTLS", injects(b"\0"), tls=True),
    deferred("a 421 injected behind the 220", INJECTED, "STARTTLS", injects(b"421 4.3.2 going\r\n"), tls=True),
    deferred("garbage instead of TLS", NO_TLS, "STARTTLS", says(_GO, b"\x1b[31m\0\xff garbage\r\n"), tls=True),
    deferred(
        "garbage without end instead of TLS",
        NO_TLS,
        "STARTTLS",
        then(_GO, listening(without_end(b"garbage\r\n"))),
        tls=True,
    ),
    deferred(
        "records without end instead of TLS",
        HANDSHAKE,
        "STARTTLS",
        then(_GO, listening(without_end(RECORD))),
        tls=True,
    ),
    deferred("an alert instead of TLS", NO_TLS, "STARTTLS", then(_GO, listening(says(ALERT))), tls=True),
    delivered(
        "garbage instead of TLS, old mail", "250", "STARTTLS", says(_GO, b"garbage\r\n"), tls=True, is_old=True
    ),
    delivered(
        "a handshake that stalls, old mail", "250", "STARTTLS", says(_GO), tls=True, is_old=True, silent="tls"
    ),
    deferred("454 to STARTTLS", "454 4.7.0 no", "STARTTLS", b"454 4.7.0 no\r\n", tls=True),
    delivered("454 to STARTTLS, old mail", "250", "STARTTLS", b"454 4.7.0 no\r\n", tls=True, is_old=True),
    deferred("502 to STARTTLS", "502 5.5.1 no", "STARTTLS", b"502 5.5.1 no\r\n", tls=True),
    deferred("a handshake that stalls", TIMEOUT, "STARTTLS", then(_GO, falls_silent), tls=True, silent="tls"),
    deferred(
        "a handshake that is dribbled",
        TIMEOUT,
        "STARTTLS",
        then(_GO, listening(dribbling(RECORD))),
        tls=True,
        silent="tls",
    ),
    deferred("close instead of TLS", LOST, "STARTTLS", then(_GO, closes), tls=True),
    deferred("RST instead of TLS", LOST, "STARTTLS", then(_GO, resets), tls=True),
    deferred("silence after STARTTLS", TIMEOUT, "STARTTLS", falls_silent, tls=True, silent="starttls"),
    deferred("endless lines after STARTTLS", TOO_LONG, "STARTTLS", without_end(b"220-go\r\n"), tls=True),
    deferred("354 after STARTTLS", PROTOCOL, "STARTTLS", b"354 go on\r\n", tls=True),
    deferred("421 after STARTTLS", "421 4.3.2 going", "STARTTLS", b"421 4.3.2 going\r\n", tls=True),
    deferred("endless lines under TLS", TOO_LONG, "STARTTLS", secured(without_end(b"250-mx\r\n")), tls=True),
    deferred("a megabyte under TLS", TOO_LONG, "STARTTLS", secured(without_end(b"2" * 1_000_000)), tls=True),
    deferred("silence under TLS", TIMEOUT, "STARTTLS", secured(falls_silent), tls=True, silent="hello"),
    deferred(
        "dribbled lines under TLS",
        TIMEOUT,
        "STARTTLS",
        secured(dribbling(b"250-mx\r\n")),
        tls=True,
        silent="hello",
    ),
    deferred("TLS ends and the connection stays", LOST, "STARTTLS", secured(ends_tls), tls=True),
    doubtful("TLS ends after the dot and the connection stays", LOST, ".", ends_tls, tls=True),
    deferred("close under TLS", LOST, "STARTTLS", secured(closes), tls=True),
    deferred("RST under TLS", LOST, "STARTTLS", secured(resets), tls=True),
    deferred("plain octets under TLS", NO_TLS, "STARTTLS", secured(talks_in_clear(b"250 mx\r\n")), tls=True),
    doubtful("close after the dot under TLS", LOST, ".", closes, tls=True),
    doubtful("plain octets after the dot under TLS", NO_TLS, ".", talks_in_clear(b"250 Ok\r\n"), tls=True),
    delivered("250 after the dot under TLS, then close", "250 a", ".", then(b"250 a\r\n", closes), tls=True),
    delivered("a server that reads slowly under TLS", "250 2.0.0 read", "354", reads_slowly, mail=LARGE, tls=True),
    deferred("a server that never reads under TLS", TIMEOUT, "354", deaf, mail=LARGE, tls=True, silent="content"),
    failed("552 in the mail data under TLS", "552 a", "354", interrupts(b"552 a\r\n"), mail=LARGE, tls=True),
    deferred("close in the mail data under TLS", LOST, "354", closes, mail=LARGE, tls=True),
    deferred("TLS ends in the mail data", LOST, "354", ends_tls, mail=LARGE, tls=True),
]
