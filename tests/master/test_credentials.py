"""The files of [tls], [auth] and [routes]: what keeps a relay from starting, and what is only said."""

import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from relayd.base.config import load
from relayd.base.users import Users
from relayd.master.credentials import Findings, look

NOW = datetime.now(UTC)
CA = trustme.CA()


def certificate(
    folder: Path, name: str = "relay", begins: datetime | None = None, ends: datetime | None = None
) -> None:
    """NAME.pem and NAME.key in the folder, the key its owner's alone."""
    made = CA.issue_cert("relay.example.org", not_before=begins, not_after=ends)
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
    key.touch(mode=0o600)
    key.write_bytes(made.private_key_pem.bytes())


def found(folder: Path, tables: str, now: float | None = None) -> Findings:
    """What is found with these tables, paths without the folder."""
    path = folder / "relayd.toml"
    path.write_text(tables)
    said = look(load(path), "alice", time.time() if now is None else now)
    return Findings(
        *([line.replace(f"{folder}/", "") for line in lines] for lines in (said.troubles, said.warnings))
    )


TLS = '[tls]\ncertificate = "relay.pem"\nkey = "relay.key"'
USERS = '[auth]\nusers = "users"'


def test_a_certificate_with_its_key_and_a_file_of_users_are_good(tmp_path: Path) -> None:
    """Nothing to say."""
    certificate(tmp_path)
    Users.read("").added("alice", "secret").write(tmp_path / "users")
    assert found(tmp_path, f"{TLS}\n{USERS}") == Findings()


