"""What a stolen disk shows without the keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.whole_cluster import WholeCluster

NAME, AUTHOR = "takeover-of-the-competitor.txt", "annabelle"
CONTENT = b"the price is forty million" * 10
LARGE = b"a large contract about ships" * 20_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[WholeCluster]:
    with WholeCluster(tmp_path / "data", tmp_path / "certs", file_servers=3) as cluster:
        yield cluster


def test_a_file_servers_disk_shows_neither_content_nor_names(cluster: WholeCluster) -> None:
    """After writes under a lock and without, by a person, with commit notes and redo records kept: no file of any file
    server's data folder has the content, a path, a bucket or an author. Their sizes are there."""
    author = cluster.log_in(AUTHOR)
    assert (
        cluster.ask_with(
            author | {"Content-Type": "application/json"}, "POST", "/buckets", b'{"name": "mergers"}'
        ).status
        == 201
    )
    for path, content in ((NAME, CONTENT), ("large-" + NAME, LARGE)):
        body = json.dumps({"paths": [f"mergers/{path}"], "lease_seconds": 60}).encode()
        lock = cluster.ask_with(author | {"Content-Type": "application/json"}, "POST", "/locks", body)
        number = str(lock.json["lock"]["number"])
        headers = author | {"X-Lockstep-Lock": number}
        assert cluster.ask_with(headers, "PUT", f"/files/mergers/{path}", content).status == 201
    cluster.pass_time(2.0)
    for server in cluster.servers.values():
        server.store.keep_notes()
    noted = sum(len(server.store.notes(0, 1 << 40, 100)) for server in cluster.servers.values())
    assert noted == 2
    assert max(server.store.highest_fence() for server in cluster.servers.values()) > 0
    looked = 0
    for id in cluster.servers:
        for file in cluster.server_folder(id).rglob("*"):
            if file.is_file():
                data = file.read_bytes()
                looked += len(data)
                for word in (NAME, "mergers", AUTHOR, CONTENT[:26].decode(), LARGE[:28].decode()):
                    assert word.encode() not in data, f"{file} shows {word}"
    assert looked > len(LARGE), "the content is there, sealed"
