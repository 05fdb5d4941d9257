"""File servers come, go, return, lose their disks and leave: the copies of every file follow, and nothing is lost."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections import Counter
from contextlib import closing
from typing import Any

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.disks import stop_and_check_disks
from tests.cluster.people import Person
from tests.fakes.older_storage import names_of
from tests.waiting import wait_until

FILES = 40
PATIENCE = 180.0
ZONE = "LOCKSTEP_FILE_SERVER_ZONE"
QUICK = {
    "LOCKSTEP_DIRECTORY_HEARTBEAT_SECONDS": "0.25",
    "LOCKSTEP_DIRECTORY_SUSPECT_SECONDS": "1.5",
    "LOCKSTEP_DIRECTORY_DOWN_SECONDS": "2.5",
    "LOCKSTEP_DIRECTORY_REPAIR_GRACE_SECONDS": "0.5",
    ZONE: "a",
}
ZONES = {"1": "a", "2": "a", "3": "b", "4": "b"}

HolderMap = dict[bytes, set[str]]


def listed(cluster: ClusterHarness) -> HolderMap:
    """Which servers the directory counts for each blob of a file."""
    database = cluster.data_dir("directory_server") / "metadata.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        found: HolderMap = {row[0]: set() for row in db.execute("SELECT digest FROM blob WHERE refs > 0")}
        for digest, server in db.execute("SELECT digest, server_id FROM holder WHERE NOT damaged"):
            if digest in found:
                found[digest].add(server)
    return found


def disks(cluster: ClusterHarness) -> HolderMap:
    """Which servers have each blob in their index."""
    found: HolderMap = {}
    for server in ZONES:
        folder = cluster.data_dir("file_server", server)
        names = names_of(folder, cluster.folder.certs_dir / "storage-keys.json")
        with closing(sqlite3.connect(f"file:{folder / 'index.db'}?mode=ro", uri=True)) as db:
            for (name,) in db.execute("SELECT name FROM blob"):
                found.setdefault(names.digest(name), set()).add(server)
    return found


def wait_for_holders(cluster: ClusterHarness, what: str, *allowed: str, away: str = "") -> float:
    """Until every blob has exactly two copies, on `allowed` servers of two zones; how long that took.

    What the server `away` has is not counted.
    """
    started = time.monotonic()

    def settled() -> bool:
        return all(
            len(holders) == 2 and holders <= set(allowed) and len({ZONES[id] for id in holders}) == 2
            for holders in (found - {away} for found in listed(cluster).values())
        )

    try:
        wait_until(settled, PATIENCE, what)
    except AssertionError:
        shown = Counter("+".join(sorted(holders)) for holders in listed(cluster).values())
        raise AssertionError(f"{what}: the copies stand at {dict(shown)}") from None
    return time.monotonic() - started


def info_of(person: Person, id: str) -> dict[str, Any]:
    answer = person.ask("GET", "/cluster/servers")
    assert answer.status_code == 200, answer.text
    return next(server for server in answer.json()["file_servers"] if server["id"] == id)


def at_rest(person: Person) -> bool:
    """No copy is being made, moved or given up, and none is planned to be."""
    answer = person.ask("GET", "/cluster")
    assert answer.status_code == 200, answer.text
    repair = answer.json()["repair"]
    return not any(repair.get(what) for what in ("balancing", "ordered", "under_copied", "surplus", "walking"))


def test_copies_follow_servers_that_come_and_go(make_cluster: MakeCluster, seed: int) -> None:
    """Two zones are used as soon as there are two; a dead server's copies are made again and trimmed when it returns;
    a wiped disk gets its share back; a drained server ends empty and can go. Every file reads right at every stage."""
    cluster = make_cluster(file_servers=4, proxies=1, env=QUICK)
    source = random.Random(seed)
    content = {f"f{n:03d}": source.randbytes(source.choice([40, 3000, 90_000, 400_000])) for n in range(FILES)}
    content["large"] = source.randbytes(6_000_000)
    took: dict[str, float] = {}
    with Person(cluster) as person:
        for path, data in content.items():
            person.put(path, data)
        one_zone = sum(holders in ({"1", "2"}, {"3", "4"}) for holders in listed(cluster).values())
        assert one_zone, "no file has its copies where two servers get a zone of their own"

        cluster.env[ZONE] = "b"
        for id in ("3", "4"):
            cluster.kill("file_server", id)
            cluster.start("file_server", id, wait=False)
        cluster.wait_healthy()
        took["spread over a second zone"] = wait_for_holders(cluster, "two zones", *ZONES)
        # A server that dies before it drops what it was let drop keeps that, uncounted, until its next inventory.
        wait_until(lambda: disks(cluster) == listed(cluster), PATIENCE, "the disks being as the metadata says")

        cluster.kill("file_server", 3)
        took["a dead server's copies made again"] = wait_for_holders(cluster, "repair", "1", "2", "4", away="3")
        cluster.start("file_server", 3)
        took["trimmed after its return"] = wait_for_holders(cluster, "trimming", *ZONES)
        wait_until(
            lambda: disks(cluster) == listed(cluster) and all(len(holders) == 2 for holders in disks(cluster).values()),
            PATIENCE,
            "the disks being as the metadata says, with two copies of everything",
        )

        cluster.kill("file_server", 1)
        shutil.rmtree(cluster.data_dir("file_server", 1))
        cluster.start("file_server", 1, env={ZONE: "a"})
        started = time.monotonic()
        wait_until(
            lambda: any("1" in holders for holders in listed(cluster).values()), PATIENCE, "copies on a new disk"
        )
        wait_for_holders(cluster, "the share of a wiped disk", *ZONES)
        took["a wiped disk's share restored"] = time.monotonic() - started

        refused = person.ask("DELETE", "/cluster/servers/4")
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        started = time.monotonic()
        assert person.ask("POST", "/cluster/servers/4/drain", json={}).status_code == 200
        wait_until(lambda: info_of(person, "4").get("drained"), PATIENCE, "the drain")
        wait_until(lambda: not info_of(person, "4").get("held_blobs"), PATIENCE, "an empty server")
        assert person.ask("DELETE", "/cluster/servers/4").status_code < 300
        took["drained and removed"] = time.monotonic() - started
        wait_until(lambda: not any("4" in has for has in disks(cluster).values()), PATIENCE, "nothing being left on it")
        wait_for_holders(cluster, "three servers", "1", "2", "3")
        # The wiped disk began a rebalance, which comes after all repair; a copy on its way is on three disks.
        quiet = 0

        def for_some_seconds() -> bool:
            nonlocal quiet
            quiet = quiet + 1 if at_rest(person) and disks(cluster) == listed(cluster) else 0
            time.sleep(0.2)
            return quiet >= 15

        wait_until(for_some_seconds, PATIENCE, "nothing moving any more")
        for path, data in content.items():
            assert person.get(path) == data
        assert "was removed from the cluster" in cluster.log_tails()["file_server-4.log"]
    checked = stop_and_check_disks(cluster)
    print(f"{checked.blobs} blobs, {checked.copies} copies; seconds: { {k: round(v, 1) for k, v in took.items()} }")
    assert checked.copies == 2 * checked.blobs
