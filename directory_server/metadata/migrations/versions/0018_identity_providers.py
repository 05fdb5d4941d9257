"""OpenID Connect providers, and the identities at them that log in to accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_provider",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.UniqueConstraint("issuer", name="identity_provider_issuer"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "linked_identity",
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("linked_at", sa.Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("linked_identity_account", "linked_identity", ["account"])


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
