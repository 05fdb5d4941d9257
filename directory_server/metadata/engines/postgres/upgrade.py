"""Makes the tables of an empty database, or applies the migrations that an older one lacks."""

from __future__ import annotations

import psycopg
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from directory_server.metadata.engines.postgres.connections import connect, shown
from directory_server.metadata.engines.postgres.errors import first_line
from directory_server.metadata.engines.postgres.redo import MAKE_TABLE
from directory_server.metadata.schema import metadata
from directory_server.metadata.upgrade import MIGRATIONS, apply_migrations
from lockstep_store.wire.errors import SetupError


def upgrade(url: str) -> None:
    """Bring the tables up to date, in one transaction. Safe to repeat. Raises psycopg.Error."""

    def connected() -> psycopg.Connection[tuple[object, ...]]:
        connection = connect(url)
        connection.execute(MAKE_TABLE)  # which the triggers of an older database need
        connection.autocommit = False
        return connection

    engine = create_engine("postgresql+psycopg://", creator=connected, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            context = MigrationContext.configure(connection)
            if context.get_current_revision() is None:
                _require_trigrams(url, connection)
                metadata.create_all(connection)
                context.stamp(ScriptDirectory(str(MIGRATIONS)), "head")
            else:
                apply_migrations(connection, f"the database ({shown(url)})")
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise error.orig from error
        raise
    finally:
        engine.dispose()


def _require_trigrams(url: str, connection: Connection) -> None:
    try:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    except DBAPIError as error:
        raise SetupError(
            f"the database ({shown(url)}) needs PostgreSQL's extension pg_trgm for searches, and creating it failed "
            f"({first_line(error.orig or error)}); let an administrator run CREATE EXTENSION pg_trgm there"
        ) from error
