"""Turns the folder of a closed file server's store into one of an earlier format, and finds chunks' files."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from file_server.store.local.sealed_names import SealedNames
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer

_FORMAT_4 = """
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, length INTEGER NOT NULL, stored INTEGER NOT NULL,
    place INTEGER NOT NULL, head BLOB NOT NULL) STRICT;
CREATE TABLE blob (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, generation INTEGER NOT NULL, size INTEGER NOT NULL,
    manifest BLOB) STRICT;
CREATE TABLE note (cursor INTEGER PRIMARY KEY, digest BLOB NOT NULL, note BLOB NOT NULL) STRICT;
CREATE INDEX note_digest ON note (digest);
CREATE INDEX chunk_damaged ON chunk (digest) WHERE place = 2;
"""
_TABLES = ("chunk", "blob", "note")


def names_of(data: Path, keys: Path) -> SealedNames:
    """Return what converts the digests of a data folder, with the storage keys in the file `keys`."""
    store_id = (data / "store-id").read_text("ascii").strip()
    return SealedNames(data / "disk-key", store_id, Sealer(KeyRing.load(keys)))


def make_format_4(data: Path, keys: Path) -> None:
    """Digests and manifests become plain, as before format 5."""
    names = names_of(data, keys)
    with closing(sqlite3.connect(data / "index.db", isolation_level=None)) as db:
        for table in _TABLES:
            db.execute(f"ALTER TABLE {table} RENAME TO sealed_{table}")
        db.executescript(_FORMAT_4)
        for id, name, *rest in db.execute("SELECT * FROM sealed_chunk").fetchall():
            db.execute("INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?)", (id, names.digest(name), *rest))
        for id, name, generation, size, sealed in db.execute("SELECT * FROM sealed_blob").fetchall():
            digest = names.digest(name)
            manifest = sealed if sealed is None else names.open_manifest(digest, sealed)
            db.execute("INSERT INTO blob VALUES (?, ?, ?, ?, ?)", (id, digest, generation, size, manifest))
        for cursor, name, note in db.execute("SELECT * FROM sealed_note").fetchall():
            db.execute("INSERT INTO note VALUES (?, ?, ?)", (cursor, names.digest(name), note))
        for table in _TABLES:
            db.execute(f"DROP TABLE sealed_{table}")
        db.execute("DROP TABLE disk_key")
        db.execute("DELETE FROM total WHERE name = 'files_named'")
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in [*(data / "chunks").glob("*/*"), *(data / "quarantine").glob("*")]:
        _name_by_digest(data, path, names)
    (data / "format").write_text("lockstep file server storage 4\n")


def _name_by_digest(data: Path, path: Path, names: SealedNames) -> None:
    found = re.fullmatch(r"([0-9a-f]{96})(\..*)?", path.name)
    if found is None:
        return
    name = names.digest(bytes.fromhex(found[1])).hex() + (found[2] or "")
    target = path.parent / name
    if path.parent.parent == data / "chunks":
        target = data / "chunks" / name[:2] / name
        target.parent.mkdir(exist_ok=True)
    path.rename(target)


def make_format_3(data: Path, keys: Path, notes: dict[int, bytes], fences: dict[str, int]) -> None:
    """Names are plain too: these notes, by cursor, and the paths of these fences."""
    make_format_4(data, keys)
    with closing(sqlite3.connect(data / "index.db", isolation_level=None)) as db:
        db.execute("DELETE FROM total WHERE name = 'names_sealed'")
        db.execute("DROP TABLE sealed_fence")
        db.execute("CREATE TABLE fence (path TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID")
        db.executemany("INSERT INTO fence VALUES (?, ?)", fences.items())
        db.executemany("UPDATE note SET note = ? WHERE cursor = ?", [(note, cursor) for cursor, note in notes.items()])
    (data / "disk-key").unlink()
    (data / "format").write_text("lockstep file server storage 3\n")
