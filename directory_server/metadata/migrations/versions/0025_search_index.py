"""The search index. The directory fills it while it runs (see maintenance/search_filling.py)."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "search_bucket",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.UniqueConstraint("name", name="search_bucket_name"),
    )
    op.create_table(
        "search_file",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
    )
    op.create_index("search_file_name", "search_file", ["number", "name", "path"], unique=True)
    # Which three letters occur in a path is enough, without their places: who reads it looks at the path itself.
    op.execute(
        "CREATE VIRTUAL TABLE search_index USING fts5"
        " (path, content = 'search_file', content_rowid = 'id', tokenize = 'trigram', detail = none, columnsize = 0)"
    )


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
