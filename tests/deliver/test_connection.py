"""A connection: bytes and timeouts on a real socket, against exchangers that do all that exchangers do."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest

from relayd.deliver.connecting import connect
from relayd.deliver.connection import Connection, Load, Manner
from relayd.deliver.exchangers import Candidate
from relayd.deliver.limits import Limits
from relayd.smtp.client import Event, Finished, Order, Over, Phase, Ready, SendContent
from relayd.smtp.reply import Reply
from relayd.smtp.transcript import Transcript
from tests.deliver.peer import peer, saying
from tests.deliver.running import LONGEST_SECONDS, on_each_loop, run
from tests.world.exchanger import Exchanger

PATIENT = Limits()
ORDER = Order("a@example.org", ("b@example.net",))
SHORT = 0.05


def impatient(phase: Phase) -> Limits:
    """Limits with a short time for one phase."""
    return Limits(replies={**PATIENT.replies, phase: SHORT})


def candidate(exchanger: Exchanger) -> Candidate:
    """Where it listens."""
    address, port = exchanger.address
    return Candidate(10, "mx.test", ip_address(address), port)


async def connected(to: Candidate, limits: Limits = PATIENT, name: str | None = "relay.test") -> Connection:
    """A connection to it."""
    connection = await connect(to, Manner(name), limits=limits)
    assert isinstance(connection, Connection)
    return connection


async def ready(to: Candidate, limits: Limits = PATIENT) -> Connection:
    """A connection that may carry mail."""
    connection = await connected(to, limits)
    assert isinstance(await connection.event(), Ready)
    return connection


def reason(event: Event) -> str:
    """Why a conversation is over."""
    assert isinstance(event, Over)
    return str(event.reason)


def replies(event: Event) -> list[str]:
    """What a transaction came to."""
    assert isinstance(event, Finished)
    return [str(each) for each in event.result.replies]


@on_each_loop
def test_a_transaction_from_the_greeting_to_quit(loop: str) -> None:
    """Every octet arrives, and the connection ends in order."""

    async def main() -> None:
        connection = await ready(candidate(exchanger))
        connection.begin(ORDER)
        assert await connection.event() == SendContent()
        connection.send_small_content(b"Subject: x\r\n\r\n.dot\r\nno end")
        assert replies(await connection.event()) == ["250 2.0.0 Ok"]
        assert await connection.is_ready()
        await connection.leave()

    with Exchanger() as exchanger:
        run(main, loop)
        (message,) = exchanger.messages
        assert message.data == b"Subject: x\r\n\r\n.dot\r\nno end\r\n"
        assert exchanger.sessions[0].lines[-1] == b"QUIT"


@on_each_loop
def test_mail_data_of_megabytes_streams(loop: str) -> None:
    """In chunks that end anywhere, dots and all."""
    lines = b"".join(b".%07d\r\n" % number for number in range(300_000))

    async def chunks() -> AsyncIterator[bytes]:
        for first in range(0, len(lines), 99_999):
            yield lines[first : first + 99_999]

    async def main() -> None:
        connection = await ready(candidate(exchanger))
        connection.begin(ORDER)
        assert await connection.event() == SendContent()
        await connection.send_content(chunks())
        assert replies(await connection.event()) == ["250 2.0.0 Ok"]
        await connection.leave()

    with Exchanger() as exchanger:
        run(main, loop)
        assert exchanger.messages[0].data == lines


def test_the_greeting_is_timed_from_the_connect() -> None:
    """By the clock that is handed in."""
    instants = itertools.chain([100.0], itertools.repeat(100.25))

    async def main() -> None:
        transcript = Transcript(lambda: next(instants))
        connection = await connect(
            candidate(exchanger), Manner("relay.test"), limits=PATIENT, transcript=transcript
        )
        assert isinstance(connection, Connection)
        assert isinstance(await connection.event(), Ready)
        assert connection.greeting_s == 0.25
        await connection.leave()

    with Exchanger() as exchanger:
        run(main)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_without_a_name_ehlo_has_the_address_of_the_connection(address: str) -> None:
    """The one that the exchanger sees (section 4.1.1.1)."""
    if address == "::1" and not _has_ipv6():
        pytest.skip("this host has no IPv6 on loopback")
    heard = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 peer.test\r\n")
        heard.append(await reader.readline())
        writer.write(b"250 peer.test\r\n")

    async def main() -> None:
        async with peer(script, address) as to:
            connection = await connected(to, name=None)
            await connection.event()
            connection.abort()

    run(main)
    assert heard == [b"EHLO [127.0.0.1]\r\n" if address == "127.0.0.1" else b"EHLO [IPv6:::1]\r\n"]


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
        return True


def test_the_source_address_is_the_configured_one() -> None:
    """Where a host has several."""

    async def main() -> None:
        connection = await connect(
            candidate(exchanger), Manner("relay.test"), ip_address("127.0.0.9"), limits=PATIENT
        )
        assert isinstance(connection, Connection)
        await connection.event()
        connection.abort()

    with Exchanger() as exchanger:
        run(main)
        assert exchanger.sessions[0].peer[0] == "127.0.0.9"


# Failing to connect.


@on_each_loop
def test_a_refused_connection_is_a_reply(loop: str) -> None:
    """With the system's reason."""
    with Exchanger() as exchanger:
        to = candidate(exchanger)
    answer = run(lambda: connect(to, Manner("relay.test"), limits=PATIENT), loop)
    assert isinstance(answer, Reply)
    assert str(answer).startswith(f"451 4.4.1 connect to {to}: ")
    assert "refused" in str(answer)


