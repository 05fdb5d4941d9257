"""Invitations name the program that may join: its role, its id (empty: any file server) and its host names."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM join_secret")  # nobody knows whom the older ones invited
    op.add_column("join_secret", sa.Column("role", sa.Text, nullable=False, server_default="file_server"))
    op.add_column("join_secret", sa.Column("program", sa.Text, nullable=False, server_default=""))
    op.add_column("join_secret", sa.Column("hosts", sa.Text, nullable=False, server_default="[]"))


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
