"""Clients that others wrote, against the real relay: swaks, msmtp, curl, and openssl for what they cannot do."""

import shutil
import socket
import subprocess

import pytest

from tests.world.service import NAME, PASSWORD, Service, service

_SECONDS = 60.0
LETTER = (
    b"From: Alice <alice@example.org>\r\nTo: bob@example.test\r\nSubject: Hello\r\n\r\n.dot\r\n..two\r\nend\r\n"
)


def needs(program: str) -> pytest.MarkDecorator:
    """The test is for machines that have it."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is missing")


def _has_perl_tls() -> bool:
    words = ["perl", "-MNet::SSLeay", "-e", "1"]
    return shutil.which("swaks") is not None and subprocess.run(words, stderr=subprocess.DEVNULL).returncode == 0


needs_swaks_tls = pytest.mark.skipif(not _has_perl_tls(), reason="swaks or Perl's Net::SSLeay is missing")


def run(*words: str, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a client to its end."""
    return subprocess.run(words, input=typed, capture_output=True, check=False, timeout=_SECONDS)


def swaks(port: int, *options: str) -> subprocess.CompletedProcess[bytes]:
    """One message by swaks, from a file, as LETTER has it."""
    common = ("--server", "127.0.0.1", "--port", str(port), "--helo", "client.example.org", "--timeout", "20")
    ends = ("--from", "alice@example.org", "--to", "bob@example.test", "--data", "-")
    # It doubles dots and turns line ends into CR LF itself.
    return run("swaks", *common, *ends, *options, typed=LETTER.replace(b"\r\n", b"\n"))


def body(there: Service) -> bytes:
    """What arrived at the exchanger, after the header."""
    return there.delivered().data.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n").rstrip(b"\r\n")


def protocol(there: Service) -> bytes:
    """What the trace says the message came with."""
    words = there.delivered().data.split()
    return words[words.index(b"with") + 1]


LOGIN = ("--auth-user", NAME, "--auth-password", PASSWORD, "--auth-hide-password")


@needs_swaks_tls
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_with_starttls_and_auth(mechanism: str, there: Service) -> None:
    """--tls --auth: the message arrives with its dots as they were."""
    sent = swaks(there.submission, "--tls", "--auth", mechanism, *LOGIN)
    assert sent.returncode == 0, sent.stdout
    assert b"TLS started with cipher TLSv1." in sent.stdout
    assert body(there) == b".dot\r\n..two\r\nend"
    assert protocol(there) == b"ESMTPSA"


@needs_swaks_tls
def test_swaks_with_tls_on_connect_and_pipelining(there: Service) -> None:
    """--tls-on-connect --pipeline: RFC 8314 and RFC 2920 together."""
    sent = swaks(there.implicit, "--tls-on-connect", "--pipeline", "--auth", "PLAIN", *LOGIN)
    assert sent.returncode == 0, sent.stdout
    assert body(there) == b".dot\r\n..two\r\nend"


@needs_swaks_tls
def test_swaks_with_a_wrong_password(there: Service) -> None:
    """Its status for a failed AUTH is 28; no message goes."""
    before = there.accepted
    sent = swaks(there.submission, "--tls", "--auth", "PLAIN", "--auth-user", NAME, "--auth-password", "wrong")
    assert sent.returncode == 28
    assert b"535 5.7.8" in sent.stdout
    assert there.accepted == before


@needs("swaks")
@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("pipelined", [(), ("--pipeline",)])
def test_swaks_behind_a_proxy_relays_by_the_address_that_the_proxy_names(
    version: str, pipelined: tuple[str, ...], there: Service
) -> None:
    """PROXY protocol: the client is who the header says, in what it may do and in the trace."""
    introduction = (
        *("--proxy-version", version, "--proxy-family", "TCP4" if version == "1" else "AF_INET"),
        *("--proxy-source", "192.0.2.7", "--proxy-source-port", "4711"),
        *("--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25"),
        *(("--proxy-protocol", "STREAM", "--proxy-command", "PROXY") if version == "2" else ()),
    )
    sent = swaks(there.proxied, *introduction, *pipelined)
    assert sent.returncode == 0, sent.stdout
    message = there.delivered()
    assert message.data.startswith(b"Received: from client.example.org ([192.0.2.7])\r\n")


@needs_swaks_tls
def test_swaks_behind_a_proxy_with_starttls_and_auth_from_anywhere(there: Service) -> None:
    """The header comes before TLS, and a user may relay whatever the address."""
    introduction = "TCP4 198.51.100.9 192.0.2.1 4711 25"
    sent = swaks(
        there.proxied, "--proxy-version", "1", "--proxy", introduction, "--tls", "--auth", "PLAIN", *LOGIN
    )
    assert sent.returncode == 0, sent.stdout
    assert there.delivered().data.startswith(b"Received: from client.example.org ([198.51.100.9])\r\n")


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 198.51.100.9 192.0.2.1 4711 25\r\n",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
    ],
    ids=["a stranger", "UNKNOWN", "LOCAL"],
)
def test_who_is_a_stranger_behind_the_proxy_may_not_relay(header: bytes) -> None:
    """The proxy's own address may relay, and that gives no right to a stranger, to LOCAL or to UNKNOWN."""
    with (
        service(allow="127.0.0.0/8") as there,
        socket.create_connection(("127.0.0.1", there.proxied), 20) as connection,
        connection.makefile("rb") as replies,
    ):
        connection.sendall(header)
        assert replies.readline().startswith(b"220 ")
        for line, expected in (
            (b"HELO client.example.org", b"250"),
            (b"MAIL FROM:<alice@example.org>", b"250"),
            (b"RCPT TO:<bob@example.test>", b"554 5.7.1"),
        ):
            connection.sendall(line + b"\r\n")
            assert replies.readline().startswith(expected)


