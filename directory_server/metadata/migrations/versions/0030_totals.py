"""Totals of what is stored, counted once here and by the engine from then on."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from directory_server.metadata.engines.sqlite.totals import add_functions
from directory_server.metadata.statements.totals import COUNT_AGAIN

revision = "0030"
down_revision = "0028"
branch_labels = None
depends_on = None


def _amount() -> list[sa.Column[int]]:
    names = ("files", "file_bytes", "versions", "version_bytes")
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "stored_total",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("bucket", "author", "kind", "month")),
        *_amount(),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "folder_total",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("bucket", "folder")),
        sa.Column("files", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "content_total",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("blobs", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "daily_total",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.Text, primary_key=True),
        *_amount(),
        sqlite_with_rowid=False,
    )
    connection: Any = op.get_bind().connection.driver_connection
    add_functions(connection)
    for statement in COUNT_AGAIN:
        connection.execute(statement).close()


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
