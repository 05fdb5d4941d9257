"""The one connection that writes: its claim to the database, and its transactions.

A row says which directory server is active, and counts the commits. Each transaction begins with a change of that row,
and each snapshot with a look at it. So a server that another one has replaced commits and reads nothing, however long
it was paused, and a commit whose answer was lost is known by its number. The lock beside it only keeps a second server
from replacing a healthy one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg.pq import TransactionStatus

from directory_server.metadata.engines.postgres.connections import Connection, connect
from directory_server.metadata.engines.postgres.redo import DatabaseRedo
from directory_server.metadata.engines.postgres.usage import Risen
from directory_server.metadata.store import InUse
from lockstep_store.wire.errors import StandingBy

CLAIM = 0x10C57E9
"""The number of the advisory lock. It fits into the lower half, so `pg_locks` has it as `objid`."""
_LOCK = "SELECT pg_try_advisory_lock(%s)"
_BEGIN = "BEGIN; UPDATE lockstep_directory SET commits = commits + 1 WHERE token = '{token}' RETURNING commits"
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT token FROM lockstep_directory"
_SHORT_PAUSE = 0.1


class Replaced(StandingBy):
    """Another directory server has used the database since: what this one has in memory is out of date."""

    def __init__(self) -> None:
        super().__init__("another directory server has used this database since; this one stands by from now on")


def begin_snapshot(connection: Connection, token: str) -> None:
    """Begin a read transaction in which `token` is the active server's. Raises psycopg.Error, and Replaced."""
    # One round trip.
    cursor = connection.execute(_SNAPSHOT, prepare=False)
    cursor.nextset()
    row = cursor.fetchone()
    if row is None or row[0] != token:
        raise Replaced


class Writer:
    """A connection with the claim `token`. For one thread at a time."""

    def __init__(self, connection: Connection, token: str) -> None:
        self.connection = connection
        self.risen = Risen()
        self.number = 0
        """Of the transaction that has begun."""
        self._token = token
        self._redo: DatabaseRedo | None = None
        connection.add_notice_handler(self.risen.note)

    def begin(self) -> None:
        """Begin a transaction; end one that has not ended. Raises psycopg.Error, and Replaced."""
        if self.connection.info.transaction_status != TransactionStatus.IDLE:
            self.connection.execute("ROLLBACK")
        if self._redo is None:
            self._redo = DatabaseRedo(self.connection)
        # One round trip. psycopg's pipelines take longer than a second one, unless the server is far away.
        cursor = self.connection.execute(_BEGIN.format(token=self._token), prepare=False)
        cursor.nextset()
        row = cursor.fetchone()
        if row is None:
            raise Replaced
        self.number = int(row[0])

    def record(self) -> str:
        """Write the transaction's redo record; return its changed rows. Raises psycopg.Error."""
        assert self._redo is not None
        return self._redo.write()

    def roll_back(self) -> bool:
        """Undo the transaction; return whether the connection is still usable."""
        self._redo = None
        try:
            self.connection.execute("ROLLBACK")
        except psycopg.Error:
            self.connection.close()
        return not self.connection.closed

    def commits(self) -> int:
        """Return how many commits there were, once every older connection's transaction has ended."""
        row = self.connection.execute("SELECT commits FROM lockstep_directory FOR UPDATE").fetchone()
        assert row is not None
        return int(row[0])


def new_writer(url: str, token: str, prepare: Callable[[], None], deadline: float) -> Writer:
    """Take the place of the directory server before, with a new claim; `prepare` is called first, under the lock.

    Until `deadline` (monotonic), waits for the server, and for the connection of a directory server that has just
    ended. Raises psycopg.Error, and InUse while another directory server runs.
    """
    connection = _locked(
        url, deadline, "another directory server uses this database; stop it, or name another database"
    )
    try:
        # Before what may take long: nobody is to mistake this for the server before, and end it as one that hangs.
        _claim(connection, token)
        prepare()
        _claim(connection, token)
    except BaseException:
        connection.close()
        raise
    return Writer(connection, token)


def _claim(connection: Connection, token: str) -> None:
    """Be the directory server that may commit, from now on the only one. In a new database, nobody can be yet."""
    with suppress(psycopg.errors.UndefinedTable):
        connection.execute("UPDATE lockstep_directory SET token = %s", (token,))


def reopened_writer(url: str, token: str, deadline: float) -> Writer:
    """Open the connection again, with the claim that this server has. Waits, and raises, as above, and Replaced."""

    def check(connection: Connection) -> None:
        row = connection.execute("SELECT token FROM lockstep_directory").fetchone()
        if row is None or row[0] != token:
            raise Replaced

    refusal = "PostgreSQL has not ended a lost connection yet, or another directory server uses this database"
    return Writer(_locked(url, deadline, refusal, check), token)


def _locked(
    url: str, deadline: float, refusal: str, check: Callable[[Connection], None] = lambda connection: None
) -> Connection:
    """Open a connection that has the lock; `check` is called before each try and after the last one."""
    connection = patient_connection(url, deadline)
    try:
        while True:
            check(connection)
            if _is_locked(connection):
                break
            if time.monotonic() >= deadline:
                raise InUse(refusal)
            time.sleep(_SHORT_PAUSE)
        check(connection)
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
    except BaseException:
        connection.close()
        raise
    return connection


def _is_locked(connection: Connection) -> bool:
    row = connection.execute(_LOCK, (CLAIM,)).fetchone()
    return bool(row and row[0])


def patient_connection(url: str, deadline: float) -> Connection:
    """Open a connection; until `deadline` (monotonic), wait for a server that is starting. Raises psycopg.Error."""
    while True:
        try:
            return connect(url)
        except psycopg.OperationalError as error:
            if time.monotonic() >= deadline or _will_not_pass(error):
                raise
        time.sleep(_SHORT_PAUSE)


def _will_not_pass(error: psycopg.OperationalError) -> bool:
    """Whether waiting is in vain: a wrong password or name."""
    return any(words in str(error) for words in ("does not exist", "authentication failed"))