def test_without_the_tables_nothing_is_looked_at(tmp_path: Path) -> None:
    """Neither is needed."""
    assert found(tmp_path, "") == Findings()


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """With the command that makes it, where there is one."""
    assert found(tmp_path, f"{TLS}\n{USERS}").troubles == [
        "[tls] certificate: relay.pem is not there",
        "[auth] users: users is not there (bin/relayd user add NAME makes it)",
    ]
    certificate(tmp_path)
    (tmp_path / "relay.key").unlink()
    assert found(tmp_path, TLS).troubles == ["[tls] key: relay.key is not there"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_the_user_may_not_read_is_named_with_the_user(tmp_path: Path) -> None:
    """The user of [process], as the caller says."""
    certificate(tmp_path)
    (tmp_path / "relay.key").chmod(0)
    assert found(tmp_path, TLS).troubles == ["[tls] key: relay.key is not readable for user alice"]


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    """A FIFO would wait for a writer, a directory has no text."""
    certificate(tmp_path)
    (tmp_path / "relay.key").unlink()
    os.mkfifo(tmp_path / "relay.key")
    (tmp_path / "users").mkdir()
    assert found(tmp_path, f"{TLS}\n{USERS}").troubles == [
        "[tls] key: relay.key is not a regular file",
        "[auth] users: users is not a regular file",
    ]


@pytest.mark.parametrize(
    ("name", "octets", "line"),
    [
        ("relay.pem", b"", "certificate: relay.pem holds no certificate in PEM form"),
        ("relay.key", b"-----BEGIN CERTIFICATE-----", "key: relay.key holds no key in PEM form"),
        ("relay.key", b"\x30\x82\xff\x00", "key: relay.key holds no key in PEM form"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, name: str, octets: bytes, line: str) -> None:
    """Key and certificate swapped, DER instead of PEM, an empty file."""
    certificate(tmp_path)
    (tmp_path / name).write_bytes(octets)
    assert found(tmp_path, TLS).troubles == [f"[tls] {line}"]


def test_words_beside_the_certificate_may_be_in_any_encoding(tmp_path: Path) -> None:
    """What openssl x509 -text writes above it."""
    certificate(tmp_path)
    chain = tmp_path / "relay.pem"
    chain.write_bytes(b"Subject: O=M\xfcller\n" + chain.read_bytes())
    assert found(tmp_path, TLS) == Findings()


def test_a_damaged_key_is_a_trouble_with_the_reason_and_none_of_its_content(tmp_path: Path) -> None:
    """What OpenSSL calls it."""
    certificate(tmp_path)
    key = tmp_path / "relay.key"
    key.write_text(key.read_text()[:120] + "\n-----END EC PRIVATE KEY-----\n")
    (line,) = found(tmp_path, TLS).troubles
    assert line.startswith("[tls] certificate: relay.pem and relay.key cannot be used: ")
    assert key.read_text().splitlines()[1][:20] not in line


def test_a_key_of_another_certificate_is_a_trouble(tmp_path: Path) -> None:
    """They must match."""
    certificate(tmp_path)
    certificate(tmp_path, "other")
    os.replace(tmp_path / "other.key", tmp_path / "relay.key")
    assert found(tmp_path, TLS).troubles == ["[tls] key: relay.key does not belong to the certificate relay.pem"]


def test_a_key_with_a_passphrase_is_a_trouble_and_nobody_is_asked(tmp_path: Path) -> None:
    """A start has no terminal; OpenSSL would ask there."""
    certificate(tmp_path)
    key = str(tmp_path / "relay.key")
    words = ["openssl", "pkey", "-in", key, "-aes128", "-passout", "pass:secret", "-out", f"{key}.locked"]
    subprocess.run(words, check=True)
    os.replace(f"{key}.locked", key)
    assert found(tmp_path, TLS).troubles == [
        "[tls] key: relay.key is locked with a passphrase, which nobody can say at a start"
    ]


def test_a_certificate_that_has_expired_is_a_warning(tmp_path: Path) -> None:
    """Mail that comes without verification is better than none."""
    certificate(tmp_path, begins=NOW - timedelta(days=9), ends=NOW - timedelta(days=1))
    assert found(tmp_path, TLS) == Findings(
        [], ["[tls] certificate: relay.pem has expired; clients that verify it refuse it"]
    )


def test_a_certificate_that_begins_tomorrow_is_a_warning(tmp_path: Path) -> None:
    """So is a clock that is wrong."""
    certificate(tmp_path, begins=NOW + timedelta(days=1), ends=NOW + timedelta(days=99))
    assert found(tmp_path, TLS).warnings == [
        "[tls] certificate: relay.pem is not valid yet; clients that verify it refuse it"
    ]


def test_a_certificate_that_ends_within_fourteen_days_is_a_warning(tmp_path: Path) -> None:
    """Not one that has a day more."""
    end = (NOW + timedelta(days=60)).replace(microsecond=0)
    certificate(tmp_path, ends=end)
    assert found(tmp_path, TLS, (end - timedelta(days=14)).timestamp()).warnings == []
    (line,) = found(tmp_path, TLS, (end - timedelta(days=13)).timestamp() - 1).warnings
    assert line.startswith("[tls] certificate: relay.pem ends on ")
    assert line.endswith(f" {end.year} GMT, in 13 days; renew it")


def test_files_that_everybody_can_read_are_a_warning(tmp_path: Path) -> None:
    """A key and hashes are for the relay alone."""
    certificate(tmp_path)
    Users.read("").added("alice", "secret").write(tmp_path / "users")
    for name in ("relay.key", "users"):
        (tmp_path / name).chmod(0o644)
    assert found(tmp_path, f"{TLS}\n{USERS}") == Findings(
        [],
        [
            "[tls] key: relay.key is readable for everybody on this host; chmod o-r relay.key",
            "[auth] users: users is readable for everybody on this host; chmod o-r users",
        ],
    )


def test_a_file_of_users_that_is_damaged_is_a_trouble_and_an_empty_one_a_warning(tmp_path: Path) -> None:
    """The line is named and not shown: it may hold a password that somebody wrote by hand."""
    (tmp_path / "users").touch(mode=0o600)
    assert found(tmp_path, USERS) == Findings(
        [], ["[auth] users: users is empty; bin/relayd user add NAME adds one"]
    )
    (tmp_path / "users").write_bytes(b"\xff")
    assert found(tmp_path, USERS).troubles == ["[auth] users: users is not UTF-8 at octet 0"]
    (tmp_path / "users").write_text("alice:secret\n")
    (line,) = found(tmp_path, USERS).troubles
    assert line.startswith("[auth] users: users: line 1: ")
    assert "secret" not in line


def test_many_users_are_all_read_and_a_file_without_end_is_not(tmp_path: Path) -> None:
    """What a part of a file says depends on where it is cut."""
    line = ":$scrypt$n=16384,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA==$1pazaWFI7iSXJLTjb4ccs7OW1XPlIRFV+XIUMR/UnJg=\n"
    path = tmp_path / "users"
    path.touch(mode=0o600)
    path.write_text("".join(f"user{number}{line}" for number in range(12_000)))
    assert found(tmp_path, USERS) == Findings()
    with path.open("r+b") as file:
        file.truncate(16_000_001)
    assert found(tmp_path, USERS).troubles == ["[auth] users: users is larger than 16 MB"]


def test_a_password_of_a_route_is_looked_at_and_not_shown(tmp_path: Path) -> None:
    """One that nobody else may use is good; else the route is named, since its mail would wait for nothing."""
    route = '[routes."example.net"]\nhosts = ["mail.example.net"]\nuser = "alice"\npassword_file = "secret"'
    secret = tmp_path / "secret"
    place = '[routes."example.net"] password_file:'
    assert found(tmp_path, route).troubles == [f"{place} secret: No such file or directory (as user alice)"]
    secret.touch(mode=0o600)
    secret.write_text("open sesame\n")
    assert found(tmp_path, route) == Findings()
    secret.chmod(0o644)
    assert found(tmp_path, route).troubles == [
        f"{place} secret: others may use it; its mode must end in 0, as 0640 or 0600 do (as user alice)"
    ]
