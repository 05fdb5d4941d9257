"""Looks at a stopped cluster's disks: does every version the directory knows have its copies, whole, where it says?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import NamedTuple

from file_server.chunk_store import ChunkStore
from file_server.disk_layout import DiskLayout
from tests.cluster.cluster_harness import ClusterHarness
from wire.digest import Digest
from wire.sealing import KeyRing, Sealer


class Checked(NamedTuple):
    """How much was looked at."""

    versions: int
    blobs: int
    copies: int


def check_disks_against_directory(cluster: ClusterHarness, copies: int = 2) -> Checked:
    """Every blob that a version refers to has at least `copies` holders, and each holder has every byte of it."""
    database = cluster.data_dir("directory_server") / "metadata.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        versions = db.execute("SELECT count(*) FROM version").fetchone()[0]
        wanted = {Digest(row[0]) for row in db.execute("SELECT DISTINCT digest FROM version WHERE NOT delete_marker")}
        holders: dict[str, set[Digest]] = {}
        for digest, server in db.execute("SELECT digest, server_id FROM holder"):
            holders.setdefault(server, set()).add(Digest(digest))
    found: dict[Digest, int] = dict.fromkeys(wanted, 0)
    for server, digests in holders.items():
        sealer = Sealer(KeyRing.load(cluster.folder.certs_dir / "storage-keys.json"))
        store = ChunkStore(DiskLayout.open(cluster.data_dir("file_server", server)), sealer)
        try:
            for digest in digests & wanted:
                for chunk, length in store.manifest(digest).chunks:
                    assert len(store.read_chunk(chunk)) == length
                found[digest] += 1
        finally:
            store.close()
    short = {str(digest): count for digest, count in found.items() if count < copies}
    assert not short, f"{len(short)} blobs have too few copies on disk: {dict(list(short.items())[:5])}"
    return Checked(versions, len(wanted), sum(found.values()))
