"""Looks at a stopped cluster's disks: does every version the directory knows have its copies, whole, where it says?"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from file_server.store.local.chunk_store import LocalChunkStore
from file_server.store.local.disk_layout import DiskLayout
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.digest import Digest
from tests.cluster.cluster_harness import ClusterHarness

SMALL_DISK = 256 << 20


class Checked(NamedTuple):
    """How much was looked at."""

    versions: int
    blobs: int
    copies: int


def stop_and_check_disks(cluster: ClusterHarness, copies: int = 2) -> Checked:
    """Stop the cluster; then every blob that a version refers to must have at least `copies` holders, each of which
    has every byte of it."""
    folders = {f"{program.program}-{program.id}": Path(program.data_dir) for program in cluster.programs}
    cluster.stop()
    database = folders["directory_server-1"] / "metadata.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        versions = db.execute("SELECT count(*) FROM version").fetchone()[0]
        wanted = {Digest(row[0]) for row in db.execute("SELECT DISTINCT digest FROM version WHERE NOT delete_marker")}
        holders: dict[str, set[Digest]] = {}
        for digest, server in db.execute("SELECT digest, server_id FROM holder"):
            holders.setdefault(server, set()).add(Digest(digest))
    found: dict[Digest, int] = dict.fromkeys(wanted, 0)
    for server, digests in holders.items():
        sealer = Sealer(KeyRing.load(cluster.folder.certs_dir / "storage-keys.json"))
        store = LocalChunkStore(DiskLayout.open(folders[f"file_server-{server}"]), sealer)
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


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of 256 MiB at `folder`; skip the test where only root may."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0700", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount the small disk that this fills")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill a disk to its last byte."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    try:
        yield
    finally:
        ballast.unlink()
