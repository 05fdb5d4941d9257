"""Translates PostgreSQL's errors into the directory's."""

from __future__ import annotations

import psycopg
from psycopg import errors

from directory_server.metadata.store import ConstraintBroken
from lockstep_store.wire.errors import BadRequest, Damaged, InternalError, LockstepError, StorageFull, Unavailable

_FULL = "PostgreSQL's disk is full, so nothing was written; free space there, then try again"
_DAMAGED = "PostgreSQL reports that its data is damaged ({}); stop the directory and restore the database"


def gone(error: Exception) -> str:
    """Return the message about a server that cannot be reached."""
    return f"PostgreSQL cannot be reached ({first_line(error)}); try again in a moment"


def translate(error: Exception) -> Exception:
    """Translate an error of a statement."""
    if isinstance(error, psycopg.IntegrityError):
        return ConstraintBroken(first_line(error))
    if isinstance(error, errors.DiskFull):
        return StorageFull(_FULL)
    if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted):
        return Damaged(_DAMAGED.format(first_line(error)))
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return Unavailable("PostgreSQL accepts no changes here (a standby, or a read-only transaction); try again")
    if isinstance(error, psycopg.DataError | UnicodeError):
        return BadRequest(f"PostgreSQL cannot store this value ({first_line(error)})")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Unavailable(gone(error))
    return InternalError(f"a metadata statement failed: {error}")


def translate_failure(error: Exception) -> LockstepError:
    """Translate an error of BEGIN, COMMIT or a savepoint, which never means a broken constraint."""
    known = translate(error)
    return known if isinstance(known, LockstepError) else InternalError(str(error))


def first_line(error: Exception) -> str:
    """Return what an error says, without the driver's further lines."""
    return str(error).partition("\n")[0]
