"""Translates SQLite's errors into the directory's."""

from __future__ import annotations

import sqlite3

from directory_server.metadata.store import ConstraintBroken
from lockstep_store.runtime.storage.sqlite_files import reports_damage
from lockstep_store.wire.errors import Damaged, InternalError, LockstepError, StorageFull, Unavailable

_FULL = "the directory's disk is full, so nothing was written; free space in its data folder, then try again"

_OTHER_FORMAT = "unsupported file format"
"""SQLite's message for a schema format in the file's header that it does not know. It has no error code of its own, and
only damage can cause it here."""


def damaged_file(what: str) -> str:
    """Return the message about a damaged metadata file."""
    return f"the directory's metadata file is damaged ({what}); stop the directory and restore a backup"


def translate(error: sqlite3.Error) -> Exception:
    """Translate an error of a statement."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    if isinstance(error, sqlite3.IntegrityError):
        return ConstraintBroken(str(error))
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(_FULL)
    if reports_damage(error) or str(error) == _OTHER_FORMAT:
        return Damaged(damaged_file(str(error)))
    if isinstance(error, sqlite3.OperationalError) and code & 0xFF != sqlite3.SQLITE_ERROR:
        return Unavailable(f"the directory's disk failed ({error}); try again in a moment")
    return InternalError(f"a metadata statement failed: {error}")


def translate_failure(error: sqlite3.Error) -> LockstepError:
    """Translate an error of BEGIN, COMMIT or a savepoint, which never means a broken constraint."""
    known = translate(error)
    return known if isinstance(known, LockstepError) else InternalError(str(error))
