"""The cases of the hostile next hops in clear, by the step at which they turn hostile."""

from tests.hostile.next_hop import (
    CONTROLS,
    ESCAPED,
    LARGE,
    LOST,
    NO_REPLY,
    PROTOCOL,
    TIMEOUT,
    TOO_LONG,
    UNASKED,
    after,
    closes,
    closes_soon,
    deaf,
    deferred,
    delivered,
    doubtful,
    dribbling,
    failed,
    falls_silent,
    half_closes,
    interrupts,
    reads_slowly,
    resets,
    says,
    then,
    without_end,
)
from tests.hostile.next_hop_tls_cases import TLS

BOTH = (True, False)

GREETINGS = [
    deferred("a banner that never comes", f"{TIMEOUT}: greeting", "CONNECT", b"", silent="greeting"),
    deferred("a dribbled banner", f"{TIMEOUT}: greeting", "CONNECT", dribbling(b"220-"), silent="greeting"),
    deferred(
        "a banner without its end",
        f"{TIMEOUT}: greeting",
        "CONNECT",
        says(b"220-a\r\n220-b\r\n"),
        silent="greeting",
    ),
    deferred("endless 220- lines", TOO_LONG, "CONNECT", without_end(b"220-welcome\r\n")),
    deferred("a banner of a megabyte", TOO_LONG, "CONNECT", without_end(b"2" * 1_000_000)),
    deferred("endless NULs", TOO_LONG, "CONNECT", without_end(bytes(65_536))),
    deferred("endless empty lines", NO_REPLY, "CONNECT", without_end(b"\r\n" * 1000)),
    deferred("endless banners", UNASKED, "CONNECT", without_end(b"220 a\r\n" * 1000)),
    deferred("close instead of a banner", LOST, "CONNECT", closes),
    deferred("RST instead of a banner", "451 4.4.", "CONNECT", resets),
    deferred("half a banner, then close", LOST, "CONNECT", then(b"220 mx", closes)),
    deferred("a banner, then no more to come", LOST, "CONNECT", then(b"220 mx\r\n", half_closes)),
    deferred("5yz banner", "554 5.7.1 not you", "CONNECT", b"554 5.7.1 not you\r\n"),
    deferred("5yz banner, then close", "554 5.7.1 not you", "CONNECT", then(b"554 5.7.1 not you\r\n", closes)),
    deferred("421 banner", "421 4.3.2 later", "CONNECT", b"421 4.3.2 later\r\n"),
    deferred("354 banner", PROTOCOL, "CONNECT", b"354 go on\r\n"),
    deferred("a banner of HTTP", NO_REPLY, "CONNECT", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    deferred("a banner of SSH", NO_REPLY, "CONNECT", b"SSH-2.0-x\r\n"),
    deferred("a banner of TLS", NO_REPLY, "CONNECT", says(b"\x15\x03\x03\0\x02\x02\x28\r\n")),
    deferred("code 199", NO_REPLY, "CONNECT", b"199 a\r\n"),
    deferred("code 2200", NO_REPLY, "CONNECT", b"2200 a\r\n"),
    deferred("code 4294967516", NO_REPLY, "CONNECT", b"4294967516 a\r\n"),
    deferred("code -220", NO_REPLY, "CONNECT", b"-220 a\r\n"),
    deferred("code of Arabic digits", NO_REPLY, "CONNECT", "٢٢٠ a\r\n".encode()),
    delivered("a banner with 250", "250", "CONNECT", b"250 mx\r\n"),
    delivered("a banner without text", "250", "CONNECT", b"220\r\n"),
    delivered("a banner of a hundred lines", "250", "CONNECT", b"220-a\r\n" * 100 + b"220 b\r\n"),
    delivered("a banner with control characters", "250", "CONNECT", b"220 " + CONTROLS + b"\r\n"),
]

HELLOS = [
    deferred("endless 250- lines to EHLO", TOO_LONG, "EHLO", without_end(b"250-X-MORE\r\n")),
    deferred(
        "dribbled 250- lines to EHLO", f"{TIMEOUT}: reply to EHLO", "EHLO", dribbling(b"250-A\r\n"), silent="hello"
    ),
    deferred("silence after EHLO", f"{TIMEOUT}: reply to EHLO", "EHLO", b"", silent="hello"),
    deferred(
        "thousands of keywords, more than fit",
        TOO_LONG,
        "EHLO",
        b"".join(b"250-X%d\r\n" % each for each in range(5000)) + b"250 Y\r\n",
    ),
    delivered(
        "a thousand keywords",
        "250",
        "EHLO",
        b"".join(b"250-X%d\r\n" % each for each in range(1000)) + b"250 Y\r\n",
    ),
    delivered(
        "keywords of control characters", "250", "EHLO", b"250-mx\r\n250-" + CONTROLS + b"\r\n250 \0\x1b\r\n"
    ),
    delivered(
        "sizes that are none", "250", extensions=(b"SIZE 99999999999999999999999", b"SIZE -1", b"SIZE x", b"SIZE")
    ),
    deferred("421 to EHLO", "421 4.3.2 later", "EHLO", b"421 4.3.2 later\r\n"),
    deferred("451 to EHLO", "451 4.3.0 later", "EHLO", b"451 4.3.0 later\r\n"),
    deferred(
        "502 to EHLO and to HELO",
        "502 5.5.1 never",
        replies=dict.fromkeys(("EHLO", "HELO"), b"502 5.5.1 never\r\n"),
    ),
    deferred("354 to EHLO", PROTOCOL, "EHLO", b"354 go on\r\n"),
    deferred("two replies to EHLO", UNASKED, "EHLO", says(b"250 mx\r\n250 mx\r\n")),
    deferred("250 and 421 to EHLO", "421 4.3.2 later", "EHLO", says(b"250 mx\r\n421 4.3.2 later\r\n")),
    deferred("250 to EHLO and close", LOST, "EHLO", then(b"250-mx\r\n", closes)),
    *(
        deferred(f"250 to EHLO and close {how}", "4.4.2", "EHLO", then(b"250-mx\r\n250 PIPELINING\r\n", end))
        for how, end in {"at once": closes, "a moment later": closes_soon, "by RST": resets}.items()
    ),
    deferred(
        "the replies of a transaction before it",
        UNASKED,
        "EHLO",
        says(b"250-mx\r\n250 PIPELINING\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n"),
    ),
    deferred("lines of two codes to EHLO", PROTOCOL, "EHLO", b"250-mx\r\n550 no\r\n"),
    deferred("close at EHLO", LOST, "EHLO", closes),
    deferred("RST at EHLO", LOST, "EHLO", resets),
]

_NO = {"MAIL": "reply to MAIL", "RCPT": "reply to RCPT", "DATA": "reply to DATA"}
TRANSACTIONS = [
    *(deferred(f"close at {verb}", LOST, verb, closes, pipelining=BOTH) for verb in _NO),
    *(deferred(f"RST at {verb}", LOST, verb, resets) for verb in _NO),
    *(
        deferred(f"421 at {verb}", "421 4.3.2 going", verb, b"421 4.3.2 going\r\n", pipelining=BOTH)
        for verb in _NO
    ),
    *(
        deferred(
            f"silence at {verb}", f"{TIMEOUT}: {what}", verb, falls_silent, silent=verb.lower(), pipelining=BOTH
        )
        for verb, what in _NO.items()
    ),
    *(deferred(f"endless lines at {verb}", TOO_LONG, verb, without_end(b"550-no\r\n")) for verb in _NO),
    *(deferred(f"garbage at {verb}", NO_REPLY, verb, b"\x1b[31mgarbage\xff\0\r\n") for verb in _NO),
    *(deferred(f"354 at {verb}", PROTOCOL, verb, b"354 go on\r\n", pipelining=BOTH) for verb in ("MAIL", "RCPT")),
    *(deferred(f"700 at {verb}", NO_REPLY, verb, b"700 no such code\r\n") for verb in _NO),
    *(deferred(f"two replies at {verb}", PROTOCOL, verb, b"250 a\r\n250 b\r\n", pipelining=BOTH) for verb in _NO),
    deferred("250 to DATA", PROTOCOL, "DATA", b"250 Ok\r\n"),
    failed("550 of control characters to MAIL", f"550 {ESCAPED}", "MAIL", b"550 " + CONTROLS + b"\r\n"),
    failed(
        "550 of control characters to RCPT",
        f"550 \\x1b]0;x\\x07 {ESCAPED}",
        "RCPT",
        b"550-\x1b]0;x\x07\r\n550 " + CONTROLS + b"\r\n",
    ),
    failed("550 with 8-bit text", "550 5.1.1 \ufffd", "RCPT", b"550 5.1.1 \xfcnknown\r\n"),
    failed("550 with UTF-8", "550 5.1.1 ünknown", "RCPT", "550 5.1.1 ünknown\r\n".encode()),
    failed("550 of fifteen thousand octets", "550 5.1.1 xxx", "RCPT", b"550 5.1.1 " + b"x" * 15_000 + b"\r\n"),
    failed("550 with an enhanced code of another class", "550 2.0.0 fine", "RCPT", b"550 2.0.0 fine\r\n"),
    failed("550 with only LF", "550 5.1.1 no", "RCPT", b"550 5.1.1 no\n"),
    delivered(
        "replies with only LF",
        "250",
        replies={
            "CONNECT": b"220 a\n",
            "EHLO": b"250-a\n250 PIPELINING\n",
            "MAIL": b"250 a\n",
            "RCPT": b"250 a\n",
            "DATA": b"354 a\n",
            ".": b"250 a\n",
            "QUIT": b"221 a\n",
        },
    ),
    deferred("replies with only CR", f"{TIMEOUT}: reply to MAIL", "MAIL", says(b"250 a\r250 b\r"), silent="mail"),
    failed(
        "354 although no recipient stands",
        "550 5.1.1 no",
        replies={"RCPT": b"550 5.1.1 no\r\n", "DATA": b"354 go on\r\n"},
        pipelining=BOTH,
    ),
    deferred(
        "354 although no recipient stands for now",
        "450 4.2.1 later",
        replies={"RCPT": b"450 4.2.1 later\r\n", "DATA": b"354 go on\r\n"},
        pipelining=BOTH,
    ),
    failed(
        "354 although MAIL was refused",
        "550 5.7.1 no",
        replies={"MAIL": b"550 5.7.1 no\r\n", "RCPT": b"250 a\r\n", "DATA": b"354 go on\r\n"},
        pipelining=BOTH,
    ),
    deferred(
        "354 before the replies to RCPT",
        PROTOCOL,
        "MAIL",
        after(3, b"250 mail\r\n354 go on\r\n250 rcpt\r\n250 rcpt\r\n"),
    ),
    deferred(
        "the replies of a transaction at MAIL",
        UNASKED,
        "MAIL",
        says(b"250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n"),
        pipelining=(False,),
    ),
    deferred(
        "the reply to the dot with all others",
        UNASKED,
        "MAIL",
        after(3, b"250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 taken\r\n"),
    ),
    deferred("421 behind the 354", "421 4.3.2 going", "DATA", b"354 a\r\n421 4.3.2 going\r\n"),
]

CONTENTS = [
    delivered("a server that reads slowly", "250 2.0.0 read it all", "354", reads_slowly, mail=LARGE),
    deferred(
        "a server that never reads", f"{TIMEOUT}: mail data to send", "354", deaf, mail=LARGE, silent="content"
    ),
    deferred("close in the mail data", LOST, "354", closes, mail=LARGE),
    deferred("RST in the mail data", LOST, "354", resets, mail=LARGE),
    deferred("421 in the mail data", "421 4.3.2 going", "354", interrupts(b"421 4.3.2 going\r\n"), mail=LARGE),
    failed("552 in the mail data", "552 5.3.4 large", "354", interrupts(b"552 5.3.4 large\r\n"), mail=LARGE),
    deferred("250 in the mail data", UNASKED, "354", interrupts(b"250 thanks\r\n"), mail=LARGE),
    deferred("354 in the mail data", UNASKED, "354", interrupts(b"354 more\r\n"), mail=LARGE),
    deferred("endless lines in the mail data", TOO_LONG, "354", without_end(b"250-a\r\n" * 100), mail=LARGE),
    deferred("garbage in the mail data", NO_REPLY, "354", interrupts(b"\0\xff\x1b\r\n"), mail=LARGE),
]

_FINAL = f"{TIMEOUT}: reply to the final dot"
DOTS = [
    doubtful("silence after the dot", _FINAL, ".", b"", silent="final"),
    doubtful("a server that never reads a small mail", _FINAL, "354", deaf, silent="final"),
    doubtful("dribbled lines after the dot", _FINAL, ".", dribbling(b"250-a\r\n"), silent="final"),
    doubtful("endless lines after the dot", TOO_LONG, ".", without_end(b"250-a\r\n")),
    doubtful("a megabyte after the dot", TOO_LONG, ".", without_end(b"250 " + b"a" * 1_000_000)),
    doubtful("close after the dot", LOST, ".", closes),
    doubtful("RST after the dot", LOST, ".", resets),
    doubtful("half a reply to the dot, then close", LOST, ".", then(b"250 2.0.0 O", closes)),
    doubtful("a reply to the dot without its last line", LOST, ".", then(b"250-2.0.0 Ok\r\n", closes)),
    doubtful("lines of two codes after the dot", PROTOCOL, ".", b"250-a\r\n550 b\r\n"),
    doubtful("garbage after the dot", NO_REPLY, ".", b"Ok\r\n"),
    doubtful("354 after the dot", PROTOCOL, ".", b"354 more\r\n"),
    doubtful("code 999 after the dot", NO_REPLY, ".", b"999 Ok\r\n"),
    deferred("421 after the dot", "421 4.3.2 going", ".", b"421 4.3.2 going\r\n"),
    deferred("452 after the dot", "452 4.3.1 full", ".", b"452 4.3.1 full\r\n"),
    failed("554 after the dot", "554 5.6.0 no", ".", b"554 5.6.0 no\r\n"),
    failed("554 of control characters after the dot", f"554 {ESCAPED}", ".", b"554 " + CONTROLS + b"\r\n"),
    failed("554 after the dot, then close", "554 5.6.0 no", ".", then(b"554 5.6.0 no\r\n", closes)),
    delivered("250 after the dot, then close", "250 2.0.0 Ok", ".", then(b"250 2.0.0 Ok\r\n", closes)),
    delivered("250 after the dot, then no more to come", "250 a", ".", then(b"250 a\r\n", half_closes)),
    delivered("250 after the dot, and another", "250 a", ".", b"250 a\r\n550 b\r\n"),
    delivered(
        "250 after the dot, and garbage without end",
        "250 a",
        ".",
        then(b"250 a\r\n", without_end(b"\x1b garbage\0")),
    ),
    delivered("250 after the dot, and 421", "250 a", ".", b"250 a\r\n421 b\r\n"),
    delivered("250 of control characters after the dot", f"250 {ESCAPED}", ".", b"250 " + CONTROLS + b"\r\n"),
    delivered("QUIT is not answered", "250", "QUIT", b"", silent="quit"),
    delivered("QUIT is answered without end", "250", "QUIT", without_end(b"221-bye\r\n")),
    failed(
        "RSET is not answered",
        "550 5.1.1 no",
        replies={"RCPT": b"550 5.1.1 no\r\n", "RSET": b"", "DATA": b"554 5.5.1 none\r\n"},
        silent="reset",
    ),
    failed(
        "RSET is refused",
        "550 5.1.1 no",
        replies={"RCPT": b"550 5.1.1 no\r\n", "RSET": b"500 what?\r\n", "DATA": b"554 5.5.1 none\r\n"},
    ),
]

CASES = [*GREETINGS, *HELLOS, *TRANSACTIONS, *CONTENTS, *DOTS, *TLS]
