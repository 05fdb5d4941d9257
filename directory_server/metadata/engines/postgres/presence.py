"""The directory servers that use a database: each has a row, and changes it every second.

No clock of a machine counts: a row that stays the same while somebody watches is that of a server that has ended or
hangs. `writer` decides which server is active.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import psycopg

from directory_server.metadata.engines.postgres.connections import Connection, connect
from directory_server.metadata.engines.postgres.writer import CLAIM

BEAT_SECONDS = 1.0

_PREPARE = (
    # A row that a crash of PostgreSQL loses comes back within a second.
    "SET synchronous_commit = off",
    "CREATE TABLE IF NOT EXISTS lockstep_presence (run text PRIMARY KEY, url text NOT NULL, beat bigint NOT NULL,"
    " seen timestamptz NOT NULL)",
    "DELETE FROM lockstep_presence WHERE seen < clock_timestamp() - interval '1 day'",
)
_FORGET_EARLIER = "DELETE FROM lockstep_presence WHERE url = %s AND run <> %s"
_BEAT = (
    "INSERT INTO lockstep_presence AS p VALUES (%s, %s, 1, clock_timestamp())"
    " ON CONFLICT (run) DO UPDATE SET beat = p.beat + 1, seen = clock_timestamp()"
)
_HOLDER = (
    "FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = %s AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_OTHERS = "FROM lockstep_presence o WHERE o.run NOT IN (%s, d.token) ORDER BY o.url, o.run"
_LOOK = (
    "SELECT d.token, p.url, p.beat, EXISTS (SELECT " + _HOLDER + "),"  # noqa: S608 - our own words
    " ARRAY(SELECT o.url " + _OTHERS + "),"
    " ARRAY(SELECT extract(epoch FROM clock_timestamp() - o.seen)::float8 " + _OTHERS + ")"
    " FROM lockstep_directory d LEFT JOIN lockstep_presence p ON p.run = d.token"
)
_END_SESSION = (
    "SELECT pg_terminate_backend(pid) " + _HOLDER + " AND EXISTS"  # noqa: S608 - our own words
    " (SELECT FROM lockstep_presence p JOIN lockstep_directory d ON d.token = p.run WHERE p.run = %s AND p.beat = %s)"
)


@dataclass(frozen=True)
class Seen:
    """What the database says at one moment."""

    active: str
    """The token of the directory server that may commit; it may have ended."""
    url: str
    """The address of that server; empty if it has stopped, or never had a row."""
    beat: int | None
    """Changes every second while it works; None without a row."""
    is_locked: bool
    """Whether a session holds the lock."""
    others: list[tuple[str, float]]
    """Further directory servers, without the one that asks: the address, and the seconds since the row changed."""


class Presence:
    """The row of the directory server `run`, reached at `address`. For one thread at a time."""

    def __init__(self, url: str, run: str, address: str) -> None:
        self._url = url
        self._run = run
        self._address = address
        self._connection: Connection | None = None

    def beat(self) -> Seen:
        """Change the row, and return what the others' say. Raises psycopg.Error."""
        if self._connection is not None:
            try:
                return self._beat(self._connection)
            except psycopg.Error:  # the server was restarted since
                self._drop()
        try:
            return self._beat(self._connected())
        except psycopg.Error:
            self._drop()
            raise

    def _beat(self, connection: Connection) -> Seen:
        connection.execute(_BEAT, (self._run, self._address))
        row = connection.execute(_LOOK, (CLAIM, self._run, self._run)).fetchone()
        if row is None:
            return Seen("", "", None, is_locked=False, others=[])
        active, url, beat, is_locked, urls, seconds = row
        return Seen(active, url, beat, is_locked, list(zip(urls, seconds, strict=True)))

    def end_session(self, seen: Seen) -> None:
        """End the session that holds the lock, if the active server's row is still as it was seen."""
        self._connected().execute(_END_SESSION, (CLAIM, seen.active, seen.beat))

    def close(self) -> None:
        """Remove the row, so that nobody waits for it to change."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.execute("DELETE FROM lockstep_presence WHERE run = %s", (self._run,))
            self._drop()

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = connect(self._url)
            try:
                for statement in _PREPARE:
                    connection.execute(statement)
                connection.execute(_FORGET_EARLIER, (self._address, self._run))
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