@on_each_loop
def test_a_connection_that_nobody_answers_is_a_reply(loop: str) -> None:
    """After the time that is given."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        to = Candidate(10, "mx.test", ip_address("127.0.0.1"), full.getsockname()[1])
        # The kernel drops what a full backlog cannot hold, as a firewall would.
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        answer = run(lambda: connect(to, Manner("relay.test"), limits=Limits(connect=SHORT)), loop)
        for each in waiting:
            each.close()
    assert str(answer) == f"451 4.4.1 connect to {to}: timeout"


def test_a_source_address_that_is_not_ours_is_a_reply() -> None:
    """A slip in the configuration must not end the process."""
    with Exchanger() as exchanger:
        to = candidate(exchanger)
        answer = run(lambda: connect(to, Manner("relay.test"), ip_address("192.0.2.1"), limits=PATIENT))
    assert str(answer).startswith(f"451 4.4.1 connect to {to}: ")


# Silence, and what is as bad.


async def comes_to_content(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server's side up to the 354."""
    writer.write(b"220 a\r\n")
    for reply in (b"250 a\r\n", b"250 a\r\n", b"250 a\r\n", b"354 a\r\n"):
        await reader.readline()
        writer.write(reply)


@pytest.mark.parametrize(("phase", "verb"), [(Phase.GREETING, "CONNECT"), (Phase.HELLO, "EHLO")])
@on_each_loop
def test_silence_before_mail_ends_the_conversation(loop: str, phase: Phase, verb: str) -> None:
    """Section 4.5.3.2."""

    async def main() -> None:
        connection = await connected(candidate(exchanger), impatient(phase))
        assert reason(await connection.event()) == f"451 4.4.2 timeout while waiting for: {phase.value}"

    with Exchanger(replies={verb: b""}) as exchanger:
        run(main, loop)


@pytest.mark.parametrize(
    ("phase", "verb"), [(Phase.MAIL, "MAIL"), (Phase.RCPT, "RCPT"), (Phase.DATA, "DATA"), (Phase.FINAL, ".")]
)
@on_each_loop
def test_silence_in_a_transaction_ends_it(loop: str, phase: Phase, verb: str) -> None:
    """After the final dot it leaves a doubt."""

    async def main() -> None:
        connection = await ready(candidate(exchanger), impatient(phase))
        connection.begin(ORDER)
        event = await connection.event()
        if isinstance(event, SendContent):
            connection.send_small_content(b"text\r\n")
            event = await connection.event()
        assert replies(event) == [f"451 4.4.2 timeout while waiting for: {phase.value}"]
        assert isinstance(event, Finished)
        assert event.result.in_doubt == (frozenset({0}) if phase is Phase.FINAL else frozenset())

    with Exchanger(replies={verb: b""}, extensions=()) as exchanger:
        run(main, loop)


@on_each_loop
def test_a_peer_that_does_not_read_ends_the_transaction(loop: str) -> None:
    """Mail data that finds the buffers full waits for so long."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await comes_to_content(reader, writer)
        await asyncio.Event().wait()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1_000_000

    async def main() -> None:
        async with peer(script) as to:
            connection = await ready(to, impatient(Phase.CONTENT))
            connection.begin(ORDER)
            assert await connection.event() == SendContent()
            await connection.send_content(endless())
            event = await connection.event()
            assert replies(event) == ["451 4.4.2 timeout while waiting for: mail data to send"]
            assert isinstance(event, Finished)
            assert event.result.in_doubt == frozenset()

    run(main, loop)


@on_each_loop
def test_dribbled_octets_gain_no_time(loop: str) -> None:
    """A reply that never ends is none, however busily it comes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"220-a\r\n")
            await writer.drain()
            await asyncio.sleep(SHORT / 10)

    async def main() -> None:
        async with peer(script) as to:
            connection = await connected(to, impatient(Phase.GREETING))
            assert reason(await connection.event()) == "451 4.4.2 timeout while waiting for: greeting"

    run(main, loop)


