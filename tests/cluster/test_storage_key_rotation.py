"""The storage keys of a real cluster rotate while people work, whoever is killed meanwhile."""

from __future__ import annotations

import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from lockstep_store.runtime.storage.sealing import KeyRing, key_id_of
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.disks import stop_and_check_disks
from tests.cluster.people import Person
from tests.cluster.test_kms import lockstep
from tests.waiting import wait_until

FILES = 60


class Crowd:
    """People who write and read all the time; `failures` has what went wrong."""

    person: type[Person] = Person

    def __init__(self, cluster: ClusterHarness, seed: int) -> None:
        self.cluster = cluster
        self.content: dict[str, bytes] = {}
        self.failures: list[str] = []
        self.done = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(seed, number)) for number in range(3)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int) -> None:
        """Until `count` more operations were done."""
        goal = self.done + count
        wait_until(lambda: self.failures or self.done >= goal, what="people's work")

    def _work(self, seed: int, number: int) -> None:
        source = random.Random(seed + number)
        own: dict[str, bytes] = {}
        try:
            with self.person(self.cluster, number % 2 + 1) as person:
                while not self._stop.is_set():
                    path = f"crowd/{number}/{source.randrange(20)}"
                    content = source.randbytes(source.choice([10, 3_000, 90_000, 400_000]))
                    person.put(path, content)
                    own[path] = content
                    again = source.choice(list(own))
                    if person.get(again) != own[again]:
                        raise AssertionError(f"{again} has other content")
                    self.done += 1
        except Exception as error:
            self.failures.append(repr(error))
        self.content.update(own)


def keys(person: Person) -> list[dict[str, Any]]:
    answer = person.patiently("GET", "/cluster/storage-keys")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["keys"]
    return found


def is_free(key: dict[str, Any]) -> bool:
    return not key.get("holders") and not key.get("waiting_for") and key.get("backups_before") is not None


def named_on_disks(cluster: ClusterHarness) -> set[str]:
    """The storage keys that the chunks of all file servers name."""
    found: set[bytes] = set()
    for number in (1, 2, 3):
        folder = cluster.data_dir("file_server", number)
        with closing(sqlite3.connect(f"file:{folder / 'index.db'}?mode=ro", uri=True)) as db:
            found |= {key_id_of(row[0]) for row in db.execute("SELECT sealed FROM inline")}
        found |= {key_id_of(path.read_bytes()) for path in (folder / "chunks").glob("??/*")}
    return {key_id.hex() for key_id in found}


def test_keys_rotate_while_people_work(make_cluster: MakeCluster, tmp_path: Path, seed: int) -> None:
    """Reads and writes go on without an error, file servers and the directory are killed in the middle, and in the
    end no disk names the old key, which is deleted; everything is still there after a restart of all."""
    cluster = make_cluster()
    source = random.Random(seed)
    content = {f"old/{n}": source.randbytes(source.choice([40, 9_000, 150_000, 2_000_000])) for n in range(FILES)}
    with Person(cluster) as person, Crowd(cluster, seed) as crowd:
        for path, data in content.items():
            person.put(path, data)
        (first,) = keys(person)
        assert "current" in lockstep(cluster, tmp_path, "storage-keys")
        printed = lockstep(cluster, tmp_path, "storage-keys", "rotate")
        assert "keep a new copy" in printed
        cluster.kill("file_server", 1)
        cluster.start("file_server", 1, wait=False)
        crowd.wait_for(10)
        cluster.kill("directory_server")
        cluster.start("directory_server", wait=False)
        cluster.wait_healthy()
        crowd.wait_for(10)
        cluster.kill("file_server", 2)
        cluster.start("file_server", 2)
        refused = lockstep(cluster, tmp_path, "storage-keys", "retire", keys(person)[0]["id"], fails=True)
        assert "is the current one" in refused
        wait_until(lambda: is_free(keys(person)[1]), 300, "the old key being free")
        new, old = keys(person)
        assert old["id"] == first["id"]
        assert "nothing needs it" in lockstep(cluster, tmp_path, "status")
        assert named_on_disks(cluster) == {new["id"]}
        refused = lockstep(cluster, tmp_path, "storage-keys", "retire", old["id"], fails=True)
        assert "backups made before" in refused
        lockstep(cluster, tmp_path, "storage-keys", "retire", old["id"], "--forget-backups")
        crowd.wait_for(10)
    assert not crowd.failures
    assert {id.hex() for id in KeyRing.load(cluster.folder.certs_dir / "storage-keys.json").key_ids} == {new["id"]}
    cluster.stop()
    cluster.start_all()
    with Person(cluster) as person:
        for path, data in (content | crowd.content).items():
            assert person.get(path) == data
    stop_and_check_disks(cluster)
