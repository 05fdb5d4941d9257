"""An index that was lost or is damaged is rebuilt from the files."""

from __future__ import annotations

import errno
import random
import re
from functools import partial
from pathlib import Path

import pytest

from file_server.store.local import index_rescue
from file_server.store.local.disk_layout import DiskLayout
from file_server.store.local.flush_watch import FlushWatch
from file_server.store.local.sealed_names import SealedNames
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.codec import encode
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    Unavailable,
)
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.servers import CommitNote
from tests.fakes.blobs import get, put
from tests.fakes.damaged_schema import spoil_a_table_name
from tests.unit.file_server.store.local.store_lab import LARGE, SMALL, Lab


def test_a_rotten_note_is_left_behind_when_the_index_is_made_anew(lab: Lab) -> None:
    """It must not make the next index a damaged one too: no restored directory would ever be told of the others."""
    digest = put(lab.store, b"content")
    for cursor in (7, 8):
        version = FileVersion("files", "a", f"{cursor:016d}", digest, 7, "ada", 0.0, cursor=cursor)
        lab.store.note(cursor, digest, partial(encode, CommitNote("w" * 16, version)))
    lab.store.keep_notes()
    lab.store._index.submit(lambda tx: tx._run("UPDATE note SET note = ? WHERE cursor = 7", (b"\x80rot",)))
    with pytest.raises(Unavailable, match="it is being rebuilt"):
        lab.store.notes(0, 100, 10)
    lab.store.close()
    lab.open()
    assert [note.version.cursor for note in lab.store.notes(0, 100, 10)] == [8]
    assert lab.store.problem == ""


def test_a_row_that_stands_in_a_wrong_place_has_the_index_made_anew(lab: Lab) -> None:
    """SQLite finds no row whose key has rotted, and none for sure that is written in its place; it does not say so."""
    digests = [put(lab.store, bytes([number]) * 100) for number in range(3)]
    root = lab.store._index._writer.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'inline'").fetchone()[0]
    lab.store.close()
    index = bytearray((lab.data / "index.db").read_bytes())
    page = (root - 1) * 4096
    cell = page + int.from_bytes(index[page + 8 : page + 10], "big")
    key = cell + (2 if index[cell] & 0x80 else 1)  # behind the size of what follows
    assert (index[page], index[key]) == (0x0D, 1)
    index[key] = 9
    (lab.data / "index.db").write_bytes(index)
    lab.open()
    with pytest.raises(Unavailable, match="it is being rebuilt"):
        lab.store.read_chunk(digests[0])
    assert lab.reported == [(digests[0], [digests[0]])]
    lab.store.close()
    lab.open()
    assert lab.store.problem == ""
    for number, digest in enumerate(digests):
        assert put(lab.store, bytes([number]) * 100) == digest
        assert get(lab.store, digest) == bytes([number]) * 100


def test_a_key_that_became_text_has_the_index_made_anew(lab: Lab) -> None:
    """A flipped bit in a row's head: Python's module cannot decode it, and names no code of SQLite."""
    digest = put(lab.store, b"content")
    name = lab.store._index._writer.execute("SELECT name FROM chunk").fetchone()[0]
    lab.store.close()
    index = bytearray((lab.data / "index.db").read_bytes())
    head = bytes([0, 12 + 2 * len(name)])  # of a row: a key of the table, and a blob of that length
    rows = list(re.finditer(re.escape(head) + b".{1,16}" + re.escape(name), bytes(index), re.DOTALL))
    assert rows
    for row in rows:
        index[row.start() + 1] |= 1
    (lab.data / "index.db").write_bytes(index)
    lab.open()
    with pytest.raises(Unavailable, match="it is being rebuilt"):
        lab.store.verify_next(0)
    lab.store.close()
    lab.open()
    assert lab.store.problem == ""
    assert put(lab.store, b"content") == digest
    assert get(lab.store, digest) == b"content"


@pytest.mark.parametrize("what", ["gone", "empty", "schema"])
def test_chunk_files_are_kept_when_the_index_is_lost(lab: Lab, seed: int, what: str) -> None:
    """They may be the last good ones: repair finds them here, whenever it comes, and nobody sweeps them away."""
    halves = [random.Random(seed + number).randbytes(LARGE) for number in range(2)]
    chunks = [Chunk(chunk_digest(half), len(half), half) for half in halves]
    manifest = Manifest((chunk.digest, chunk.length) for chunk in chunks)
    with lab.store.stage() as staging:
        for chunk in chunks:
            staging.put(chunk)
        staging.complete(manifest)
    lab.store.close()
    index = lab.data / "index.db"
    if what == "schema":
        spoil_a_table_name(index, b"candidate")
    elif what == "empty":
        index.write_bytes(b"")
    else:
        index.unlink()
    lab.open()
    for number in range(256):
        assert lab.store.sweep_orphans(number) == 0
    for _ in range(3):
        assert lab.store.collect_chunks(600).removed == 0
        lab.clock.advance(10_000)
    with lab.store.stage() as staging:
        for chunk in chunks:
            staging.put(chunk._replace(data=None))
        staging.complete(manifest)
    assert get(lab.store, manifest.digest) == b"".join(halves)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_index_made_anew_knows_which_chunks_nobody_needs(lab: Lab, seed: int, size: int) -> None:
    """They are collected after their grace period, as if nothing had been damaged."""
    source = random.Random(seed)
    unneeded = put(lab.store, source.randbytes(size))
    lab.store.drop_blob(unneeded, lab.store.generation(unneeded) or 0)
    needed = source.randbytes(size)
    put(lab.store, needed)
    lab.store.close()
    (lab.data / "index-damaged").touch()
    lab.open()
    assert lab.store.missing([unneeded]) == []
    lab.store.collect_chunks(600)
    lab.clock.advance(600)
    assert lab.store.collect_chunks(600) == (1, 0)
    assert lab.store.missing([unneeded]) == [unneeded]
    assert get(lab.store, chunk_digest(needed)) == needed


def test_an_index_is_not_set_aside_while_the_disk_takes_no_mark(
    lab: Lab, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start is refused, and the next one makes the index anew: it never takes a half-made one for good."""
    data = random.Random(seed).randbytes(SMALL)
    digest = put(lab.store, data)
    lab.store.close()
    index = lab.data / "index.db"
    index.write_bytes(b"no database" + index.read_bytes()[11:])

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space")

    layout = DiskLayout.open(lab.data)
    sealer = Sealer(KeyRing.load_or_create(lab.root / "keys.json"))
    names = SealedNames(layout.key_file, layout.store_id, sealer)
    with monkeypatch.context() as patch:
        patch.setattr(index_rescue, "write_durably", full)
        with pytest.raises(OSError, match="no space"):
            index_rescue.open_index(layout, sealer, FlushWatch(), names).close()
    layout.close()
    assert index.exists()
    index.write_bytes(b"SQLite format 3" + index.read_bytes()[15:])
    lab.open()
    assert get(lab.store, digest) == data
