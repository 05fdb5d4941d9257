"""Names and authors on disk: sealed, found again, brought over from plain formats, and kept through damage."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from file_server.store.chunk_store import Fence
from lockstep_store.wire.codec import encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import StorageFormatError, TicketRefused, Unavailable
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.servers import CommitNote
from tests.fakes.blobs import get, put
from tests.fakes.older_storage import make_format_3
from tests.unit.file_server.store.local.store_lab import LARGE, Lab

NAME, AUTHOR = "plans/secret-takeover.txt", "annabelle"


def note_of(digest: Digest, cursor: int) -> CommitNote:
    version = FileVersion("files", NAME, f"{cursor:016d}", digest, 7, AUTHOR, 1.0, cursor=cursor)
    return CommitNote(f"write-{cursor:012d}", version)


def write(lab: Lab, content: bytes, cursor: int) -> CommitNote:
    """A committed write under a lock; its note."""
    digest = put(lab.store, content, Fence(NAME, cursor))
    note = note_of(digest, cursor)
    lab.store.note(cursor, digest, lambda: encode(note))
    lab.store.keep_notes()
    return note


def plain_on_disk(lab: Lab) -> list[str]:
    """The files that show a name or an author to whoever reads their bytes."""
    found = [path for path in lab.data.rglob("*") if path.is_file()]
    return [path.name for path in found if any(word.encode() in path.read_bytes() for word in (NAME, AUTHOR))]


def make_plain(lab: Lab, notes: list[CommitNote], fences: dict[str, int]) -> None:
    """Turn the storage of a closed lab into one of format 3."""
    make_format_3(lab.data, lab.keys, {note.version.cursor: encode(note) for note in notes}, fences)


def test_the_disk_shows_no_name_and_no_author(lab: Lab) -> None:
    """Neither while the store runs nor after it; with the keys, notes and fences are there, also after a restart."""
    notes = [write(lab, b"content", 5), write(lab, b"more content", 6)]
    assert plain_on_disk(lab) == []
    lab.store.close()
    assert plain_on_disk(lab) == []
    lab.open()
    assert lab.store.notes(0, 10, 10) == notes
    with pytest.raises(TicketRefused):
        lab.store.check_fence(Fence(NAME, 5))
    lab.store.check_fence(Fence(NAME, 6))
    lab.store.check_fence(Fence("another path", 1))
    assert lab.store.highest_fence() == 6


def test_plain_names_of_format_3_are_sealed_at_the_start(lab: Lab) -> None:
    """Notes and fences mean the same afterwards, and the plain bytes are gone from the files."""
    notes = [write(lab, bytes([cursor]), cursor) for cursor in range(1, 8)]
    lab.store.close()
    make_plain(lab, notes, {NAME: 7, "b": 3})
    assert plain_on_disk(lab) == ["index.db"]
    lab.open()
    assert (lab.data / "format").read_text() == "lockstep file server storage 5\n"
    assert lab.store.notes(0, 10, 10) == notes
    with pytest.raises(TicketRefused):
        lab.store.check_fence(Fence("b", 2))
    assert lab.store.highest_fence() == 7
    assert plain_on_disk(lab) == []
    lab.store.close()
    assert plain_on_disk(lab) == []


def test_an_interrupted_upgrade_goes_on(lab: Lab) -> None:
    """Some rows sealed, some plain, as a start leaves them that was killed: the next one seals the rest."""
    notes = [write(lab, bytes([cursor]), cursor) for cursor in range(1, 8)]
    lab.store.close()
    key = (lab.data / "disk-key").read_bytes()
    make_plain(lab, notes[:3], {NAME: 7, "b": 3})
    (lab.data / "disk-key").write_bytes(key)
    (lab.data / "format").write_text("lockstep file server storage 5\n")
    lab.open()
    assert (lab.data / "disk-key").read_bytes() == key
    assert lab.store.notes(0, 10, 10) == notes
    with pytest.raises(TicketRefused):
        lab.store.check_fence(Fence("b", 2))
    assert plain_on_disk(lab) == []


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_lost_key_is_taken_from_its_copy_in_the_index(lab: Lab, how: str) -> None:
    """The file is written again, and everything is found as before."""
    note = write(lab, b"content", 5)
    lab.store.close()
    before = lose_key(lab, how)
    lab.open()
    assert (lab.data / "disk-key").read_bytes() == before
    assert get(lab.store, note.version.digest) == b"content"
    assert lab.store.notes(0, 10, 10) == [note]
    with pytest.raises(TicketRefused):
        lab.store.check_fence(Fence(NAME, 4))


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_start_without_the_key_and_its_copy_is_refused(lab: Lab, how: str) -> None:
    """Without it nothing would be found, and an old write could pass: the message says what to do."""
    write(lab, b"content", 5)
    lab.store.close()
    with closing(sqlite3.connect(lab.data / "index.db", isolation_level=None)) as db:
        db.execute("DELETE FROM disk_key")
    lose_key(lab, how)
    with pytest.raises(StorageFormatError, match=rf"disk-key is {how}"):
        lab.open()
    assert (lab.data / "disk-key").exists() == (how == "damaged")


def test_chunk_files_without_key_and_index_are_kept(lab: Lab, seed: int) -> None:
    """A start that made a new key would find no file, and sweep them all: it is refused instead."""
    put(lab.store, random.Random(seed).randbytes(LARGE))
    lab.store.close()
    lose_key(lab, "missing")
    (lab.data / "index.db").unlink()
    with pytest.raises(StorageFormatError, match="disk-key is missing"):
        lab.open()
    assert len(lab.files("chunks")) == 1
    assert not (lab.data / "disk-key").exists()


def test_an_index_of_another_storage_is_not_believed(lab: Lab, tmp_path: Path) -> None:
    """Its digests are under another key: it is rebuilt from what is here, and what is written then is found."""
    lab.store.close()
    (tmp_path / "other").mkdir()
    shutil.copy(lab.keys, tmp_path / "other")
    other = Lab(tmp_path / "other")
    write(other, b"elsewhere", 5)
    other.store.close()
    shutil.copy(other.data / "index.db", lab.data / "index.db")
    lab.open()
    assert lab.store.blobs(0, None, 10) == []
    digest = put(lab.store, b"content")
    assert lab.store.blobs_by_digest(None, 10) == ([digest], None)


def test_a_rotation_of_the_storage_keys_seals_the_key_and_its_copy_again(lab: Lab) -> None:
    """Also the copy opens with the new storage key alone."""
    note = write(lab, b"content", 5)
    ring = lab.store._sealer.ring
    old = ring.current
    ring.rotate(0.0)
    while lab.store.reseal(0, 1 << 20).after is not None:
        pass
    assert old not in lab.store.sealed_under()
    ring.retire(old)
    lab.store.close()
    lose_key(lab, "missing")
    lab.open()
    assert lab.store.notes(0, 10, 10) == [note]


def lose_key(lab: Lab, how: str) -> bytes:
    """Take the key's file away, or change a bit of it; what it was."""
    key_file = lab.data / "disk-key"
    before = key_file.read_bytes()
    if how == "missing":
        key_file.unlink()
    else:
        key_file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    return before


