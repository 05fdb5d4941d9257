"""A program that comes back knowing less than it did: nothing is deleted, and nothing is given twice, because of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from directory_server.maintenance.new_metadata import check_new_metadata
from directory_server.maintenance.restore import accept_older
from lockstep_store.runtime.tls.identity import ensure_identity
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import SetupError
from tests.contract.test_chunk_store_contract import put as put_blob
from tests.fakes.whole_cluster import WholeCluster
from tests.fakes.wsgi import Answer


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
    """The running file servers that have the blob on their disks, whatever is in the metadata."""
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


# ---------------------------------------------------------------- a directory with older metadata, or none


class Folder:
    """The directory's folder in a cluster, while the directory does not run."""

    def __init__(self, cluster: WholeCluster, aside: Path) -> None:
        self.cluster = cluster
        self.path = cluster.settings.data
        self.aside = aside

    def keep(self) -> None:
        """Copy it aside, as a snapshot would; the directory is running again on return."""
        self.cluster.stop_directory()
        shutil.copytree(self.path, self.aside)
        self.start()

    def put_older_back(self) -> None:
        """The directory is stopped, and its folder is as it was kept."""
        self.cluster.stop_directory()
        shutil.rmtree(self.path)
        shutil.copytree(self.aside, self.path)

    def start(self) -> None:
        """Start the directory, and let every file server notice it."""
        self.cluster.start_directory()
        self.cluster.pass_time(1.0)
        self.cluster.pass_time(1.0)


@pytest.fixture
def folder(cluster: WholeCluster, tmp_path: Path) -> Folder:
    return Folder(cluster, tmp_path / "kept")


def lock(cluster: WholeCluster, path: str) -> Answer:
    body = json.dumps({"paths": [{"bucket": "files", "path": path}], "lease_seconds": 600}).encode()
    return cluster.ask("POST", "/locks", body, Content_Type="application/json")


def number_of(answer: Answer) -> int:
    assert answer.status in (200, 201), answer.body
    return int(answer.json["lock"]["number"])


def marks_written(cluster: WholeCluster) -> None:
    """Two heartbeats and what they bring to the file servers' disks."""
    for _ in range(2):
        cluster.pass_time(1.0)
        for server in cluster.servers.values():
            server.store.keep_notes()


def collect(cluster: WholeCluster) -> None:
    """Longer than every grace and every ticket, with collectors at work."""
    for _ in range(40):
        cluster.pass_time(200.0)
        for server in cluster.servers.values():
            server.inventory.step()
            server.collector.step()


def nothing_is_answered(cluster: WholeCluster) -> None:
    for method, target, body in (("GET", "/files/files/a.txt", b""), ("PUT", "/files/files/b.txt", b"new")):
        answer = cluster.ask(method, target, body)
        assert answer.status == 503, answer.body
        assert answer.json["code"] == "out_of_date"
    assert lock(cluster, "c.txt").status == 503


