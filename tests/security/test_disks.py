"""What a stolen disk shows without the keys."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.digest import Digest
from tests.fakes.blobs import get, manifest_of
from tests.fakes.disk_search import digests_of, shown
from tests.fakes.whole_cluster import WholeCluster

NAME, AUTHOR, BUCKET = "takeover-of-the-competitor.txt", "annabelle", "mergers"
CONTENT = b"the price is forty million" * 10
LARGE = b"a large contract about ships" * 20_000


class Traces:
    """A cluster in which every way of writing leaves its traces, and the contents that were written."""

    def __init__(self, cluster: WholeCluster, seed: int) -> None:
        self.cluster = cluster
        self.random = random.Random(seed)
        self.written: list[bytes] = []
        self.locks: dict[str, int] = {}
        self.author = cluster.log_in(AUTHOR) | {"Content-Type": "application/json"}
        answer = cluster.ask_with(self.author, "POST", "/buckets", json.dumps({"name": BUCKET}).encode())
        assert answer.status == 201

    def put(self, path: str, content: bytes) -> None:
        """A file that is written under a lock."""
        if path not in self.locks:
            body = json.dumps({"paths": [f"{BUCKET}/{path}"], "lease_seconds": 60}).encode()
            self.locks[path] = self.cluster.ask_with(self.author, "POST", "/locks", body).json["lock"]["number"]
        headers = self.author | {"X-Lockstep-Lock": str(self.locks[path])}
        answer = self.cluster.ask_with(headers, "PUT", f"/files/{BUCKET}/{path}", content)
        assert answer.status in (200, 201), answer.body
        self.written.append(content)

    def edit(self, path: str) -> None:
        """A new version of the large file, of which most chunks are stored already."""
        before = self.written[-1]
        middle = len(before) // 2
        self.put(path, before[:middle] + b"an edit" + before[middle + 7 :])

    def interrupted_upload(self, id: str) -> None:
        """Chunks that are kept without a blob."""
        content = self.random.randbytes(5_000_000)
        with self.cluster.servers[id].store.stage() as staging:
            for chunk in list(chunk_bytes(content))[:-1]:
                staging.put(chunk)
            staging.keep()
        self.written.append(content)

    def damage(self) -> None:
        """Change one copy of a chunk in an index, and of some in files; all are found, marked and quarantined."""
        for digest in digests_of(CONTENT, LARGE):
            for server in self.cluster.servers.values():
                if harm(server.store, digest):
                    break
        for server in self.cluster.servers.values():
            while server.scrubber.step() < 1000:
                pass

    def drop(self, id: str) -> None:
        """Forget a blob, and collect its chunks."""
        store = self.cluster.servers[id].store
        content = self.random.randbytes(2_000_000)
        chunks: list[Chunk] = list(chunk_bytes(content))
        with store.stage() as staging:
            for chunk in chunks:
                staging.put(chunk)
            staging.complete(manifest_of(chunks))
        digest = manifest_of(chunks).digest
        assert get(store, digest) == content
        assert store.drop_blob(digest, store.generation(digest) or 0)
        assert store.collect_chunks(0).removed
        self.written.append(content)

    @property
    def secrets(self) -> list[bytes]:
        """What no disk may show."""
        words = [word.encode() for word in (NAME, BUCKET, AUTHOR)]
        return [*digests_of(*self.written), *words, CONTENT[:26], LARGE[:28]]


def harm(store: Any, digest: Digest) -> bool:
    """Change a chunk behind the store's back; whether it is here."""
    row = store._index.chunk(digest)
    if row is None:
        return False
    if row.sealed is None:
        store._files.path(digest).write_bytes(b"rot")
    else:
        harmed = "UPDATE inline SET sealed = zeroblob(99) WHERE chunk = ?"
        store._index.submit(lambda tx: tx._run(harmed, (row.id,)))
    return True


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[WholeCluster]:
    with WholeCluster(tmp_path / "data", tmp_path / "certs", file_servers=3) as cluster:
        yield cluster


def test_a_file_servers_disk_shows_neither_content_nor_names_nor_digests(
    cluster: WholeCluster, tmp_path: Path, seed: int
) -> None:
    """After small and large writes under locks, edits, an upload that was cut off, copies on replicas, damage that was
    found and repaired, a removal and an inventory, with commit notes and redo records kept: no file or file name of any
    file server's data folder has a digest of a file or chunk, in whatever form, a path, a bucket, an author or content;
    neither while the servers run nor afterwards. The directory's disk shows that the search finds them."""
    traces = Traces(cluster, seed)
    traces.put(NAME, CONTENT)
    traces.put("large-" + NAME, LARGE)
    traces.put("larger-" + NAME, traces.random.randbytes(5_000_000))
    traces.edit("larger-" + NAME)
    traces.interrupted_upload("2")
    traces.drop("3")
    traces.damage()
    assert cluster.settle()
    cluster.pass_time(2.0)
    for server in cluster.servers.values():
        server.store.keep_notes()
        server.inventory.step()
    assert sum(len(server.store.notes(0, 1 << 40, 100)) for server in cluster.servers.values()) >= 4
    assert max(server.store.highest_fence() for server in cluster.servers.values()) > 0
    folders = [cluster.server_folder(id) for id in cluster.servers]
    assert [path for folder in folders for path in (folder / "quarantine").iterdir()]
    assert [path for folder in folders for path in (folder / "redo").iterdir()]
    for folder in folders:
        assert shown(folder, traces.secrets) == []
    digests: set[Digest] = digests_of(*traces.written[:4])
    assert len(shown(cluster.settings.data, digests)) >= 4
    cluster.close()
    for folder in folders:
        assert shown(folder, traces.secrets) == []
    assert sum(path.stat().st_size for folder in folders for path in folder.rglob("*")) > len(LARGE)
