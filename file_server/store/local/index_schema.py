"""The tables of the index.

=============  ===================================================================================
table          one row for
=============  ===================================================================================
chunk          each chunk: plain length, stored bytes, place, first bytes of its sealed form
inline         the sealed bytes of each small chunk
blob           each blob: its generation (rises each time it is stored), its manifest if it has several chunks
reference      each (chunk, blob) of blobs with several chunks; a one-chunk blob has its chunk's digest
candidate      each chunk that may be without a blob: the collector looks at these
sealed_fence   each path, as sealed_names.py hashes it, on which a lock number was seen: the highest number
total          each running total, so that none needs a walk over the tables
note           each version that this server committed as the master, sealed, for a directory that is restored
=============  ===================================================================================
"""

from __future__ import annotations

SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, length INTEGER NOT NULL, stored INTEGER NOT NULL,
    place INTEGER NOT NULL, head BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS inline (chunk INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS blob (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, generation INTEGER NOT NULL, size INTEGER NOT NULL,
    manifest BLOB) STRICT;
CREATE TABLE IF NOT EXISTS reference (
    chunk INTEGER NOT NULL, blob INTEGER NOT NULL, PRIMARY KEY (chunk, blob)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS candidate (chunk INTEGER PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS sealed_fence (path BLOB PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS total (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS note (cursor INTEGER PRIMARY KEY, digest BLOB NOT NULL, note BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS note_digest ON note (digest);
CREATE INDEX IF NOT EXISTS chunk_damaged ON chunk (digest) WHERE place = 2;
"""

GENERATION = "generation"
SEALED_UNDER = "sealed_under_"
"""Before a storage key's id in hex: the total of intact chunks under that key."""
NAMES_SEALED = "names_sealed"
"""1 once the paths of fences and the notes are sealed: in storage of format 3 they were plain."""
KEYS_COUNTED = "keys_counted"
"""1 once the chunks under each storage key were counted: storage of format 2 had no such totals."""
TOTALS = ("chunks", "blobs", "stored_bytes", GENERATION, "scrubbed")
"""The totals that exist from the start; `remember` adds others under its own names."""