@pytest.mark.parametrize("seconds", [0.0, SHORT])
def test_who_answers_in_time_and_slowly_comes_to_mail_in_bounded_time(seconds: float) -> None:
    """Each answer comes while it is waited for, and all together take too long."""

    async def main() -> None:
        async with peer(saying(b"220 a\r\n", b"500 a\r\n")) as to:
            connection = await connected(to, Limits(opening=seconds))
            assert reason(await connection.event()).startswith("451 4.4.2 timeout while waiting for: ")

    run(main)


@on_each_loop
def test_a_transaction_takes_bounded_time_up_to_the_final_dot(loop: str) -> None:
    """However many answers there are to wait for; the time before it does not count."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 a\r\n")
        while line := await reader.readline():
            if line.startswith(b"RCPT"):
                await asyncio.sleep(SHORT / 10)
            writer.write(b"250 a\r\n")

    async def main() -> None:
        async with peer(script) as to:
            connection = await ready(to, Limits(transaction=SHORT))
            connection.begin(Order("a@example.org", ("b@example.net",) * 1_000))
            event = await connection.event()
            assert replies(event)[-1] == "451 4.4.2 timeout while waiting for: reply to RCPT"

    run(main, loop)


@on_each_loop
def test_mail_data_takes_bounded_time_up_to_the_final_dot(loop: str) -> None:
    """Whoever reads a little now and then holds a place that others need."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await comes_to_content(reader, writer)
        while await reader.read(100_000):
            pass

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000_000

    async def main() -> None:
        async with peer(script) as to:
            connection = await ready(to, Limits(transaction=SHORT))
            connection.begin(ORDER)
            assert await connection.event() == SendContent()
            await connection.send_content(endless())
            event = await connection.event()
            assert replies(event) == ["451 4.4.2 timeout while waiting for: mail data to send"]
            assert isinstance(event, Finished)
            assert event.result.in_doubt == frozenset()

    run(main, loop)


