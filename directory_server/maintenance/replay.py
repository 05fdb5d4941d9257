"""Replaying: makes the changes of redo records again in metadata of the moment before them.

The metadata must have the schema of the records: so this comes before a backup is brought up to date, and before
restoring makes it safe to go on from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from directory_server.maintenance.redo_log import records_of
from directory_server.metadata.engines.sqlite.redo import apply_records
from directory_server.metadata.engines.sqlite.transactions import SqliteReader
from directory_server.metadata.statements import redo
from directory_server.metadata.statements.redo import HistoryPlace, RecordChain
from lockstep_store.runtime.storage.redo_files import batches_in, files_in
from lockstep_store.wire.backup_file import read_header
from lockstep_store.wire.errors import Damaged, SetupError
from lockstep_store.wire.messages.redo import RedoBatch


def open_folder(folder: Path) -> tuple[Path, Iterable[RedoBatch]]:
    """The newest backup in the folder of a continuous backup, and the batches behind it. OSError, SetupError."""
    bases = sorted(folder.glob("base-*.backup"))
    if not bases:
        raise SetupError(f"there is no backup in {folder}: name a backup, or the folder of a continuous one")
    with bases[-1].open("rb") as file:
        info = read_header(file, str(bases[-1]))
    return bases[-1], batches_in(files_in(folder), info.redo.sequence)


def replay(db: sqlite3.Connection, batches: Iterable[RedoBatch]) -> float | None:
    """Make all changes behind the place that the metadata has; when the last were sent, None when there were none.

    Damaged for records that do not follow. Raises sqlite3.Error.
    """
    made_at = None
    place = redo.newest(SqliteReader(db.cursor()))
    for batch in batches:
        db.execute("BEGIN IMMEDIATE")
        place = _replay_batch(db, place, batch)
        db.execute("COMMIT")
        made_at = batch.made_at
    return made_at


def _replay_batch(db: sqlite3.Connection, place: HistoryPlace | None, batch: RedoBatch) -> HistoryPlace:
    cursor = db.cursor()
    records = records_of(batch, place)
    try:
        apply_records(cursor, (record.body for record in records))
    except ValueError as error:
        raise Damaged(f"the redo records behind {batch.before.sequence} do not fit the backup: {error}") from error
    chain = RecordChain(db.execute, "?")
    for record in records:
        chain.keep(record)
        place = HistoryPlace(record.sequence, record.chain)
    if place is None:
        raise Damaged("the backup has no place in the directory's history: it was made by an older Lockstep")
    return place
