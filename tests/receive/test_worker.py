"""A live worker takes mail on both event loops, from clients of every kind."""

import select
import socket
from pathlib import Path

import psutil
import pytest

from relayd.spool.envelope import head_end, unpack
from relayd.spool.intake import LARGE
from relayd.spool.layout import parse_name
from tests.receive.live import HOST, TRANSACTION, Client, Live, live, mail_of


def test_a_session_by_hand_leaves_a_message_in_the_spool(worker: Live) -> None:
    """The first mail of the README: what was typed is what is there, with the trace line before it."""
    with worker.client(greeted=False) as client:
        assert client.hears().startswith(f"220 {HOST} ESMTP relayd ")
        client.says(b"helo client.example\r\n")
        assert client.hears() == f"250 {HOST} {client.port} OK"
        client.says(b"mail from:<a@client.example>\r\n")
        assert client.hears() == "250 2.1.0 Ok"
        client.says(b"rcpt to:<b@example.net>\r\n")
        assert client.hears() == "250 2.1.5 Ok"
        client.says(b"data\r\n")
        assert client.hears() == "354 End data with <CR><LF>.<CR><LF>"
        client.says(b"Subject: Hi\r\n\r\n..dot\r\nbyte \xff\r\n.\r\n")
        queued = client.hears()
        client.says(b"quit\r\n")
        assert client.hears_all() == ["221 2.0.0 Bye"]
    (path,) = worker.files()
    message_id = queued.removeprefix("250 2.0.0 Ok: queued as ")
    assert parse_name(path.name) == (message_id, path.stat().st_size)
    trace, mail = mail_of(path)
    assert mail == b"Subject: Hi\r\n\r\n.dot\r\nbyte \xff\r\n"
    assert trace.startswith(b"Received: from client.example ([127.0.0.1])\r\n\tby relay.example.org ")
    assert b"with SMTP id " + message_id.encode() + b"\r\n\tfor <b@example.net>;" in trace
    content = path.read_bytes()
    envelope = unpack(content[: head_end(content)])
    assert (envelope.reverse_path, envelope.helo) == ("a@client.example", "client.example")
    assert envelope.client == f"[127.0.0.1]:{client.port}"
    assert worker.files("tmp") == []


def test_the_log_tells_of_the_session_and_its_message(worker: Live) -> None:
    """Opened, accepted, closed, tied together by the session; the size is that of the mail data."""
    with worker.client() as client:
        client.begins()
        client.says(b"0123456789\r\n.\r\nQUIT\r\n")
        client.hears_all()
    opened, accepted, closed = (
        worker.event(name) for name in ("session.opened", "message.accepted", "session.closed")
    )
    assert opened["session"] == accepted["session"] == closed["session"]
    assert opened["client"] == closed["client"] == f"[127.0.0.1]:{client.port}"
    assert accepted["id"] == worker.files()[0].name.partition(",")[0]
    assert (accepted["size"], accepted["recipients"], accepted["reverse_path"]) == (12, 1, "<a@client.example>")
    assert (closed["messages"], closed["reason"]) == (1, "quit")
    counted = {name: worker.slot.get(name) for name in ("sessions", "accepted", "accepted_recipients")}
    assert counted == {"sessions": 1, "accepted": 1, "accepted_recipients": 1}
    assert worker.slot.get("open_sessions") == 0


def test_two_transactions_of_one_session_are_two_files(worker: Live) -> None:
    """Pipelined in one write, with different envelopes; all replies come in order."""
    with worker.client() as client:
        client.says(
            b"EHLO client.example\r\n",
            b"MAIL FROM:<> SIZE=3 BODY=8BITMIME\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n",
        )
        while not (line := client.hears()).startswith("354 "):
            assert line.startswith("250")
        client.says(b"1\r\n.\r\n", TRANSACTION)
        codes = [client.hears()[:3] for _ in range(4)]
        assert codes == ["250", "250", "250", "354"]
        client.says(b"2\r\n.\r\nNOOP\r\nQUIT\r\n")
        assert [line[:9] for line in client.hears_all()] == ["250 2.0.0", "250 2.0.0", "221 2.0.0"]
    assert worker.mail() == [b"1\r\n", b"2\r\n"]
    heads = [(content := path.read_bytes())[: head_end(content)] for path in worker.files()]
    first, second = map(unpack, heads)
    assert first.reverse_path is None
    assert [each.address for each in first.recipients] == ["b@example.net", "c@example.net"]
    assert first.body == "8BITMIME"
    assert b"\tfor " not in mail_of(worker.files()[0])[0]
    assert [each.address for each in second.recipients] == ["b@example.net"]
    assert second.body is None
    assert first.session == second.session


