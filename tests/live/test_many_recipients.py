"""One message with a thousand recipients over two hundred domains, and a crash in the middle of it.

It is one file with one journal, whatever its recipients come to, and what the journal has nobody gets again.
"""

import os
import re
import signal
import smtplib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from relayd.spool.envelope import head_end, unpack
from tests.world.exchanger import Exchanger, Received
from tests.world.names import NameServer
from tests.world.network import free_port
from tests.world.relay import Relay, relay

DOMAINS = [f"d{number}.test" for number in range(200)]
RECIPIENTS = [f"user{number}@{domain}" for domain in DOMAINS for number in range(5)]
# The exchangers share the domains evenly; one says no to everybody, and one is slow to say that it has the mail.
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 12)]
REFUSING, SLOW, HOME = ADDRESSES[0], ADDRESSES[1], "127.0.0.12"
# Not all of those that answer, so that the crash finds some on their way.
IN_THE_MIDDLE = 300


class Town:
    """The exchangers, by address, and the relay in front of them."""

    def __init__(self, running: Relay, exchangers: dict[str, Exchanger]) -> None:
        self.running = running
        self.exchangers = exchangers

    def copies(self) -> Counter[str]:
        """How often each recipient got the message, or may have: once for each final dot."""
        return Counter(
            recipient
            for address in ADDRESSES
            for message in self.exchangers[address].messages
            for recipient in recipients(message)
        )

    def delivered(self) -> set[str]:
        """Who has the message, after the journal."""
        envelope = [address for path in self.running.files("new", "cur") for address in addresses(path)]
        return {
            envelope[index]
            for path in self.running.files("journal")
            for line in path.read_bytes().split(b"\n")[:-1]
            if (entry := msgspec.json.decode(line))["kind"] == "delivered"
            for index in entry["recipients"]
        }


def recipients(message: Received) -> list[str]:
    """The forward-paths of a transaction."""
    return re.findall(r"<(.*)>", b"\n".join(message.recipients).decode())


def addresses(path: Path) -> Iterable[str]:
    """The recipients of a message file, in their order."""
    content = path.read_bytes()
    return [recipient.address for recipient in unpack(content[: head_end(content)]).recipients]


@contextmanager
def town(slow: threading.Event) -> Iterator[Town]:
    """A running relay; the slow exchanger replies to no final dot before the event."""
    port = free_port(*ADDRESSES, HOME)
    zone = "example.org. 60 IN MX 10 home.test.\nhome.test. 60 IN A 127.0.0.12\n"
    zone += "".join(
        f"{domain}. 60 IN MX 10 mx.{domain}.\nmx.{domain}. 60 IN A {ADDRESSES[number % len(ADDRESSES)]}\n"
        for number, domain in enumerate(DOMAINS)
    )
    with ExitStack() as stack:
        names = stack.enter_context(NameServer(zone))
        exchangers = {address: stack.enter_context(Exchanger(address, port)) for address in (*ADDRESSES, HOME)}
        exchangers[REFUSING].replies["RCPT"] = b"550 5.1.1 no such user here\r\n"
        exchangers[SLOW].before_final_reply = slow
        running = stack.enter_context(
            relay(
                delivery=f'port = {port}\nprivate_exchangers = true\nretry = ["2s"]',
                dns=f'nameservers = ["127.0.0.1:{names.address[1]}"]',
            )
        )
        running.start()
        yield Town(running, exchangers)
        running.leave()


def send(running: Relay) -> None:
    """Hand in the message."""
    with smtplib.SMTP("127.0.0.1", running.port, "client.example.org") as client:
        client.sendmail("alice@example.org", RECIPIENTS, "Subject: To all\r\n\r\nHello\r\n")


def test_a_crash_in_the_middle_of_a_thousand_recipients_sends_no_copy_that_the_journal_rules_out() -> None:
    """SIGKILL while some have it, some are on their way and some wait for a reply; the next start goes on."""
    slow = threading.Event()
    with town(slow) as here:
        running = here.running
        (delivery,) = running.pids("delivery")
        send(running)
        running.wait(lambda: len(here.delivered()) >= IN_THE_MIDDLE, "journal of the first recipients")
        assert (len(running.files("new", "cur")), len(running.files("journal"))) == (1, 1)
        ruled_out = here.delivered()
        os.kill(delivery, signal.SIGKILL)
        slow.set()
        running.wait_until_empty()

        copies = here.copies()
        assert {who for who in ruled_out if copies[who] != 1} == set()
        refused = {f"user{number}@{domain}" for domain in DOMAINS[:: len(ADDRESSES)] for number in range(5)}
        assert set(copies) == set(RECIPIENTS) - refused
        # Nobody was sent it more than once by each of the two processes.
        assert max(copies.values()) <= 2
        reports = here.exchangers[HOME].messages
        told = Counter(re.findall(rb"Final-Recipient: rfc822; ?(\S+)", b"".join(each.data for each in reports)))
        assert told == Counter({who.encode(): 1 for who in refused})
