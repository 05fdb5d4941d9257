"""What `lockstep join` does, and clocks on other days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import (
    Identity,
    accept_bundle,
    new_key_and_request,
)


def days_from_now(days: float):  # type: ignore[no-untyped-def]
    return lambda: datetime.now(UTC) + timedelta(days=days)


def join(
    authority: CertificateAuthority, theirs: Path, here: Path, role: str = "file_server", links_pem: str = ""
) -> Identity:
    """What `lockstep join` does, without the network between."""
    key_pem, csr_pem = new_key_and_request(role, "3")
    return accept_bundle(
        here,
        role,
        "3",
        authority.ca_pem,
        authority.sign_request(csr_pem, role, "3", ["other.machine"]),
        key_pem,
        authority.peer_token(role, "3"),
        (theirs / "storage-keys.json").read_text(),
        links_pem=links_pem,
    )
