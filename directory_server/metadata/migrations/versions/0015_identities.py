"""Accounts have users, roles and groups with policies; S3 keys belong to one of them, or to a session."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("identity", "session_name", "session_policies", "parent_key"):
        op.add_column("s3_key", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.add_column("s3_key", sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true()))
    op.create_index("s3_key_parent", "s3_key", ["parent_key"])
    op.create_table(
        "identity",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("folded", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("trust", sa.Text, nullable=False),
        sa.Column("max_session_seconds", sa.Float, nullable=False),
        sa.UniqueConstraint("id", name="identity_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "identity_policy",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("identity", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "group_member",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("group_name", sa.Text, primary_key=True),
        sa.Column("user_name", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("group_member_user", "group_member", ["account", "user_name"])


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
