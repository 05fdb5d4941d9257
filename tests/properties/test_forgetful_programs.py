"""A program that comes back knowing less than it did: nothing is deleted, and nothing is given twice, because of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep_store.wire.digest import Digest
from tests.fakes.whole_cluster import WholeCluster


@pytest.fixture
def cluster(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCluster]:
    certs = tmp_path_factory.getbasetemp() / "forgetful-certs"
    with WholeCluster(tmp_path, certs, repair_grace_seconds=5.0) as made:
        yield made


def put(cluster: WholeCluster, path: str, content: bytes) -> Digest:
    answer = cluster.ask("PUT", f"/files/files/{path}", content)
    assert answer.status in (200, 201), answer.body
    return Digest.parse(answer.json["version"]["digest"])


def real_copies(cluster: WholeCluster, digest: Digest) -> list[str]:
    """The running file servers that have the blob on their disks, whatever is in the books."""
    return [id for id, server in sorted(cluster.servers.items()) if server.store.generation(digest) is not None]


# ---------------------------------------------------------------- a file server with an older disk


def test_an_older_disk_costs_no_good_copy(cluster: WholeCluster) -> None:
    """Copies are given up only beside servers that named everything since their start, so two always remain."""
    assert cluster.settle()
    old = "1"
    cluster.stop_server(old)
    before = cluster.folder / "older-disk"
    shutil.copytree(cluster.server_folder(old), before)
    cluster.start_server(old)
    contents = [put(cluster, f"{number}.txt", b"content %d" % number) for number in range(12)]
    counted = [digest for digest in contents if old in real_copies(cluster, digest)]
    assert counted, "the server with the older disk takes part"
    cluster.stop_server(old)
    cluster.pass_time(20.0)
    assert cluster.settle()
    assert all(len(real_copies(cluster, digest)) == 2 for digest in contents), "the others make up for it"
    shutil.rmtree(cluster.server_folder(old))
    before.rename(cluster.server_folder(old))
    server = cluster.start_server(old)

    for _ in range(30):  # without an inventory of the server that came back
        cluster.pass_time(1.0)
        cluster.directory.repair.step()
        for one in cluster.servers.values():
            one.copier.step()
            one.surplus.step()
    for digest in counted:
        assert len(real_copies(cluster, digest)) >= 2, "a good copy was dropped beside one that is not there"

    server.inventory.step()
    assert cluster.settle()
    for digest in contents:
        assert len(real_copies(cluster, digest)) == 2
