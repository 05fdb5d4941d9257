"""A file server is away for many edits and comes back: by comparing disks, the cluster is as if it had never left."""

from __future__ import annotations

import itertools
import random
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from file_server.store.local.chunk_store import LocalChunkStore
from file_server.store.local.disk_layout import DiskLayout
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.digest import Digest
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.disks import stop_and_check_disks
from tests.cluster.people import Person
from tests.waiting import wait_until

EVERYDAY_EDITS, SOAK_EDITS = 150, 10_000
FILES = 25
WRITERS = 4
EVERYDAY_BOUND_SECONDS, BOUND_SECONDS = 180.0, 600.0
SHORT = {
    "LOCKSTEP_DIRECTORY_SUSPECT_SECONDS": "1.5",
    "LOCKSTEP_DIRECTORY_DOWN_SECONDS": "2",
    "LOCKSTEP_DIRECTORY_REPAIR_GRACE_SECONDS": "2",
}


def edit(cluster: ClusterHarness, count: int, seed: int) -> None:
    """`count` writes of new content, by several people through both proxies."""

    def work(writer: int) -> None:
        source = random.Random(f"{seed}-{writer}")
        with Person(cluster, 1 + writer % 2) as person:
            for _ in range(writer, count, WRITERS):
                size = source.choice((10, 1000, 1000, 20_000, 120_000))
                person.put(f"away/{source.randrange(FILES)}", source.randbytes(size))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(work, range(WRITERS)))


def repair_info(person: Person) -> dict[str, Any]:
    answer = person.patiently("GET", "/cluster")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["repair"])


def wait_converged(cluster: ClusterHarness, seconds: float) -> float:
    """Until repair has nothing to copy and nothing to drop, seen several times in a row; the seconds it took."""
    started = time.monotonic()
    quiet = itertools.count(1)
    with Person(cluster) as person:

        def settled() -> bool:
            nonlocal quiet
            info = repair_info(person)
            names = ("under_copied", "without_living_copy", "ordered", "surplus", "to_move", "walking")
            if any(info.get(name, 0) for name in names):
                quiet = itertools.count(1)
                return False
            time.sleep(0.2)  # the walk begins a moment after the server is heard of
            return next(quiet) >= 25

        wait_until(settled, seconds, "convergence after a server came back")
    return time.monotonic() - started


def compare_metadata_with_disks(cluster: ClusterHarness, folders: dict[str, Path], copies: int = 2) -> int:
    """On a stopped cluster whose programs had these data folders: every blob in use has exactly `copies` holders in
    the metadata, and each disk has exactly what the metadata says; the number of blobs."""
    database = folders["directory_server-1"] / "metadata.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        used = {Digest(row[0]) for row in db.execute("SELECT DISTINCT digest FROM version WHERE NOT delete_marker")}
        listed: dict[str, set[Digest]] = {}
        for digest, server in db.execute("SELECT digest, server_id FROM holder"):
            listed.setdefault(str(server), set()).add(Digest(digest))
    counts = {digest: sum(digest in held for held in listed.values()) for digest in used}
    wrong = {str(digest): count for digest, count in counts.items() if count != copies}
    assert not wrong, f"{len(wrong)} of {len(used)} blobs do not have {copies} copies in the metadata: {wrong}"
    for name, folder in folders.items():
        if name.startswith("file_server-"):
            disk = blobs_on_disk(cluster, folder)
            assert disk & used == listed.get(name.removeprefix("file_server-"), set()) & used, (
                f"{name} and metadata differ"
            )
    return len(used)


def blobs_on_disk(cluster: ClusterHarness, folder: Path) -> set[Digest]:
    sealer = Sealer(KeyRing.load(cluster.folder.certs_dir / "storage-keys.json"))
    store = LocalChunkStore(DiskLayout.open(folder), sealer)
    try:
        return {blob.digest for blob in store.blobs(0, store.latest_generation, 1_000_000)}
    finally:
        store.close()


def away(make_cluster: MakeCluster, edits: int, bound: float, seed: int) -> None:
    cluster = make_cluster(env=SHORT)
    edit(cluster, FILES * 2, seed)
    cluster.kill("file_server", 3)
    edit(cluster, edits, seed + 1)
    cluster.start("file_server", 3)
    took = wait_converged(cluster, bound)
    folders = {f"{program.program}-{program.id}": Path(program.data_dir) for program in cluster.programs}
    checked = stop_and_check_disks(cluster)
    blobs = compare_metadata_with_disks(cluster, folders)
    print(f"away for {edits} edits: converged in {took:.1f} s, {blobs} blobs, {checked.copies} whole copies on disk")


def test_a_replica_that_was_away_converges(make_cluster: MakeCluster, seed: int) -> None:
    """After its return every version has exactly the promised copies, and the metadata says what the disks have."""
    away(make_cluster, EVERYDAY_EDITS, EVERYDAY_BOUND_SECONDS, seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_replica_that_was_away_for_ten_thousand_edits_converges(make_cluster: MakeCluster, seed: int) -> None:
    """The same for 10,000 edits, within ten minutes."""
    away(make_cluster, SOAK_EDITS, BOUND_SECONDS, seed)
