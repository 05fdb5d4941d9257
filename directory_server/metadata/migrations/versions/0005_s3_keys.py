"""Adds names of S3 access keys, and session tokens and expiry of temporary ones."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("s3_key", sa.Column("name", sa.Text(), nullable=False, server_default=""))
    op.add_column("s3_key", sa.Column("session_hash", sa.LargeBinary(32), nullable=True))
    op.add_column("s3_key", sa.Column("expires", sa.Float(), nullable=True))
    op.add_column("s3_key", sa.Column("expires_at", sa.Float(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
