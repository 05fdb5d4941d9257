"""Uploads: resumed, repeated and refused without a second version or a half-saved file."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from lockstep_store.client.api.answers import WriteOptions
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.local_storage import FileChanged
from lockstep_store.client.transfers import (
    InterruptedUploads,
    digest_file,
    upload,
    upload_stream,
)
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.errors import Locked, LockStale, PeerUnreachable, Unavailable, Undecided
from tests.fakes.rest import RestServer
from tests.unit.client.transfers.patience import MIB, no_sleep
from tests.unit.people import noise


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
