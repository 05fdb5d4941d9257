"""Share links: what accounts let people without one read or upload."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "share_link",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires", sa.Float),
        sa.Column("expires_at", sa.Float),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("password_hash", sa.LargeBinary),
        sa.Column("scrypt_log_n", sa.Integer),
        sa.Column("scrypt_p", sa.Integer),
        sa.Column("max_uses", sa.BigInteger),
        sa.Column("uses", sa.BigInteger, nullable=False),
        sa.Column("max_bytes", sa.BigInteger),
        sa.Column("last_used_at", sa.Float),
        sqlite_with_rowid=False,
    )
    op.create_index("share_link_token", "share_link", ["token_hash"], unique=True)
    op.create_index("share_link_account", "share_link", ["account", "id"])
    op.create_index("share_link_bucket", "share_link", ["bucket", "id"])


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
