"""An index of delete markers, for the trash."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "version_marker",
        "version",
        ["bucket", "id"],
        sqlite_where=sa.text("delete_marker = 1"),
        postgresql_where=sa.text("delete_marker"),
    )


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
