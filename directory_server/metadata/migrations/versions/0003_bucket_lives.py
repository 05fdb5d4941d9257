"""Adds the journal cursors between which a bucket existed, which separate buckets of the same name."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("bucket", sa.Column("since_cursor", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "past_bucket",
        sa.Column("name", NAME, nullable=False),
        sa.Column("until_cursor", sa.BigInteger(), nullable=False),
        sa.Column("since_cursor", sa.BigInteger(), nullable=False),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", "until_cursor"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
