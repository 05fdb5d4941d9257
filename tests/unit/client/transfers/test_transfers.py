"""Transfers: deltas, resuming, and what happens when the file, the network or the names are bad."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep_store.client.api.answers import WriteOptions
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.local_storage import FileChanged, LocalFileError
from lockstep_store.client.transfers import (
    InterruptedUploads,
    LocalFile,
    digest_file,
    download,
    get_tree,
    put_tree,
    upload,
    upload_stream,
)
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.errors import BadDigest, Locked, LockStale, PeerUnreachable, Unavailable, Undecided
from lockstep_store.wire.manifest import Manifest
from tests.fakes.rest import RestServer
from tests.unit.people import client, noise, start_server

MIB = 1024 * 1024


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    server = start_server(tmp_path_factory)
    yield server
    server.close()


@pytest.fixture
def api(server: RestServer) -> Iterator[ApiCalls]:
    api = client(server)
    yield api
    api.close()


def no_sleep(seconds: float) -> None:
    """Attempts follow at once."""


# ---------------------------------------------------------------- reading local files


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 5 * MIB, 18 * MIB + 7])
@pytest.mark.parametrize("with_base", [False, True])
def test_a_files_chunks_are_those_of_its_bytes(tmp_path: Path, size: int, with_base: bool) -> None:
    """Read in windows, with or without an older manifest, a file has the same chunks as its bytes in memory."""
    data = noise(size, size)
    older = data[: size // 2] + b"inserted" + data[size // 2 :]
    base = Manifest((c.digest, c.length) for c in chunk_bytes(older)) if with_base else None
    (tmp_path / "f").write_bytes(data)
    with LocalFile(tmp_path / "f") as file:
        found = file.manifest(base)
    assert found == Manifest((c.digest, c.length) for c in chunk_bytes(data))


@pytest.mark.parametrize("edit", ["cut the end", "add to the end", "cut to a boundary"])
def test_a_changed_end_is_cut_as_if_from_scratch(tmp_path: Path, edit: str) -> None:
    """The base's last chunk is a boundary only where this file ends too."""
    data = noise(1, 9 * MIB)
    base = Manifest((c.digest, c.length) for c in chunk_bytes(data))
    edited = {
        "cut the end": data[:-5],
        "add to the end": data + b"more",
        "cut to a boundary": data[: base.offset_of(len(base) - 1)],
    }[edit]
    (tmp_path / "f").write_bytes(edited)
    with LocalFile(tmp_path / "f") as file:
        assert file.manifest(base) == Manifest((c.digest, c.length) for c in chunk_bytes(edited))


def test_a_folder_or_a_pipe_is_not_a_file(tmp_path: Path) -> None:
    """What is not a regular file is refused in words, and a pipe without a writer does not hang us."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent"):
        with pytest.raises(LocalFileError):
            digest_file(path)


# ---------------------------------------------------------------- uploads


@pytest.mark.parametrize("size", [0, 1, 3 * MIB, 6 * MIB])
def test_uploaded_bytes_arrive(server: RestServer, api: ApiCalls, tmp_path: Path, size: int) -> None:
    """A file of any size is saved as it is, and the receipt states its digest."""
    (tmp_path / "f").write_bytes(noise(2, size))
    sent = upload(api, tmp_path / "f", "files", "dir/ü 🦊.bin", sleep=no_sleep)
    assert server.core.content("dir/ü 🦊.bin") == noise(2, size)
    assert sent.saved.version.digest == digest_file(tmp_path / "f").digest
    assert sent.saved.receipt.copies == "2/2 fsynced"
    assert sent.saved.created


def test_a_small_edit_of_a_large_file_sends_few_bytes(server: RestServer, api: ApiCalls, tmp_path: Path) -> None:
    """Changing one byte in 24 MiB sends at most two chunks' worth, and the content is right."""
    data = bytearray(noise(3, 24 * MIB))
    server.core.save("big", bytes(data))
    data[12 * MIB] ^= 1
    (tmp_path / "f").write_bytes(data)
    before = server.core.content_bytes
    done: list[int] = []
    sent = upload(api, tmp_path / "f", "files", "big", progress=done.append, sleep=no_sleep)
    assert server.core.content("big") == bytes(data)
    assert sent.delta
    assert sent.bytes_sent == server.core.content_bytes - before <= 8 * MIB
    assert sum(done) == len(data), "progress adds up to the file's size"


def test_chunks_that_the_cluster_lost_are_sent_when_asked_for(
    server: RestServer, api: ApiCalls, tmp_path: Path
) -> None:
    """A chunk believed present that is missing is named by the refusal, and sent."""
    data = noise(4, 10 * MIB)
    version = server.core.save("big", data)
    gone = server.core.manifests[version.digest].chunks[1][0]
    del server.core.chunks[gone]
    (tmp_path / "f").write_bytes(data + b"end")
    upload(api, tmp_path / "f", "files", "big", sleep=no_sleep)
    assert server.core.content("big") == data + b"end"


