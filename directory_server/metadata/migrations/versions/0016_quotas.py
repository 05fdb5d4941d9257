"""Quotas of accounts and buckets, and what they have used of them."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, value in (("quota", "allowed"), ("usage", "used")):
        op.create_table(
            name,
            sa.Column("scope", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("resource", sa.Text, primary_key=True),
            sa.Column(value, sa.BigInteger, nullable=False),
            sqlite_with_rowid=False,
        )


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