CHANGES: dict[str, Any] = {
    "a write": lambda cluster: put(cluster, "a.txt", b"newer"),
    "a deletion, which leaves no bytes and no note": lambda cluster: cluster.ask("DELETE", "/files/files/a.txt"),
    "a lock, which nobody wrote under": lambda cluster: lock(cluster, "a.txt"),
    "a start and nothing else": lambda cluster: (cluster.stop_directory(), cluster.start_directory()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_an_older_copy_of_the_metadata_is_refused(cluster: WholeCluster, folder: Folder, change: Any) -> None:
    """Whatever happened after the copy was made: health says it, people are refused, and so is the next start."""
    put(cluster, "a.txt", b"first")
    folder.keep()
    change(cluster)
    marks_written(cluster)
    folder.put_older_back()
    folder.start()
    problem = cluster.directory.epochs.problem
    assert "older than the records of file_server-" in problem
    assert "restore --accept-older" in problem
    nothing_is_answered(cluster)
    cluster.stop_directory()
    with pytest.raises(SetupError, match="older than the records"):
        cluster.start_directory()


def test_newer_metadata_that_is_put_back_goes_on(cluster: WholeCluster, folder: Folder, tmp_path: Path) -> None:
    """Trying an older copy by mistake costs nothing: with the newest folder back, everything is as before."""
    put(cluster, "a.txt", b"first")
    folder.keep()
    content = put(cluster, "a.txt", b"newer")
    marks_written(cluster)
    cluster.stop_directory()
    shutil.copytree(folder.path, tmp_path / "newest")
    folder.put_older_back()
    folder.start()
    nothing_is_answered(cluster)
    collect(cluster)
    cluster.stop_directory()
    shutil.rmtree(folder.path)
    (tmp_path / "newest").rename(folder.path)
    folder.start()
    assert cluster.ask("GET", "/files/files/a.txt").body == b"newer"
    put(cluster, "b.txt", b"goes on")
    assert len(real_copies(cluster, content)) == 2


def test_two_lives_of_one_copy_are_told_apart(cluster: WholeCluster, folder: Folder, tmp_path: Path) -> None:
    """A copy that was started as often as the directory itself has its counts, but not its marks."""
    put(cluster, "a.txt", b"first")
    folder.keep()
    cluster.stop_directory()
    folder.start()
    marks_written(cluster)
    folder.put_older_back()
    for id in list(cluster.servers):
        cluster.stop_server(id)
    for _ in range(3):  # nobody is there to object
        cluster.start_directory()
        cluster.stop_directory()
    cluster.start_directory()
    for id in ("1", "2", "3"):
        cluster.start_server(id)
    assert "different start" in cluster.directory.epochs.problem


def test_accepted_older_metadata_gives_no_number_twice_and_finds_what_was_written(
    cluster: WholeCluster, folder: Folder
) -> None:
    """--accept-older does what a restore does: numbers jump, versions come back from notes, other blobs are kept."""
    put(cluster, "a.txt", b"first")
    folder.keep()
    digest = put(cluster, "b.txt", b"written after the copy was made")
    version = cluster.ask("HEAD", "/files/files/b.txt").headers["X-Lockstep-Version"]
    number = number_of(lock(cluster, "c.txt"))
    marks_written(cluster)
    folder.put_older_back()
    folder.start()
    nothing_is_answered(cluster)
    cluster.stop_directory()
    kept = accept_older(cluster.settings.metadata_file)
    assert kept.exists()
    folder.start()
    for server in cluster.servers.values():
        for _ in range(4):
            server.inventory.step()
    cluster.pass_time(1.0)
    assert cluster.directory.epochs.problem == ""
    answer = cluster.ask("GET", "/files/files/b.txt")
    assert (answer.status, answer.body) == (200, b"written after the copy was made")
    assert answer.headers["X-Lockstep-Version"] == version
    assert number_of(lock(cluster, "c.txt")) > number
    collect(cluster)
    assert len(real_copies(cluster, digest)) == 2
    info = cluster.directory.recovery.info()
    assert info is not None
    assert (info.source, info.finished) == ("older", True)
    cluster.stop_directory()
    folder.start()
    assert cluster.directory.epochs.problem == ""


def test_empty_metadata_is_refused_by_file_servers_that_know_more(cluster: WholeCluster, folder: Folder) -> None:
    """Even where no authority's presence gave it away: nothing is answered, and nothing is collected."""
    contents = [put(cluster, f"{number}.txt", b"content %d" % number) for number in range(5)]
    marks_written(cluster)
    cluster.stop_directory()
    shutil.rmtree(folder.path)
    folder.start()
    assert cluster.directory.epochs.problem
    nothing_is_answered(cluster)
    collect(cluster)
    assert all(len(real_copies(cluster, digest)) == 2 for digest in contents)


def test_new_metadata_beside_an_authority_must_be_asked_for(cluster: WholeCluster, folder: Folder) -> None:
    """The sentence says what to do; asked for by name, everything is kept and found again, and numbers go on."""
    certs, metadata = cluster.settings.certs, cluster.settings.metadata_file
    ensure_identity(certs, "directory_server", "1")
    contents = [put(cluster, f"{number}.txt", b"content %d" % number) for number in range(5)]
    number = number_of(lock(cluster, "0.txt"))
    marks_written(cluster)
    cluster.stop_directory()
    shutil.rmtree(folder.path)
    with pytest.raises(SetupError, match=r"no metadata in .*authority.*--data.*lockstep restore.*--new-metadata"):
        check_new_metadata(metadata, certs, asked_for=False, wall=cluster.clock.wall)
    assert not folder.path.exists()
    check_new_metadata(metadata, certs, asked_for=True, wall=cluster.clock.wall)
    folder.start()
    for server in cluster.servers.values():
        for _ in range(4):
            server.inventory.step()
    assert cluster.directory.epochs.problem == ""
    for place in range(len(contents)):
        assert cluster.ask("GET", f"/files/files/{place}.txt").body == b"content %d" % place
    assert number_of(lock(cluster, "0.txt")) > number
    collect(cluster)
    assert all(len(real_copies(cluster, digest)) == 2 for digest in contents)
    info = cluster.directory.recovery.info()
    assert info is not None
    assert info.source == "nothing"


def test_a_new_cluster_needs_no_option(tmp_path: Path, cluster: WholeCluster) -> None:
    """No authority, no refusal; and metadata that is there is nobody's business."""
    check_new_metadata(tmp_path / "new" / "metadata.db", tmp_path / "certs", asked_for=False, wall=cluster.clock.wall)
    assert not (tmp_path / "new").exists()
    check_new_metadata(cluster.settings.metadata_file, cluster.settings.certs, asked_for=False, wall=cluster.clock.wall)


def test_blobs_of_a_storage_that_is_not_known_are_kept(cluster: WholeCluster, tmp_path: Path) -> None:
    """A disk that comes from elsewhere, without marks, locks or notes: status names it, and nothing of it goes."""
    put(cluster, "a.txt", b"known")
    cluster.stop_server("3")
    cluster.start_server("4")
    stranger = cluster.servers["4"].store
    digest = put_blob(stranger, b"nobody here knows it")
    cluster.stop_server("4")
    cluster.server_folder("4").rename(cluster.server_folder("5"))
    cluster.start_server("5")
    collect(cluster)
    assert cluster.servers["5"].store.generation(digest) is not None
    info = cluster.directory.recovery.info()
    assert info is not None
    assert (info.source, info.unnamed_blobs) == ("unknown", 1)


# ---------------------------------------------------------------- a start like any other


def test_nothing_is_granted_or_read_before_enough_file_servers_have_registered(cluster: WholeCluster) -> None:
    """After a restart two of three servers must register, or the patience end."""
    put(cluster, "a.txt", b"first")
    cluster.stop_directory()
    cluster.start_directory()
    assert not cluster.directory.epochs.is_open
    held = cluster.ask("GET", "/files/files/a.txt")
    assert (held.status, held.json["code"]) == (503, "starting")
    cluster.servers["1"].link.step()
    assert not cluster.directory.epochs.is_open
    cluster.servers["2"].link.step()
    assert cluster.directory.epochs.is_open
    assert cluster.ask("GET", "/files/files/a.txt").body == b"first"
    put(cluster, "b.txt", b"two holders are there: as soon as a write can be taken at all")


def test_servers_that_stay_away_hold_nothing_up_for_long(cluster: WholeCluster) -> None:
    """Locks are granted again after the time in which a silent server counts as down."""
    for id in list(cluster.servers):
        cluster.stop_server(id)
    cluster.stop_directory()
    cluster.start_directory()
    cluster.clock.advance(9.0)
    assert not cluster.directory.epochs.is_open
    cluster.clock.advance(2.0)
    assert number_of(lock(cluster, "a.txt")) == 1


def test_a_new_cluster_waits_for_nobody(cluster: WholeCluster, tmp_path: Path) -> None:
    """Without a single registered file server there is nothing that anybody could know better."""
    certs = cluster.settings.certs
    with WholeCluster(tmp_path / "new", certs, file_servers=0) as new:
        assert new.directory.epochs.is_open
        assert number_of(lock(new, "a.txt")) == 1


def test_restarts_and_crashes_of_everybody_are_never_taken_for_older_metadata(cluster: WholeCluster) -> None:
    """Marks are never ahead of what the directory made durable, in any order of restarts."""
    for round in range(6):
        put(cluster, f"{round}.txt", b"%d" % round)
        number_of(lock(cluster, f"locked-{round}.txt"))
        marks_written(cluster)
        if round % 2:
            cluster.stop_server(str(round % 3 + 1))
            cluster.start_server(str(round % 3 + 1))
        cluster.stop_directory()
        cluster.start_directory()
        cluster.pass_time(1.0)
        cluster.pass_time(1.0)
        assert cluster.directory.epochs.problem == ""
        assert cluster.directory.epochs.is_open
