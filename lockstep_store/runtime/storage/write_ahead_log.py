"""Makes SQLite's write-ahead log durable after a crash: its frames may be only in the page cache.

The danger: a flush fails (EIO), the commit is rejected, and SQLite does not count its frames. But they remain in the
log, and Linux marks the pages that it could not write as clean. If the program ends before they are overwritten, the
next start finds valid frames in the page cache and counts them as committed. New commits then follow frames that the
disk does not have, flushes succeed because those pages are "clean", and a power failure loses every acknowledged commit
after the hole. So a log left by an earlier process is rewritten, byte for byte, and flushed before anyone opens the
database. (PostgreSQL panics after a failed flush for the same reason.)
"""

from __future__ import annotations

import os
from pathlib import Path

BLOCK_BYTES = 1024 * 1024


def make_log_durable(database: Path) -> int:
    """Rewrite the log beside `database` in place, flush it, and return its length in bytes; 0 when there is none.

    Call this while no process has the database open. Safe to repeat, also after a crash, because every byte is replaced
    by itself. Raises OSError when the disk still cannot store it.
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
