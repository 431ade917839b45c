"""An authority: certificates that clients under test can trust, made for one run. Nothing here knows relayd."""

import os
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Papers:
    """Files in PEM form: a host's certificate with its chain, its key, and the authority that clients trust."""

    certificate: Path
    key: Path
    authority: Path


def certify(folder: Path, *names: str, owner: int = -1) -> Papers:
    """A certificate for these names and addresses. The key is for `owner`, a uid (-1: who calls), alone."""
    authority = trustme.CA()
    made = authority.issue_cert(*names)
    papers = Papers(folder / "relay.pem", folder / "relay.key", folder / "authority.pem")
    papers.certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
    papers.key.touch(mode=0o600)
    papers.key.write_bytes(made.private_key_pem.bytes())
    os.chown(papers.key, owner, -1)
    papers.authority.write_bytes(authority.cert_pem.bytes())
    return papers