def test_a_session_octet_by_octet_is_the_same_session(worker: Live) -> None:
    """Nothing depends on how TCP cuts it."""
    with worker.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for said, codes in (
            (b"HELO c\r\n" + TRANSACTION, ["250", "250", "250", "354"]),
            (b".\r\r\n..\r\n\r\n.\r\n" + TRANSACTION, ["550", "250", "250", "354"]),
            (b"..\r\n.x\r\n.\r\n", ["250"]),
        ):
            for octet in said:
                client.says(bytes([octet]))
            assert [client.hears()[:3] for _ in codes] == codes
    assert worker.mail() == [b".\r\nx\r\n"]


def test_a_large_message_goes_through_without_growing_the_worker(worker: Live) -> None:
    """20 MB, byte for byte; memory grows by a fraction of it."""
    line = bytes(range(32, 127)) * 2 + b"\r\n"
    body = line * (20_000_000 // len(line))
    with worker.client() as client:
        client.begins()
        client.says(line * 2000, b".\r\n")
        assert client.hears().startswith("250 ")
        process = psutil.Process(worker.pid)
        before = process.memory_info().rss
        peak = before
        client.says(TRANSACTION)
        for _ in range(3):
            client.hears()
        for first in range(0, len(body), 1 << 20):
            client.says(body[first : first + (1 << 20)])
            peak = max(peak, process.memory_info().rss)
        client.says(b".\r\n")
        assert client.hears().startswith("250 2.0.0 Ok: queued as ")
        peak = max(peak, process.memory_info().rss)
    assert worker.mail()[1] == body
    assert worker.files("tmp") == []
    assert peak - before < 6_000_000
    assert worker.event("message.accepted")["size"] == 2000 * len(line)
    assert worker.event("message.accepted")["size"] == len(body)


def test_many_sessions_commit_together(worker: Live) -> None:
    """Fifty clients at their final dot at once: each gets its own ID and leaves its own message."""
    clients = [worker.client() for _ in range(50)]
    for number, client in enumerate(clients):
        client.begins()
        client.says(f"{number}\r\n".encode())
    for client in clients:
        client.says(b".\r\n")
    ids = {client.hears().rpartition(" ")[2] for client in clients}
    for client in clients:
        client.__exit__(None, None, None)
    assert ids == {path.name.partition(",")[0] for path in worker.files()}
    assert sorted(worker.mail()) == sorted(f"{number}\r\n".encode() for number in range(50))


def test_a_client_that_says_all_and_no_more_gets_every_reply(worker: Live) -> None:
    """The end of file behind its last commands, then the replies, the 250 after the commit included."""
    with worker.client() as client:
        client.begins()
        client.says(b"Subject: x\r\n\r\nHi\r\n.\r\nNOOP\r\n")
        client.ends()
        codes = [line[:3] for line in client.hears_all()]
    assert codes == ["250", "250"]
    assert worker.mail() == [b"Subject: x\r\n\r\nHi\r\n"]
    assert worker.event("session.closed")["reason"] == "client closed"


@pytest.mark.parametrize(
    "said",
    [
        [],
        [b"HELO c\r\n" + TRANSACTION],
        [b"HELO c\r\n" + TRANSACTION, b"Hi\r\n.\r"],
        [b"HELO c\r\n" + TRANSACTION, b"x" * (3 * LARGE)],
    ],
)
@pytest.mark.parametrize("politely", [True, False])
def test_a_client_that_is_cut_off_leaves_nothing(worker: Live, said: list[bytes], politely: bool) -> None:
    """Neither a message nor a file in tmp/, nor a descriptor."""
    before = psutil.Process(worker.pid).num_fds()
    client = worker.client()
    for octets in said:
        client.says(octets)
        if octets.endswith(TRANSACTION):
            assert [client.hears()[:3] for _ in range(4)] == ["250", "250", "250", "354"]
    client.ends() if politely else client.dies()
    closed = worker.event("session.closed")
    assert closed["messages"] == 0
    assert worker.files() == worker.files("tmp") == []
    with worker.client() as other:
        other.says(b"QUIT\r\n")
        other.hears_all()
    worker.event("session.closed")
    assert psutil.Process(worker.pid).num_fds() == before


def test_twenty_errors_end_a_session(worker: Live) -> None:
    """421 4.7.0, and the log says why."""
    with worker.client() as client:
        client.says(b"BREW\r\n" * 30)
        lines = client.hears_all()
    assert len(lines) == 21
    assert lines[-1].startswith("421 4.7.0 ")
    assert worker.event("session.closed")["reason"] == "too many errors"


def test_silence_is_ended_by_the_sweep(tmp_path: Path) -> None:
    """By the clock of the worker, with the reply of section 4.5.3.2."""
    with live(tmp_path, settings='[session]\ntimeout = "1ms"') as worker, worker.client() as client:
        assert client.hears_all() == [f"421 4.4.2 {HOST} Error: timeout exceeded"]


def test_a_client_that_never_reads_does_not_fill_the_memory(worker: Live) -> None:
    """It is not read any more when its replies are not; other clients are served."""
    client = worker.client(buffer=4096)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    client.socket.setblocking(False)
    process = psutil.Process(worker.pid)
    before = process.memory_info().rss
    octets = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\n" + b"BDAT 1\r\nx" * 2_000_000
    sent = 0
    while sent < len(octets):
        try:
            sent += client.socket.send(octets[sent : sent + 65_536])
        except BlockingIOError:
            if not select.select([], [client.socket], [], 0.1)[1]:
                break
    else:
        pytest.fail("it was read without end")
    with worker.client() as other:
        other.says(b"NOOP\r\n")
        assert other.hears() == "250 2.0.0 Ok"
    assert process.memory_info().rss - before < 16_000_000
    client.dies()


def test_the_address_that_was_reached_behind_a_wildcard_is_ours(tmp_path: Path) -> None:
    """Strangers reach postmaster there, and nobody else anywhere."""
    settings = '[relay]\nallow = ["192.0.2.0/24"]\npostmaster = "ops@example.org"'
    with live(tmp_path, settings=settings, addresses=("0.0.0.0",)) as worker:
        port = worker.address[1]
        with Client(("127.0.0.2", port)) as client:
            client.says(b"HELO c\r\nMAIL FROM:<>\r\n")
            client.says(b"RCPT TO:<postmaster@[127.0.0.2]>\r\nRCPT TO:<postmaster@[127.0.0.3]>\r\n")
            client.says(b"RCPT TO:<b@example.net>\r\nDATA\r\n")
            codes = [client.hears()[:9] for _ in range(6)]
            assert codes[2:5] == ["250 2.1.5", "554 5.7.1", "554 5.7.1"]
            client.says(b"Hi\r\n.\r\n")
            assert client.hears().startswith("250 ")
        content = worker.files()[0].read_bytes()
        assert [each.address for each in unpack(content[: head_end(content)]).recipients] == ["ops@example.org"]
        refused = worker.event("recipient.refused")
        assert refused["recipient"] == "<postmaster@[127.0.0.3]>"
        assert refused["reply"].startswith("554 5.7.1 ")


def test_a_client_over_ipv6_is_written_as_one(tmp_path: Path) -> None:
    """In the envelope, the trace line and the log; loopback may relay."""
    with live(tmp_path, addresses=("::1", "127.0.0.1")) as worker:
        with worker.client() as client:
            client.begins()
            client.says(b"Hi\r\n.\r\nQUIT\r\n")
            client.hears_all()
        assert b"from client.example ([IPv6:::1])" in mail_of(worker.files()[0])[0]
        assert worker.event("session.opened")["client"] == f"[::1]:{client.port}"


def test_an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client(tmp_path: Path) -> None:
    """A socket for both speaks of mapped addresses; networks and literals mean the plain ones."""
    with live(tmp_path, addresses=("::",), settings='[relay]\npostmaster = "ops@example.org"') as worker:
        with Client(("127.0.0.1", worker.address[1])) as client:
            client.says(b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster@[127.0.0.1]>\r\nDATA\r\n")
            assert [client.hears()[:3] for _ in range(4)] == ["250", "250", "250", "354"]
            client.says(b"Hi\r\n.\r\n")
            assert client.hears().startswith("250 ")
        trace, _ = mail_of(worker.files()[0])
        assert trace.startswith(b"Received: from c ([127.0.0.1])\r\n")
        assert b"for <ops@example.org>" in trace
