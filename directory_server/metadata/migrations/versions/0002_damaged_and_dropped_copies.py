"""Marks copies that failed their check, and keeps dropped copies for a ticket's lifetime."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("holder", sa.Column("damaged", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "dropped",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("dropped_time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "server_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("dropped_when", "dropped", ["dropped_time"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
