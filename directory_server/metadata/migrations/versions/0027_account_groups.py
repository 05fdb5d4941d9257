"""Groups of accounts, with members and managers."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account_group",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "account_group_member",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("group_name", sa.Text, primary_key=True),
        sa.Column("manager", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("account_group_member_group", "account_group_member", ["tenant", "group_name", "account"])


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
