"""Downloads: verified, resumed, and put in place whole; trees both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.transfers import (
    download,
    get_tree,
    put_tree,
)
from lockstep_store.wire.errors import BadDigest, PeerUnreachable
from tests.fakes.rest import RestServer
from tests.unit.client.transfers.patience import MIB, no_sleep
from tests.unit.people import noise


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 6 * MIB])
def test_downloaded_bytes_are_verified_and_put_in_place(
    server: RestServer, api: ApiCalls, tmp_path: Path, size: int
) -> None:
    """The target has the content, and nothing else is left in its folder."""
    server.core.save("f", noise(20, size))
    done: list[int] = []
    fetched = download(api, "files", "f", tmp_path / "new" / "f", progress=done.append)
    assert (tmp_path / "new" / "f").read_bytes() == noise(20, size)
    assert fetched.receipt.cache == ("miss" if size else "unread")
    assert sum(done) == size
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["f"]


@pytest.mark.parametrize("size", [200 * 1024, 10 * MIB])
def test_a_cut_download_goes_on_where_it_stopped(server: RestServer, api: ApiCalls, tmp_path: Path, size: int) -> None:
    """After a cut in the middle, only what is missing is asked for again."""
    server.core.save("f", noise(21, size))
    server.harm("cut_answer", "GET", "/files/files/f", after=size // 2)
    fetched = download(api, "files", "f", tmp_path / "f", sleep=no_sleep)
    assert (tmp_path / "f").read_bytes() == noise(21, size)
    assert fetched.bytes_received < size + 5 * MIB


def test_a_download_that_was_given_up_is_resumed_by_the_next(server: RestServer, api: ApiCalls, tmp_path: Path) -> None:
    """What an earlier attempt left is verified and kept; a damaged part of it is fetched again."""
    data = noise(22, 12 * MIB)
    server.core.save("f", data)
    server.harm("cut_answer", "GET", "/files/files/f", after=7 * MIB)
    server.harm("cut_answer", "GET", "/files/files/f", after=0, times=10)
    with pytest.raises(PeerUnreachable):
        download(api, "files", "f", tmp_path / "f", sleep=no_sleep)
    assert not (tmp_path / "f").exists()
    (part,) = tmp_path.iterdir()
    kept = part.stat().st_size
    assert kept > 2 * MIB
    server.faults.clear()
    fetched = download(api, "files", "f", tmp_path / "f", sleep=no_sleep)
    assert (tmp_path / "f").read_bytes() == data
    assert fetched.bytes_received == len(data) - kept
    assert [file.name for file in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("size", [1000, 6 * MIB])
def test_a_good_local_file_is_never_replaced_by_a_bad_one(
    server: RestServer, api: ApiCalls, tmp_path: Path, size: int
) -> None:
    """Bytes that do not match their digest are refused, and what was there stays."""
    server.core.save("f", noise(23, size))
    (tmp_path / "f").write_bytes(b"my good old content")
    server.harm("corrupt", "GET", "/files/files/f", after=500, times=99)
    with pytest.raises(BadDigest):
        download(api, "files", "f", tmp_path / "f", sleep=no_sleep)
    assert (tmp_path / "f").read_bytes() == b"my good old content"


def test_one_flipped_bit_on_the_way_is_fetched_again(server: RestServer, api: ApiCalls, tmp_path: Path) -> None:
    """A damage that does not repeat is invisible to the person."""
    server.core.save("f", noise(24, 6 * MIB))
    server.harm("corrupt", "GET", "/files/files/f", after=3 * MIB)
    download(api, "files", "f", tmp_path / "f", sleep=no_sleep)
    assert (tmp_path / "f").read_bytes() == noise(24, 6 * MIB)


def test_chunks_of_the_older_local_copy_do_not_travel(server: RestServer, api: ApiCalls, tmp_path: Path) -> None:
    """Fetching a version that differs little from the local file fetches little."""
    data = noise(25, 24 * MIB)
    (tmp_path / "f").write_bytes(data)
    (tmp_path / "f").chmod(0o640)
    edited = data[: 10 * MIB] + b"an insertion" + data[10 * MIB :]
    server.core.save("f", edited)
    fetched = download(api, "files", "f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == edited
    assert fetched.bytes_received <= 8 * MIB
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640
    again = download(api, "files", "f", tmp_path / "f")
    assert again.unchanged
    assert again.bytes_received == 0


def test_an_old_version_can_be_fetched(server: RestServer, api: ApiCalls, tmp_path: Path) -> None:
    """A named version is what comes, whatever is current."""
    first = server.core.save("f", b"first")
    server.core.save("f", b"second")
    download(api, "files", "f", tmp_path / "f", first.version)
    assert (tmp_path / "f").read_bytes() == b"first"


def test_a_tree_goes_there_and_back(server: RestServer, api: ApiCalls, tmp_path: Path) -> None:
    """Every regular file of a tree comes back equal; running it again moves nothing."""
    tree = tmp_path / "tree"
    for index in range(40):
        (tree / f"d{index % 4}").mkdir(parents=True, exist_ok=True)
        (tree / f"d{index % 4}" / f"f {index} ü").write_bytes(noise(index, index * 1000))
    (tree / "link").symlink_to("/etc/hostname")
    report = put_tree(api, tree, "files", "t/")
    assert (report.moved, report.failed) == (40, [])
    assert [name for name, _ in report.refused] == ["link"]
    again = put_tree(api, tree, "files", "t/")
    assert (again.moved, again.skipped) == (0, 40)
    back = get_tree(api, "files", "t/", tmp_path / "back")
    assert back.complete
    assert back.moved == 40
    for file in (tree / "d0").iterdir():
        assert (tmp_path / "back" / "d0" / file.name).read_bytes() == file.read_bytes()
    assert get_tree(api, "files", "t/", tmp_path / "back").skipped == 40


def test_names_from_the_cluster_never_lead_outside(server: RestServer, api: ApiCalls, tmp_path: Path) -> None:
    """A link in the target and names no folder can hold are refused, counted and named; the others arrive."""
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / "exit").symlink_to(outside)
    for path in ("t/good", "t/exit/stolen", "t//double", "t/a", "t/a/b", "t/.lockstep-x", "t/" + "n" * 300):
        server.core.save(path, b"data")
    report = get_tree(api, "files", "t/", target)
    assert (target / "good").read_bytes() == b"data"
    assert list(outside.iterdir()) == []
    assert report.moved + len(report.refused) + len(report.failed) == 7
    assert {"t/exit/stolen", "t//double", "t/.lockstep-x"} <= {name for name, _ in report.refused}


def test_one_failing_file_does_not_stop_a_tree(server: RestServer, api: ApiCalls, tmp_path: Path) -> None:
    """A locked file is reported by name, the others are saved, and the next run does only what is left."""
    for name in "abc":
        (tmp_path / name).write_text(name)
    lock = server.core.take_lock("t/b")
    report = put_tree(api, tmp_path, "files", "t/", sleep=no_sleep)
    assert report.moved == 2
    assert [name for name, _ in report.failed] == ["t/b"]
    server.core.drop_lock(lock.id)
    report = put_tree(api, tmp_path, "files", "t/", sleep=no_sleep)
    assert (report.moved, report.skipped, report.complete) == (1, 2, True)


def test_a_tree_can_be_given_up(server: RestServer, api: ApiCalls, tmp_path: Path) -> None:
    """An interruption ends the workers, and what was saved before it stays saved."""
    for index in range(300):
        (tmp_path / f"{index:03}").write_bytes(noise(index, 10))

    class Impatient:
        def found(self, files: int, size: int) -> None:
            if len(server.core.history) > 5:
                raise KeyboardInterrupt

        def advance(self, count: int) -> None: ...

        def finished(self, name: str) -> None: ...

    with pytest.raises(KeyboardInterrupt):
        put_tree(api, tmp_path, "files", "t/", progress=Impatient())
    assert 5 < len(server.core.history) < 300