@needs("msmtp")
def test_msmtp_with_starttls_and_auth(there: Service) -> None:
    """As a user's mail program sends: certificate verified, mechanism chosen by itself, two recipients."""
    settings = there.running.folder / "msmtprc"
    settings.write_text(
        f"account default\nhost localhost\nport {there.submission}\ndomain client.example.org\n"
        f"tls on\ntls_starttls on\ntls_trust_file {there.papers.authority}\n"
        f'auth on\nuser {NAME}\npasswordeval "echo {PASSWORD}"\nfrom alice@example.org\n'
    )
    settings.chmod(0o600)
    words = ("msmtp", "-C", str(settings), "bob@example.test", "carol@example.test")
    sent = run(*words, typed=LETTER.replace(b"\r\n", b"\n"))
    assert sent.returncode == 0, sent.stderr
    message = there.delivered()
    assert message.recipients == (b"RCPT TO:<bob@example.test>", b"RCPT TO:<carol@example.test>")
    assert message.data.endswith(b"\r\n\r\n.dot\r\n..two\r\nend\r\n")


@needs("msmtp")
def test_msmtp_with_implicit_tls(there: Service) -> None:
    """tls_starttls off; --serverinfo shows what is offered under it."""
    common = (
        *("msmtp", "--host=localhost", f"--port={there.implicit}", "--domain=client.example.org"),
        *("--tls=on", "--tls-starttls=off", f"--tls-trust-file={there.papers.authority}"),
    )
    said = run(*common, "--serverinfo").stdout
    for expected in (b"SIZE", b"PIPELINING", b"AUTH:", b"PLAIN LOGIN", b"DSN"):
        assert expected in said
    assert b"STARTTLS" not in said
    login = ("--auth=login", f"--user={NAME}", f"--passwordeval=echo {PASSWORD}", "--from=alice@example.org")
    sent = run(*common, *login, "bob@example.test", typed=LETTER.replace(b"\r\n", b"\n"))
    assert sent.returncode == 0, sent.stderr
    assert protocol(there) == b"ESMTPSA"


@needs("curl")
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_curl_uploads_a_letter(scheme: str, there: Service) -> None:
    """curl smtp:// with --ssl-reqd, and smtps://, both with a password and a verified certificate."""
    letter = there.running.folder / "letter"
    letter.write_bytes(LETTER)
    port = there.submission if scheme == "smtp" else there.implicit
    words = (
        *("curl", "-sS", "--ssl-reqd", "--cacert", str(there.papers.authority)),
        *(
            "--user",
            f"{NAME}:{PASSWORD}",
            "--mail-from",
            "alice@example.org",
            "--mail-rcpt",
            "bob@example.test",
        ),
        *("--upload-file", str(letter), f"{scheme}://localhost:{port}/client.example.org"),
    )
    sent = run(*words)
    assert sent.returncode == 0, sent.stderr
    assert body(there) == b".dot\r\n..two\r\nend"
    assert protocol(there) == b"ESMTPSA"


@needs("curl")
def test_curl_asks_for_help_and_verification(there: Service) -> None:
    """HELP and VRFY as other commands of a real client."""
    asked = run("curl", "-sS", "--request", "HELP", f"smtp://127.0.0.1:{there.plain}/client.example.org")
    assert asked.returncode == 0, asked.stderr
    assert b"214 2.0.0" in asked.stdout
    asked = run("curl", "-sS", "-v", "--mail-rcpt", "bob", f"smtp://127.0.0.1:{there.plain}/client.example.org")
    assert b"252 2.0.0" in asked.stderr or b"252 2.0.0" in asked.stdout


@needs("curl")
def test_curl_speaking_http_is_closed_at_once(there: Service) -> None:
    """A web client at the port gets no second line."""
    before = there.accepted
    asked = run("curl", "-sS", "--http0.9", "-m", "10", f"http://127.0.0.1:{there.plain}/")
    lines = asked.stdout.splitlines()
    assert len(lines) <= 2
    assert all(line.startswith((b"220 ", b"554 ")) for line in lines)
    assert there.accepted == before


@needs("openssl")
@pytest.mark.parametrize(("version", "works"), [("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)])
def test_openssl_finds_tls_1_2_and_newer_only(version: str, works: bool, there: Service) -> None:
    """RFC 8996: what is older has no place any more. The certificate comes with its chain."""
    asked = run(
        *("openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{there.plain}", version),
        *("-CAfile", str(there.papers.authority), "-verify_return_error", "-crlf"),
        typed=b"QUIT\n",
    )
    assert (b"Verify return code: 0 (ok)" in asked.stdout and asked.returncode == 0) is works
