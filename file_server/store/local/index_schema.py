"""The tables of the index. A `name` is a digest's stored name (sealed_names.py): no table has a digest.

=============  ===================================================================================
table          one row for
=============  ===================================================================================
chunk          each chunk: plain length, stored bytes, place, first bytes of its sealed form
inline         the sealed bytes of each small chunk
blob           each blob: its generation (rises each time it is stored), its sealed manifest if it has several chunks
reference      each (chunk, blob) of blobs with several chunks; a one-chunk blob has its chunk's name
candidate      each chunk that may be without a blob: the collector looks at these
sealed_fence   each path, as sealed_names.py hashes it, on which a lock number was seen: the highest number
total          each running total, so that none needs a walk over the tables
note           each version that this server committed as the master, sealed, for a directory that is restored
disk_key       the copy of the file disk-key: one row
=============  ===================================================================================

Until format 5, chunk, blob and note had a column `digest`, and manifests were plain. digest_upgrade.py renames these
tables to plain_chunk, plain_blob and plain_note, and moves their rows.
"""

from __future__ import annotations

SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (
    id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, length INTEGER NOT NULL, stored INTEGER NOT NULL,
    place INTEGER NOT NULL, head BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS inline (chunk INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS blob (
    id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, generation INTEGER NOT NULL, size INTEGER NOT NULL,
    manifest BLOB) STRICT;
CREATE TABLE IF NOT EXISTS reference (
    chunk INTEGER NOT NULL, blob INTEGER NOT NULL, PRIMARY KEY (chunk, blob)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS candidate (chunk INTEGER PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS sealed_fence (path BLOB PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS total (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS note (cursor INTEGER PRIMARY KEY, name BLOB NOT NULL, note BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS disk_key (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS note_name ON note (name);
CREATE INDEX IF NOT EXISTS chunk_damaged_name ON chunk (name) WHERE place = 2;
"""

GENERATION = "generation"
SEALED_UNDER = "sealed_under_"
"""Before a storage key's id in hex: the total of intact chunks under that key."""
NAMES_SEALED = "names_sealed"
"""1 once the paths of fences and the notes are sealed: in storage of format 3 they were plain."""
FILES_NAMED = "files_named"
"""1 once the files in chunks/ and quarantine/ have stored names: in storage of format 4 they were named by digests."""
KEYS_COUNTED = "keys_counted"
"""1 once the chunks under each storage key were counted: storage of format 2 had no such totals."""
TOTALS = ("chunks", "blobs", "stored_bytes", GENERATION, "scrubbed")
"""The totals that exist from the start; `remember` adds others under its own names."""
