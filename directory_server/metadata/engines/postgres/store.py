"""The PostgreSQL engine: one active directory server on a database, every commit durable there before it is answered.

One connection writes, for one group commit at a time. Others read, each in its own snapshot. The server writes its own
log, checksums and backups, so this engine has none. See `writer` for what a lost connection means.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psycopg

from directory_server.metadata.engines.postgres.connections import (
    Connection,
    ConnectionPool,
    connect,
    settings_of,
    shown,
)
from directory_server.metadata.engines.postgres.errors import first_line, gone, translate_failure
from directory_server.metadata.engines.postgres.installed import COUNT_COMMIT, bring_up_to_date
from directory_server.metadata.engines.postgres.presence import BEAT_SECONDS, Presence
from directory_server.metadata.engines.postgres.transactions import DatabaseSnapshot, PostgresTx
from directory_server.metadata.engines.postgres.writer import (
    Replaced,
    Writer,
    begin_snapshot,
    new_writer,
    reopened_writer,
)
from directory_server.metadata.store import MetadataStore, Reader, Tx
from lockstep_store.runtime.storage.group_commit import GroupCommit, call_when_durable
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import Conflict, LockstepError, SetupError, StandingBy, Unavailable, Undecided

R = TypeVar("R")

START_SECONDS = 10.0
"""How long a start waits for the server, and for the connection of a directory server that has just ended."""
RETURN_SECONDS = 5.0
"""How long a commit whose answer was lost waits for the server, to learn the outcome."""
LOST_SECONDS = 4.0
"""Without PostgreSQL for so long, the active server tells everybody to ask the others. They wait longer than this for
one that hangs."""


class PostgresStore(MetadataStore):
    """Stores the metadata in the database at `url` (any address that libpq knows).

    `own_url` is the address of this directory server. The constructor raises SetupError if the database cannot be used,
    and InUse while another directory server is active.
    """

    def __init__(self, url: str, *, start_seconds: float = START_SECONDS, own_url: str = "") -> None:
        super().__init__()
        settings_of(url)
        self._url = url
        self._token = secrets.token_hex(16)
        self._problem = ""
        self._in_doubt: tuple[int, list[Callable[[], None]]] | None = None
        self._replaced: Replaced | None = None
        self._writer: Writer | None = None
        self._closed = False
        self._presence = Presence(url, self._token, own_url)
        self._others: list[tuple[str, float]] = []
        self._open(time.monotonic() + start_seconds)
        self._readers = ConnectionPool(url, self._begin_snapshot)
        self._group = GroupCommit(self._transaction)

    def _open(self, deadline: float) -> None:
        try:
            self._writer = new_writer(self._url, self._token, lambda: bring_up_to_date(self._url), deadline)
            self._writer.connection.execute(COUNT_COMMIT)
            self._confirmed_at = time.monotonic()
            self._others = self._presence.beat().others
        except psycopg.Error as error:
            self._drop_writer()
            raise SetupError(
                f"cannot use the PostgreSQL database of --metadata ({shown(self._url)}): {first_line(error)}"
            ) from error

    def write(self, work: Callable[[Tx], R]) -> R:
        self._raise_if_replaced()
        return self._group.submit(work)

    def read(self) -> AbstractContextManager[Reader]:
        self._raise_if_replaced()
        if self._in_doubt is not None:
            raise Unavailable(_IN_DOUBT)
        return DatabaseSnapshot(self._readers)

    def demand_active(self) -> None:
        self._raise_if_replaced()
        away = time.monotonic() - self._confirmed_at
        if away > LOST_SECONDS and any(seconds < LOST_SECONDS for _, seconds in self._others):
            raise StandingBy(f"PostgreSQL cannot be reached for {away:.0f} s: another directory server may be active")

    def confirm_active(self) -> None:
        with self.read():
            pass

    def other_servers(self) -> list[tuple[str, float]]:
        return self._others

    def check_some(self) -> float:
        """Tell the others that this directory server is active, find out whether one of them has taken over, and learn
        the outcome of a commit in doubt."""
        asked_at = time.monotonic()
        try:
            seen = self._presence.beat()
        except psycopg.Error:
            return BEAT_SECONDS
        if seen.active != self._token:
            self._replaced = self._replaced or Replaced()
            self.on_replaced()
            return BEAT_SECONDS
        self._confirmed_at, self._others = asked_at, seen.others
        if self._in_doubt is not None or not seen.is_locked:
            with suppress(LockstepError):
                self.write(lambda tx: None)  # takes the lock back, before somebody else takes it
        return BEAT_SECONDS

    @property
    def problem(self) -> str:
        return str(self._replaced) if self._replaced is not None else self._problem

    def defects(self) -> list[str]:
        try:
            with connect(self._url) as connection:
                row = connection.execute(
                    "SELECT coalesce(checksum_failures, 0) FROM pg_stat_database WHERE datname = current_database()"
                ).fetchone()
        except psycopg.Error as error:
            return [str(error)]
        return [f"PostgreSQL has counted {row[0]} checksum failures"] if row and row[0] else []

    def copy_to(self, path: Path) -> dict[str, int]:
        raise Conflict(
            "this directory's metadata is in PostgreSQL: back it up there, with pg_basebackup and an archive of its "
            "log, or with pg_dump (docs/postgresql.md)"
        )

    def close(self) -> None:
        if self._closed:
            return
        self._group.close()
        self._readers.close()
        self._presence.close()
        self._drop_writer()
        self._closed = True

    def _raise_if_replaced(self) -> None:
        if self._replaced is not None:
            raise self._replaced

    def _begin_snapshot(self, connection: Connection) -> None:
        try:
            begin_snapshot(connection, self._token)
        except Replaced as error:
            self._replaced = error
            raise

    @contextmanager
    def _transaction(self) -> Iterator[PostgresTx]:
        """Run one shared commit; there is one at a time."""
        try:
            tx = self._begin()
            for work in self._first_works:
                work(tx)
            yield tx
            for work in self._last_works:
                work(tx)
            if tx.failure is not None:
                raise tx.failure
            changes = self._record()
            with self._guard(changes):
                self._commit(tx)
        except BaseException as error:
            self._problem = str(error)
            if self._writer is not None and not self._writer.roll_back():
                self._drop_writer()
            log.error("a metadata commit failed: %s", error)
            raise
        self._problem = ""
        call_when_durable(tx.when_durable)

    def _begin(self) -> PostgresTx:
        if self._in_doubt is not None:
            self._decide(time.monotonic())
            if self._in_doubt is not None:
                raise Unavailable(_IN_DOUBT)
        try:
            if self._writer is None:
                self._writer = reopened_writer(self._url, self._token, time.monotonic())
            try:
                self._writer.begin()
            except psycopg.OperationalError:  # the server was restarted since
                self._drop_writer()
                self._writer = reopened_writer(self._url, self._token, time.monotonic() + RETURN_SECONDS)
                self._writer.begin()
        except Replaced as error:
            self._replaced = error
            raise
        except SetupError as error:
            raise Unavailable(error.detail) from error
        except psycopg.Error as error:
            raise translate_failure(error) from error
        writer = self._writer
        return PostgresTx(writer.connection, writer.begin, writer.risen)

    def _record(self) -> str:
        assert self._writer is not None
        try:
            return self._writer.record()
        except psycopg.Error as error:
            raise translate_failure(error) from error

    def _commit(self, tx: PostgresTx) -> None:
        assert self._writer is not None
        number = self._writer.number
        try:
            self._writer.connection.execute("COMMIT")
        except psycopg.Error as error:
            if not self._writer.connection.broken:
                raise translate_failure(error) from error
            self._drop_writer()
            self._in_doubt = (number, [])
            done = self._decide(time.monotonic() + RETURN_SECONDS)
            if done is None:
                self._in_doubt = (number, tx.when_durable)
                raise Undecided(_IN_DOUBT) from error
            if not done:
                raise Unavailable(gone(error)) from error

    def _decide(self, deadline: float) -> bool | None:
        """Learn whether the commit in doubt was done; None if the server cannot be reached."""
        assert self._in_doubt is not None
        number, when_durable = self._in_doubt
        try:
            writer = reopened_writer(self._url, self._token, deadline)
            done = writer.commits() >= number
        except Replaced as error:
            self._replaced = error
            return None
        except (psycopg.Error, SetupError):
            return None
        self._writer, self._in_doubt = writer, None
        if done:
            call_when_durable(when_durable)
        return done

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.connection.close()
            self._writer = None


_IN_DOUBT = (
    "the connection to PostgreSQL broke during a commit, and its outcome is not known until PostgreSQL can be reached "
    "again"
)
