"""New metadata: only for a new cluster, or when an administrator asks for it by name.

An unmounted disk or a mistyped folder looks like a first start. A directory that began with nothing would not know any
file, and file servers collect what no directory knows. An authority in certs/ says that there is a cluster already.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography import x509

from directory_server.maintenance.restore import begin_again, has_metadata
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import SetupError


def check_new_metadata(metadata: Path, certs: Path, *, asked_for: bool, wall: Callable[[], float]) -> None:
    """Before the metadata is opened: refuse to begin with none beside an existing authority (SetupError).

    With `asked_for` the directory begins as one that was restored from an empty backup: it gives no number again and
    keeps what file servers have. A cluster whose directory never ran has nothing to keep.
    """
    if has_metadata(metadata) or not (certs / "authority").exists():
        return
    if not asked_for:
        raise SetupError(
            f"there is no metadata in {metadata.parent}, but {certs} has the authority of a cluster: a new directory "
            "would know none of its files. Mount the disk that has the metadata, correct --data, or put a backup in "
            f"place with `lockstep restore FILE --data {metadata.parent}`; --new-metadata begins without any"
        )
    if any(certs.glob("directory_server-*/cert.pem")):
        log.warning("beginning with new metadata in %s, as --new-metadata asks: file servers keep all", metadata.parent)
        begin_again(metadata, _began_at(certs / "ca.pem"), wall=wall)


def _began_at(certificate: Path) -> float:
    """When the cluster began; 0 when its certificate does not tell."""
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_before_utc.timestamp()
    except (OSError, ValueError):
        return 0.0
