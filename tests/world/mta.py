"""A Postfix of its own: a whole mail system, as a client that relays to one host, or as a next hop.

Its configuration, queue and log are in a folder that is made for it. A client listens nowhere: mail goes in by its
sendmail(1). A next hop takes the mail of one domain into a Maildir. It needs root, as Postfix always does. `log`
has what it said; what was started is ended by pid.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .authority import Papers

_NOBODY = 65534
_SECONDS = 30.0
_STEP = 0.05
_SERVICES = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
anvil unix - - n - 1 anvil
virtual unix - n n - - virtual
"""
DOMAIN = "example.test"


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running one."""

    folder: Path

    def send(self, letter: bytes, *words: str) -> None:
        """Hand in one message as sendmail(1) takes it: options, then recipients; CalledProcessError."""
        subprocess.run(["sendmail", "-C", str(self.folder), *words], input=letter, check=True, timeout=_SECONDS)

    @property
    def log(self) -> str:
        """What it said so far."""
        path = self.folder / "maillog"
        return path.read_text() if path.exists() else ""

    @property
    def messages(self) -> list[bytes]:
        """What it has delivered, in no order, with the header fields that it adds."""
        return [path.read_bytes() for path in (self.folder / "mail" / "new").glob("*")]

    def wait_for(self, words: str, count: int = 1) -> list[str]:
        """The lines of its log with these words, once there are so many; TimeoutError with the log."""
        deadline = time.monotonic() + _SECONDS
        while True:
            found = [line for line in self.log.splitlines() if words in line]
            if len(found) >= count:
                return found
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no {words} within {_SECONDS} s:\n{self.log}")
            time.sleep(_STEP)


def available() -> bool:
    """Whether it can run here."""
    return os.geteuid() == 0 and all(map(shutil.which, ("postfix", "sendmail")))


@contextmanager
def next_hop(address: str, port: int, papers: Papers, **settings: str) -> Iterator[Postfix]:
    """One that listens there, with STARTTLS, and delivers DOMAIN's mail."""
    given = {
        "myhostname": f"postfix.{DOMAIN}",
        "virtual_mailbox_domains": DOMAIN,
        "virtual_mailbox_base": "$config_directory",
        "virtual_mailbox_maps": "static:mail/",
        "virtual_uid_maps": f"static:{_NOBODY}",
        "virtual_gid_maps": f"static:{_NOBODY}",
        "virtual_minimum_uid": "1",
        "smtpd_tls_security_level": "may",
        "smtpd_tls_cert_file": str(papers.certificate),
        "smtpd_tls_key_file": str(papers.key),
        "smtpd_tls_received_header": "yes",
        "smtpd_relay_restrictions": "reject_unauth_destination",
        # Where a test sends many messages from one address.
        "smtpd_client_connection_count_limit": "0",
        **settings,
    }
    with postfix(f"{address}:{port} inet n - n - - smtpd\n", **given) as made:
        yield made


@contextmanager
def postfix(services: str = "", **settings: str) -> Iterator[Postfix]:
    """One that runs with these settings of postconf(5), and these lines of master(5) beside the usual ones."""
    folder = Path(tempfile.mkdtemp(prefix="postfix-test-"))
    folder.chmod(0o755)
    try:
        queue, data, mail = folder / "queue", folder / "data", folder / "mail"
        for each in (queue, data, mail):
            each.mkdir()
        shutil.chown(data, "postfix")
        os.chown(mail, _NOBODY, _NOBODY)
        given = {
            "compatibility_level": "3.6",
            "queue_directory": str(queue),
            "data_directory": str(data),
            "maillog_file": str(folder / "maillog"),
            "maillog_file_prefixes": str(folder),
            "mydestination": "",
            "alias_maps": "",
            "local_recipient_maps": "",
            "smtp_host_lookup": "native",
            **settings,
        }
        (folder / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in given.items()))
        (folder / "master.cf").write_text(services + _SERVICES)
        # They belong to the package, and every instance needs them beside its own.
        for name in ("postfix-files", "postfix-script", "post-install", "dynamicmaps.cf"):
            if Path("/etc/postfix", name).exists():
                (folder / name).symlink_to(Path("/etc/postfix", name))
        subprocess.run(["postfix", "-c", str(folder), "start"], check=True, capture_output=True, timeout=_SECONDS)
        try:
            yield Postfix(folder)
        finally:
            subprocess.run(
                ["postfix", "-c", str(folder), "stop"], check=False, capture_output=True, timeout=_SECONDS
            )
    finally:
        shutil.rmtree(folder)
