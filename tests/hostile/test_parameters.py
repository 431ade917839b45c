"""Parameters of MAIL and RCPT that hide something: line breaks in xtext, look-alikes, numbers without end."""

import pytest
from msgspec.structs import replace

from tests.hostile.machine import EHLO, FACTS, Machine, lines


@pytest.mark.parametrize(
    "parameters",
    [
        "NOTIFY=\u017fUCCESS",
        "NOTIFY=NEVER\u00a0",
        "NOTIFY=NEVER,SUCCESS",
        "NOTIFY=SUCCESS,SUCCESS",
        "NOTIFY=",
        "NOTIFY",
        "ORCPT=rfc822;x+0D+0A",
        "ORCPT=rfc822;x+0d+0a",
        "ORCPT=rfc822;x+00",
        "ORCPT=rfc822;x+1B",
        "ORCPT=rfc822;x+7F",
        "ORCPT=rfc822;x+85",
        "ORCPT=rfc822;x+E2+80+A8",
        "ORCPT=rfc822;x+0",
        "ORCPT=rfc822;x+G0",
        "ORCPT=rfc822;x=y",
        "ORCPT=rfc822;",
        "ORCPT=;x",
        "ORCPT=rfc822",
        "ORCPT=rfc822:x",
        "ORCPT=rf(c);x",
        "ORCPT=utf-8;x\\x{0A}",
        "ORCPT=utf-8;x\\x{0D}\\x{0A}",
        "ORCPT=utf-8;x\\x{2028}",
        "ORCPT=utf-8;x\\x{202E}",
        "ORCPT=utf-8;x\\x{D800}",
        "ORCPT=utf-8;x\\x{110000}",
        "ORCPT=utf-8;x\\x{00}",
        "ORCPT=utf-8;x\\x{",
        "ORCPT=utf-8;x+0A",
        "ORCPT=utf-8;x\u2028",
        "ORCPT=rfc822;x\u00fc",
        "ORCPT=rfc822;" + "x" * 501,
        "ORCPT=rfc822;x ORCPT=rfc822;y",
        "NOTIFY=NEVER NOTIFY=NEVER",
        "SIZE=1",
        "X=\u2028",
    ],
)
@pytest.mark.parametrize("smtputf8", [b"", b" SMTPUTF8"])
def test_a_parameter_that_hides_something_is_refused(parameters: str, smtputf8: bytes) -> None:
    """RFC 3461 section 4, RFC 6533 section 3: what decodes to a line break or a control character, above all."""
    machine = Machine()
    machine.says(EHLO, b"MAIL FROM:<a@b>" + smtputf8 + b"\r\n", f"RCPT TO:<c@d> {parameters}\r\n".encode())
    assert machine.rcpts == []
    assert machine.codes[-1] // 100 == 5
    lines(machine.replies)


@pytest.mark.parametrize(
    "parameters",
    [
        b"ENVID=x+0D+0A",
        b"ENVID=x+00",
        b"ENVID=x+1B",
        b"ENVID=x+7F",
        b"ENVID=x+80",
        b"ENVID=x+",
        b"ENVID=x=y",
        b"ENVID=",
        b"ENVID=" + b"x" * 101,
        b"RET=",
        b"RET=FULL RET=HDRS",
        b"SIZE=-1",
        b"SIZE=1e9",
        b"SIZE=" + b"9" * 21,
        b"SIZE=99999999999999999999",
        b"SIZE=1 SIZE=2",
        b"BODY=BINARYMIME",
        b"SMTPUTF8=1",
        b"AUTH=x+0A",
        b"X",
        b"=1",
        b"-=1",
        b"\xff=1",
        b"SIZE=1\0",
    ],
)
def test_a_parameter_of_mail_that_hides_something_is_refused(parameters: bytes) -> None:
    """No transaction begins."""
    machine = Machine(replace(FACTS, auth="offered"))
    machine.says(EHLO, b"MAIL FROM:<a@b> " + parameters + b"\r\n")
    assert machine.mail == []
    assert machine.codes[-1] // 100 == 5
    lines(machine.replies)
