"""Connections to PostgreSQL: how they are opened, and a pool of them for snapshots."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import psycopg
from psycopg import sql
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import TextLoader

from directory_server.metadata.engines.postgres.errors import gone
from directory_server.metadata.store import Row
from lockstep_store.wire.errors import Overloaded, SetupError, Unavailable

Connection: TypeAlias = psycopg.Connection[Row]

MAX_READERS = 48
"""Snapshots at a time. PostgreSQL allows 100 connections by default."""
WAIT_SECONDS = 10.0
"""How long a read waits for one of them."""
KEPT_STATEMENTS = 512

_DEFAULTS: dict[str, Any] = {
    "application_name": "lockstep directory",
    "connect_timeout": 5,
    # A server that is gone without a word must not hold a commit for the two hours of TCP's own time-outs.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_SESSION = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "client_min_messages": "notice",
    "timezone": "UTC",
    "jit": "off",
    # So that the server lets go of the claim when this machine dies without a word.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}


class _Number(Loader):
    """Sums of whole numbers are whole numbers, as they are in SQLite."""

    def load(self, data: Any) -> int | float:
        text = bytes(data)
        return float(text) if b"." in text else int(text)


def settings_of(url: str) -> dict[str, Any]:
    """Parse the address of a database. Raises SetupError."""
    try:
        return {**_DEFAULTS, **conninfo_to_dict(url)}
    except psycopg.Error as error:
        # Without the driver's words, which may have the password.
        raise SetupError(
            "--metadata is not the address of a PostgreSQL database, such as postgresql://host/name"
        ) from error


def shown(url: str) -> str:
    """Return the address without secrets."""
    known = settings_of(url)
    return " ".join(f"{name}={known[name]}" for name in ("host", "port", "dbname", "user") if known.get(name))


def connect(url: str) -> Connection:
    """Open a connection. Raises psycopg.Error."""
    connection: Connection = psycopg.connect(make_conninfo(**settings_of(url)), autocommit=True, prepare_threshold=0)
    connection.prepared_max = KEPT_STATEMENTS
    # Statements reach the driver without type conversion: JSON is text.
    for name in ("json", "jsonb"):
        connection.adapters.register_loader(name, TextLoader)
    connection.adapters.register_loader("numeric", _Number)
    settings = sql.SQL(", ").join(
        sql.SQL("set_config({}, {}, false)").format(name, value) for name, value in _SESSION.items()
    )
    connection.execute(sql.SQL("SELECT {}").format(settings))
    return connection


class ConnectionPool:
    """Pools connections for snapshots, each used by one at a time; `begin` begins one. Thread-safe."""

    def __init__(self, url: str, begin: Callable[[Connection], None]) -> None:
        self._url = url
        self._begin = begin
        self._idle: deque[Connection] = deque()
        self._places = threading.BoundedSemaphore(MAX_READERS)
        self._closed = False

    def take(self) -> Connection:
        """Return a connection with a snapshot that has begun. Raises what `begin` raises, but no psycopg.Error."""
        if self._closed:
            raise Unavailable("the directory is stopping; try again in a moment")
        if not self._places.acquire(timeout=WAIT_SECONDS):
            raise Overloaded("too many reads of the metadata are running; try again in a moment")
        try:
            return self._begun()
        except psycopg.Error as error:
            self._places.release()
            raise Unavailable(gone(error)) from error
        except BaseException:
            self._places.release()
            raise

    def _begun(self) -> Connection:
        while True:
            try:
                connection, is_new = self._idle.pop(), False
            except IndexError:
                connection, is_new = connect(self._url), True
            try:
                self._begin(connection)
            except BaseException as error:
                connection.close()
                if is_new or not isinstance(error, psycopg.Error):
                    raise
                # The server was restarted since.
            else:
                return connection

    def give_back(self, connection: Connection) -> None:
        """Take a connection that is no longer used; one that is closed or in a transaction is dropped."""
        if self._closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append(connection)
        self._places.release()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()