def test_the_answer_to_the_final_dot_has_its_own_time() -> None:
    """Not to wait for it would leave a doubt."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await comes_to_content(reader, writer)
        await reader.readuntil(b"\r\n.\r\n")
        await asyncio.sleep(2 * SHORT)
        writer.write(b"250 taken\r\n")
        await reader.read()

    async def main() -> None:
        async with peer(script) as to:
            connection = await ready(to, Limits(transaction=SHORT))
            connection.begin(ORDER)
            assert await connection.event() == SendContent()
            connection.send_small_content(b"text\r\n")
            assert replies(await connection.event()) == ["250 taken"]

    run(main)


@pytest.mark.parametrize(
    "octets", [b"220-a\r\n" * 100_000, b"x" * 1_000_000, b"\0" * 1_000_000, b"220 ok\xff\r\n250 ok\r\n"]
)
@on_each_loop
def test_garbage_ends_the_conversation(loop: str, octets: bytes) -> None:
    """Endless lines, a line without an end, replies to nothing."""

    async def main() -> None:
        async with peer(saying(octets)) as to:
            connection = await connected(to)
            event = await connection.event()
            while not isinstance(event, Over):
                event = await connection.event()
            assert reason(event).startswith("451 4.5.0 protocol error: ")

    run(main, loop)


# Losing the connection.


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO"])
@on_each_loop
def test_a_connection_lost_before_mail_is_over(loop: str, verb: str) -> None:
    """The reason says what was waited for."""

    async def main() -> None:
        connection = await connected(candidate(exchanger))
        assert reason(await connection.event()).startswith("451 4.4.2 lost the connection while waiting for: ")
        assert not connection.is_open

    with Exchanger(drop_after=verb) as exchanger:
        run(main, loop)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
@on_each_loop
def test_a_connection_lost_in_a_transaction_finishes_it(loop: str, verb: str) -> None:
    """In doubt only after the final dot."""

    async def main() -> None:
        connection = await ready(candidate(exchanger))
        connection.begin(ORDER)
        event = await connection.event()
        if isinstance(event, SendContent):
            connection.send_small_content(b"text\r\n")
            event = await connection.event()
        assert replies(event)[0].startswith("451 4.4.2 lost the connection while waiting for: ")
        assert isinstance(event, Finished)
        assert event.result.in_doubt == (frozenset({0}) if verb == "." else frozenset())

    with Exchanger(drop_after=verb, drop_after_final_dot=verb == ".") as exchanger:
        run(main, loop)


@on_each_loop
def test_mail_data_that_is_at_hand_goes_when_it_is_wanted(loop: str) -> None:
    """Nobody is woken for that: what comes next is the end."""

    async def main() -> None:
        connection = await ready(candidate(exchanger))
        for number in range(2):
            connection.begin(ORDER, b"Subject: %d\r\n\r\n.dot\r\nno end" % number)
            assert replies(await connection.event()) == ["250 2.0.0 Ok"]
            assert connection.dots == number + 1
            assert await connection.is_ready()
        await connection.leave()

    with Exchanger() as exchanger:
        run(main, loop)
    assert [each.data for each in exchanger.messages] == [
        b"Subject: %d\r\n\r\n.dot\r\nno end\r\n" % number for number in range(2)
    ]


@on_each_loop
def test_mail_data_at_hand_does_not_go_to_an_exchanger_that_takes_nobody(loop: str) -> None:
    """Nor does it go in the transaction after that, which has its own."""

    async def main() -> None:
        async with peer(
            saying(b"220 a\r\n", b"250 a\r\n", b"250 a\r\n", b"550 no\r\n", b"250 a\r\n", b"421 a\r\n")
        ) as to:
            connection = await ready(to)
            connection.begin(ORDER, b"text\r\n")
            assert replies(await connection.event()) == ["550 no"]
            assert connection.dots == 0
            assert await connection.is_ready()
            connection.begin(ORDER)
            assert replies(await connection.event()) == ["421 a"]

    run(main, loop)


@on_each_loop
def test_mail_data_at_hand_stays_when_who_waits_was_cancelled(loop: str) -> None:
    """In one turn of the loop, before the other can abort: what comes of it would be heard by nobody."""

    async def main() -> None:
        async with peer(saying(b"220 a\r\n", b"250 a\r\n", b"250 a\r\n", b"250 a\r\n")) as to:
            connection = await ready(to)
            connection.begin(ORDER, b"text\r\n")
            waiting = asyncio.ensure_future(connection.event())
            while connection.conversation.phase is not Phase.DATA:
                await asyncio.sleep(0)
            waiting.cancel()
            connection.data_received(b"354 go on\r\n")
            assert connection.dots == 0
            connection.abort()

    run(main, loop)


@on_each_loop
def test_mail_data_that_finds_the_socket_closed_leaves_no_doubt(loop: str) -> None:
    """What is written then does not go; the conversation hears of it a moment later."""

    async def main() -> None:
        async with peer(comes_to_content) as to:
            connection = await ready(to)
            connection.begin(ORDER)
            assert await connection.event() == SendContent()
            connection.abort()
            connection.send_small_content(b"text\r\n")
            event = await connection.event()
            assert isinstance(event, Finished)
            assert (event.result.in_doubt, connection.dots) == (frozenset(), 0)

    run(main, loop)


@on_each_loop
def test_who_is_asked_for_the_next_transaction_is_asked_behind_a_quick_answer_only(loop: str) -> None:
    """And not again before that one's own mail data goes; its commands are in one write with it."""
    asked: list[int] = []
    heard: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 a\r\n")
        await reader.readline()
        writer.write(b"250-a\r\n250 PIPELINING\r\n")
        for _ in range(4):
            await reader.readuntil(b"DATA\r\n")
            writer.write(b"250 a\r\n250 a\r\n354 a\r\n")
            await reader.readuntil(b"\r\n.\r\n")
            heard.append(bytes(reader._buffer))  # type: ignore[attr-defined]
            writer.write(b"250 taken\r\n")
        await reader.read()

    def following() -> Load | None:
        asked.append(len(heard))
        return Load(ORDER, b"third\r\n") if len(asked) == 1 else None

    async def main() -> None:
        async with peer(script) as to:
            connection = await ready(to, Limits(quick=LONGEST_SECONDS))
            connection.following = following
            for number in range(2):
                connection.begin(ORDER, b"%d\r\n" % number)
                assert replies(await connection.event()) == ["250 taken"]
            assert replies(await connection.event()) == ["250 taken"]
            assert asked == [1, 2]
            assert await connection.is_ready()
            assert connection.dots == 3
            connection.begin_nothing()
            connection.begin(ORDER, b"fourth\r\n")
            assert replies(await connection.event()) == ["250 taken"]
            assert asked == [1, 2]
            connection.abort()

    run(main, loop)
    group = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
    assert heard == [b"", group, b"", b""]