def test_a_cut_upload_is_resumed_with_what_has_arrived(server: RestServer, api: ApiCalls, tmp_path: Path) -> None:
    """After a cut, only chunks that have not arrived travel again."""
    data = noise(5, 12 * MIB)
    (tmp_path / "f").write_bytes(data)
    half = list(chunk_bytes(data))
    for chunk in half[: len(half) // 2]:
        server.core.chunks[chunk.digest] = bytes(chunk.data or b"")
    server.harm("cut_upload", "PUT", "/big", after=5 * MIB)
    sent = upload(api, tmp_path / "f", "files", "big", sleep=no_sleep)
    assert server.core.content("big") == data
    assert sent.bytes_sent == sum(chunk.length for chunk in half[len(half) // 2 :])


@pytest.mark.parametrize("size", [1000, 6 * MIB])
def test_an_upload_that_the_cluster_could_not_take_now_is_sent_again(
    server: RestServer, api: ApiCalls, tmp_path: Path, size: int
) -> None:
    """503 is not the person's business as long as the file can be read again; a lasting one is told."""
    data = noise(8, size)
    (tmp_path / "f").write_bytes(data)
    server.harm("refuse", "PUT", "/f", times=2)
    pauses: list[float] = []
    upload(api, tmp_path / "f", "files", "f", sleep=pauses.append)
    assert server.core.content("f") == data
    assert len(server.core.history["files", "f"]) == 1
    assert len(pauses) == 2
    (tmp_path / "f").write_bytes(noise(9, size))
    server.harm("refuse", "PUT", "/f", times=100)
    with pytest.raises(Unavailable):
        upload(api, tmp_path / "f", "files", "f", sleep=no_sleep)


def test_what_the_cluster_says_it_did_not_do_is_not_looked_for(
    server: RestServer, api: ApiCalls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 503 says that nothing was done. With the directory away each look would take as long as the write did."""
    (tmp_path / "f").write_bytes(b"x")

    def refuse(*_: object, **options: object) -> None:
        raise Unavailable("the directory server has not replied for 8 s")

    monkeypatch.setattr(server.core, "write", refuse)
    with pytest.raises(Unavailable, match="has not replied"):
        upload(api, tmp_path / "f", "files", "f", sleep=no_sleep)
    assert "HEAD" not in [method for method, _ in server.requests]


def test_an_upload_interrupted_by_the_end_of_the_program_resumes(
    server: RestServer, api: ApiCalls, tmp_path: Path
) -> None:
    """A later command asks first what has arrived; one that had finished leaves no note behind."""
    data = noise(6, 8 * MIB)
    (tmp_path / "f").write_bytes(data)
    notes = InterruptedUploads(tmp_path / "notes")
    server.harm("cut_upload", "PUT", "/big", after=4096, times=4)
    with pytest.raises(PeerUnreachable):
        upload(api, tmp_path / "f", "files", "big", interrupted=notes, sleep=no_sleep)
    server.core.chunks |= {chunk.digest: bytes(chunk.data or b"") for chunk in chunk_bytes(data)}
    sent = upload(api, tmp_path / "f", "files", "big", interrupted=notes, sleep=no_sleep)
    assert sent.bytes_sent == 0
    assert list((tmp_path / "notes").iterdir()) == []


@pytest.mark.parametrize("size", [2 * MIB, 6 * MIB])
def test_a_lost_answer_makes_no_second_version(server: RestServer, api: ApiCalls, tmp_path: Path, size: int) -> None:
    """A write whose answer was lost is recognised as committed."""
    (tmp_path / "f").write_bytes(noise(7, size))
    server.harm("lose_answer", "PUT", "/f.bin")
    sent = upload(api, tmp_path / "f", "files", "f.bin", sleep=no_sleep)
    assert [one.version for one in server.core.history["files", "f.bin"]] == [sent.saved.version.version]


def test_a_lost_answer_under_a_lock_is_not_taken_for_a_refusal(
    server: RestServer, api: ApiCalls, tmp_path: Path
) -> None:
    """A write that released its lock, and whose answer was lost, succeeds although its number is stale by then."""
    (tmp_path / "f").write_bytes(b"under the lock")
    lock = server.core.take_lock("f", "ann")
    server.harm("lose_answer", "PUT", "/f")
    upload(
        api,
        tmp_path / "f",
        "files",
        "f",
        options=WriteOptions(lock_number=lock.number, release_lock=True),
        sleep=no_sleep,
    )
    assert server.core.content("f") == b"under the lock"
    assert len(server.core.history["files", "f"]) == 1


@pytest.mark.parametrize("size", [100, 6 * MIB])
@pytest.mark.parametrize("new", [True, False])
def test_a_race_under_a_condition_is_not_won_because_the_winner_wrote_the_same(
    server: RestServer, api: ApiCalls, tmp_path: Path, size: int, new: bool
) -> None:
    """Our attempt was cut before it arrived, and somebody else wrote just the same: that is not our success."""
    data = noise(8, size)
    (tmp_path / "f").write_bytes(data)
    before = None if new else server.core.save("f", b"before")
    server.harm("cut_upload", "PUT", "/f", after=50)
    options = WriteOptions(if_none_match="*") if before is None else WriteOptions(if_match=str(before.digest))
    with pytest.raises(Undecided, match="or by someone else"):
        upload(api, tmp_path / "f", "files", "f", options=options, sleep=lambda _: server.core.save("f", data) and None)
    assert len(server.core.history["files", "f"]) == 2 - new


@pytest.mark.parametrize("size", [100, 6 * MIB])
def test_a_write_under_a_lock_that_ended_is_not_done_because_the_next_holder_wrote_the_same(
    server: RestServer, api: ApiCalls, tmp_path: Path, size: int
) -> None:
    """Two people who count under a lock write the same next number; the one whose lock had ended hears so."""
    data = noise(9, size)
    (tmp_path / "f").write_bytes(data)
    lock = server.core.take_lock("f", "ann")
    server.harm("cut_upload", "PUT", "/f", after=50)

    def next_holder(_: float) -> None:
        server.core.locks.clear()
        server.core.save("f", data)

    with pytest.raises(LockStale):
        upload(api, tmp_path / "f", "files", "f", options=WriteOptions(lock_number=lock.number), sleep=next_holder)


def test_somebody_elses_lock_and_an_old_number_refuse_the_write(
    server: RestServer, api: ApiCalls, tmp_path: Path
) -> None:
    """The cluster's refusals come through as their classes, and nothing is saved."""
    (tmp_path / "f").write_bytes(b"x")
    lock = server.core.take_lock("f")
    with pytest.raises(Locked, match="bob"):
        upload(api, tmp_path / "f", "files", "f", sleep=no_sleep)
    with pytest.raises(LockStale):
        upload(
            api,
            tmp_path / "f",
            "files",
            "f",
            options=WriteOptions(lock_number=lock.number - 1),
            sleep=no_sleep,
        )
    assert server.core.content("f") is None


@pytest.mark.parametrize("size", [3 * MIB, 6 * MIB])
@pytest.mark.parametrize("how", ["grows", "shrinks", "is rewritten"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_file_that_changes_while_it_is_sent_is_never_half_saved(
    server: RestServer, api: ApiCalls, tmp_path: Path, size: int, how: str, existing: bool
) -> None:
    """A file that keeps changing is refused in words after one more attempt, and no version is made of it."""
    source = tmp_path / "f"
    source.write_bytes(noise(8, size))
    if existing:
        server.core.save("f", noise(9, size))
    versions = len(server.core.history.get(("files", "f"), []))
    changes = 0

    def change(count: int) -> None:
        nonlocal changes
        changes += 1
        if how == "grows":
            with source.open("ab") as file:
                file.write(b"more")
        elif how == "shrinks":
            os.truncate(source, source.stat().st_size - 1)
        else:
            source.write_bytes(noise(10 + changes, size))
            os.utime(source, ns=(changes, changes))

    with pytest.raises(FileChanged, match="changed by another program"):
        upload(api, source, "files", "f", progress=change, sleep=no_sleep)
    assert changes >= 2, "it was tried twice"
    assert len(server.core.history.get(("files", "f"), [])) == versions


def test_a_file_that_changes_once_is_sent_again(server: RestServer, api: ApiCalls, tmp_path: Path) -> None:
    """A change during the first attempt only costs a second one."""
    source = tmp_path / "f"
    source.write_bytes(noise(8, 3 * MIB))
    seen: list[int] = []

    def change(count: int) -> None:
        if not seen:
            source.write_bytes(b"the final content")
        seen.append(count)

    upload(api, source, "files", "f", progress=change, sleep=no_sleep)
    assert server.core.content("f") == b"the final content"


def test_a_stream_of_unknown_length_is_saved(server: RestServer, api: ApiCalls) -> None:
    """Standard input needs no length, no temporary file and no end known in advance."""
    data = noise(12, 3 * MIB + 1)
    upload_stream(api, io.BytesIO(data), "files", "stream")
    assert server.core.content("stream") == data


# ---------------------------------------------------------------- downloads


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


# ---------------------------------------------------------------- trees


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
