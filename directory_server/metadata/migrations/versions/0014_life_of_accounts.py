"""Accounts have a role and a state, log-ins a beginning; a journal keeps security events."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("read_only", "disabled", "must_change"):
        op.add_column("account", sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("account", sa.Column("scrypt_p", sa.Integer, nullable=False, server_default="1"))
    op.add_column("session", sa.Column("created_at", sa.Float, nullable=False, server_default="0"))
    op.create_index("session_account", "session", ["account"])
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