@on_each_loop
def test_an_exchanger_that_hangs_up_after_354_gets_no_mail_data(loop: str) -> None:
    """The news may come in the same turn; sending into it must not be taken for a bug, nor leave a doubt."""

    async def main() -> None:
        async with peer(
            saying(b"220 a\r\n", b"250 a\r\n", b"250 a\r\n", b"250 a\r\n", b"354 a\r\n421 b\r\n")
        ) as to:
            connection = await ready(to)
            connection.begin(ORDER)
            event = await connection.event()
            if isinstance(event, SendContent):
                connection.send_small_content(b"text\r\n")
                event = await connection.event()
            assert replies(event) == ["421 b"]
            assert isinstance(event, Finished)
            assert event.result.in_doubt == frozenset()

    run(main, loop)


@on_each_loop
def test_a_refusal_in_the_middle_of_the_mail_data_is_heard(loop: str) -> None:
    """What the exchanger says before it hangs up tells more than that it did."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await comes_to_content(reader, writer)
        await reader.read(1)
        writer.write(b"552 5.3.4 too large\r\n")
        while await reader.read(100_000):
            pass

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000 + b"\r\n"

    async def main() -> None:
        async with peer(script) as to:
            connection = await ready(to)
            connection.begin(ORDER)
            assert await connection.event() == SendContent()
            await connection.send_content(endless())
            assert replies(await connection.event()) == ["552 5.3.4 too large"]

    run(main, loop)


# Leaving.


def test_an_exchanger_that_refuses_us_is_told_quit() -> None:
    """Section 3.1; and the connection is closed, though nobody waits for that."""

    said = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 go away\r\n")
        said.append(await reader.read())
        closed.set()

    async def main() -> None:
        async with peer(script) as to:
            connection = await connected(to)
            assert reason(await connection.event()) == "554 go away"
            await closed.wait()

    closed = asyncio.Event()
    run(main)
    assert said == [b"QUIT\r\n"]


@on_each_loop
def test_leaving_waits_for_the_answer_to_quit(loop: str) -> None:
    """And then closes."""

    async def main() -> None:
        connection = await ready(candidate(exchanger))
        await connection.leave()
        assert not connection.is_open

    with Exchanger() as exchanger:
        run(main, loop)
        assert exchanger.commands["QUIT"] == 1


@on_each_loop
def test_leaving_does_not_wait_long(loop: str) -> None:
    """An exchanger that does not answer QUIT is left all the same."""

    async def main() -> None:
        connection = await ready(candidate(exchanger), impatient(Phase.QUIT))
        await connection.leave()

    with Exchanger(replies={"QUIT": b""}) as exchanger:
        run(main, loop)


@on_each_loop
def test_an_exchanger_that_ends_it_and_does_not_read_is_left_all_the_same(loop: str) -> None:
    """What it has not read yet would keep the socket open for as long as it likes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 a\r\n")
        await reader.readline()
        writer.write(b"250-a\r\n250 PIPELINING\r\n")
        await has_begun.wait()
        writer.write(b"421 gone\r\n")
        await asyncio.Event().wait()

    async def main() -> None:
        async with peer(script) as to:
            connection = await ready(to, impatient(Phase.QUIT))
            connection.begin(Order("a@example.org", (f"b@{'x' * 200}.example.net",) * 100_000))
            waiting = asyncio.ensure_future(connection.event())
            await asyncio.sleep(0)
            has_begun.set()
            assert replies(await waiting)[-1] == "421 gone"
            await connection.leave()

    has_begun = asyncio.Event()
    run(main, loop)


@on_each_loop
def test_rset_is_answered_before_the_next_transaction(loop: str) -> None:
    """After one in which no recipient was taken."""

    async def main() -> None:
        connection = await ready(candidate(exchanger))
        connection.begin(ORDER)
        assert replies(await connection.event()) == ["550 5.1.1 no"]
        assert await connection.is_ready()
        assert connection.conversation.phase is Phase.READY
        await connection.leave()

    with Exchanger(replies={"RCPT": b"550 5.1.1 no\r\n"}) as exchanger:
        run(main, loop)
        assert exchanger.commands["RSET"] == 1


@on_each_loop
def test_an_unanswered_rset_ends_the_connection(loop: str) -> None:
    """In its own short time."""

    async def main() -> None:
        connection = await ready(candidate(exchanger), impatient(Phase.RESET))
        connection.begin(ORDER)
        await connection.event()
        assert not await connection.is_ready()

    with Exchanger(replies={"RCPT": b"550 5.1.1 no\r\n", "RSET": b""}) as exchanger:
        run(main, loop)
