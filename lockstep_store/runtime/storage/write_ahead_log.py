"""SQLite's write-ahead log after a crash: what is read from it must be on the disk, not only in the page cache.

The danger: a flush fails (EIO), so the commit is refused and SQLite does not count its frames; but they stand in the
log, and Linux marks the pages that it could not write as clean. If the program ends before something else is written
over them, the next start finds whole, valid frames in the page cache and counts them as committed. New commits then
come after frames that the disk does not have, flushes succeed because those pages are "clean", and a power failure
takes every acknowledged commit behind the hole. So a log that an earlier process left is written again, byte for byte,
and flushed, before anyone opens the database. (PostgreSQL panics after a failed flush for the same reason.)
"""

from __future__ import annotations

import os
from pathlib import Path

BLOCK_BYTES = 1024 * 1024


def make_log_durable(database: Path) -> int:
    """Write the log beside `database` again, in place, and flush it; how many bytes it has, 0 when there is none.

    Call it while no process has the database open. Safe to repeat; a crash in it changes nothing, because every byte
    is replaced by itself. Raises OSError when the disk still does not take it.
    """
    try:
        descriptor = os.open(database.with_name(f"{database.name}-wal"), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        done = 0
        while block := os.pread(descriptor, BLOCK_BYTES, done):
            view = memoryview(block)
            while view:
                written = os.pwrite(descriptor, view, done)
                view, done = view[written:], done + written
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _flush_folder(database.parent)
    return done


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
