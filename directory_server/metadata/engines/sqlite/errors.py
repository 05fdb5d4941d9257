"""What SQLite raises, as the errors that the directory answers with."""

from __future__ import annotations

import sqlite3

from directory_server.metadata.store import ConstraintBroken
from lockstep_store.wire.errors import Damaged, InternalError, LockstepError, StorageFull, Unavailable

_FULL = "the directory's disk is full: nothing was written; free space in its data folder, then try again"

_OTHER_FORMAT = "unsupported file format"
"""Of a file whose head says that another SQLite wrote its schema, which has no code of its own. None ever did."""


def damaged_file(what: str) -> str:
    """What a person is told."""
    return f"the directory's metadata file is damaged ({what}): stop the directory and restore a backup"


def translate(error: sqlite3.Error) -> Exception:
    """The driver's failure as ours."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    if isinstance(error, sqlite3.IntegrityError):
        return ConstraintBroken(str(error))
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(_FULL)
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or str(error) == _OTHER_FORMAT:
        return Damaged(damaged_file(str(error)))
    if isinstance(error, sqlite3.OperationalError) and code & 0xFF != sqlite3.SQLITE_ERROR:
        return Unavailable(f"the directory cannot use its disk ({error}); try again in a moment")
    return InternalError(f"a metadata statement failed: {error}")


def translate_failure(error: sqlite3.Error) -> LockstepError:
    """The same for BEGIN, COMMIT and savepoints, where every failure is the store's own."""
    known = translate(error)
    return known if isinstance(known, LockstepError) else InternalError(str(error))
