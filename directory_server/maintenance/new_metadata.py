"""Allows empty metadata only for a new cluster, or when asked for, and a used database only with its cluster's keys.

An unmounted disk or a mistyped folder looks like a first start. A directory that started empty would know no file, and
file servers collect what the directory does not know. An authority in certs/ shows that the cluster exists already.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from directory_server.maintenance.restore import Database, begin_again, begin_again_in, has_metadata
from lockstep_store.runtime.tls.authorities import TrustedAuthorities, load_links, parse_links
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import SetupError


def check_new_metadata(metadata: Path | Database, certs: Path, *, asked_for: bool, wall: Callable[[], float]) -> None:
    """Raise SetupError if there is no metadata although certs/ has an authority, or none for a cluster's database.

    Call before opening the metadata.

    With `asked_for` the directory starts as if restored from an empty backup: it issues no number twice and keeps what
    file servers have. If the cluster's directory never ran, there is nothing to keep.
    """
    if not (certs / "authority").exists():
        if not isinstance(metadata, Path) and metadata.has_accounts():
            raise SetupError(
                f"{metadata} has the metadata of an existing cluster, but {certs} has no authority; a directory with "
                "one of its own could talk to none of the cluster's programs. Copy the folder of --certs of the "
                "directory server that has used the database (docs/postgresql.md), or correct --certs or --metadata"
            )
        return
    is_there = has_metadata(metadata) if isinstance(metadata, Path) else not metadata.is_empty()
    if is_there:
        return
    place = metadata.parent if isinstance(metadata, Path) else metadata
    if not asked_for:
        advice = (
            "Mount the disk that has the metadata, correct --data, or restore a backup with "
            f"`lockstep restore FILE --data {place}`"
            if isinstance(metadata, Path)
            else "Correct --metadata, or restore the database"
        )
        raise SetupError(
            f"there is no metadata in {place}, but {certs} has the authority of an existing cluster; a "
            f"directory without metadata would know none of its files. {advice}. To start without metadata, add "
            "--new-metadata"
        )
    if any(certs.glob("directory_server-*/cert.pem")):
        log.warning("--new-metadata: starting with empty metadata in %s; file servers keep all blobs", place)
        if isinstance(metadata, Path):
            begin_again(metadata, _began_at(certs), wall=wall)
        else:
            begin_again_in(metadata, _began_at(certs), wall=wall)


def _began_at(certs: Path) -> float:
    """Return when the cluster was created, from the certificate of its first authority; 0 if that is unreadable.

    A link (see `runtime.tls.authorities`) is valid from the day on which the authority before was created.
    """
    try:
        known = [*TrustedAuthorities.load(certs / "ca.pem").certificates, *parse_links(load_links(certs))]
    except (SetupError, OSError, ValueError):
        return 0.0
    return min(one.not_valid_before_utc for one in known).timestamp()
