"""Moves and deletions of whole folders."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    texts = ("kind", "bucket", "path", "to_bucket", "to_path", "account", "access", "limited_by", "state")
    numbers = ("total", "done", "failed", "handled")
    op.create_table(
        "folder_change",
        sa.Column("id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in numbers),
        sa.Column("position", sa.Text, nullable=False),
        sa.Column("cursor", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("began_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("ended_time", sa.Float),
        sqlite_with_rowid=False,
    )
    op.create_index("folder_change_account", "folder_change", ["account", "began_at"])
    op.create_index("folder_change_state", "folder_change", ["state", "id"])
    op.create_table(
        "folder_problem",
        sa.Column("change", sa.Text, primary_key=True),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("problem", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