def test_a_start_without_the_storage_key_says_which_is_missing(lab: Lab) -> None:
    """The key ring was replaced by another one."""
    write(lab, b"content", 5)
    lab.store.close()
    (lab.root / "keys.json").unlink()
    with pytest.raises(StorageFormatError, match=r"disk-key is sealed with storage key [0-9a-f]{8}"):
        lab.open()


def test_a_note_in_another_ones_place_is_damage(lab: Lab) -> None:
    """Two rows that were exchanged do not open: a note is bound to its cursor."""
    write(lab, b"one", 1)
    write(lab, b"two", 2)
    with closing(sqlite3.connect(lab.data / "index.db", isolation_level=None)) as db:
        rows = dict(db.execute("SELECT cursor, note FROM note"))
        db.execute("UPDATE note SET note = ? WHERE cursor = 1", (rows[2],))
    with pytest.raises(Unavailable):
        lab.store.notes(0, 10, 10)


@pytest.mark.parametrize("plain", [False, True])
def test_a_rescue_keeps_names(lab: Lab, plain: bool) -> None:
    """From a damaged index of this format, or of the one before, what is whole goes into the new index, sealed."""
    notes = [write(lab, bytes([cursor]), cursor) for cursor in (5, 6)]
    digest = notes[0].version.digest
    lab.store.close()
    if plain:
        make_plain(lab, notes, {NAME: 6})
    (lab.data / "index-damaged").write_bytes(b"")
    lab.open()
    assert get(lab.store, digest) == b"\x05"
    assert lab.store.notes(0, 10, 10) == notes
    with pytest.raises(TicketRefused):
        lab.store.check_fence(Fence(NAME, 5))
    assert NAME.encode() not in (lab.data / "index.db").read_bytes()


def test_files_of_the_storage_are_private(lab: Lab) -> None:
    """The key's file is for its owner alone."""
    assert Path(lab.data / "disk-key").stat().st_mode & 0o777 == 0o600
