"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("name", NAME, nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("password_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scrypt_log_n", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "api_key",
        sa.Column("key_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key_hash"),
        sa.UniqueConstraint("id", name="api_key_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("api_key_account", "api_key", ["account"], unique=False)
    op.create_table(
        "blob",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("refs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "blob_unreferenced",
        "blob",
        ["digest"],
        unique=False,
        sqlite_where=sa.text("refs = 0"),
        postgresql_where=sa.text("refs = 0"),
    )
    op.create_table(
        "bucket",
        sa.Column("name", NAME, nullable=False),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("versioning", sa.Text(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "counter",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "current",
        sa.Column("bucket", NAME, nullable=False),
        sa.Column("path", NAME, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("author", NAME, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("lock_number", sa.BigInteger(), nullable=False),
        sa.Column("null_version", sa.Boolean(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "path"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "file_server",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.Column("capacity_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("free_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("blobs", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.Column("registered_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "holder",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("digest", "server_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("holder_by_server", "holder", ["server_id", "digest"], unique=False)
    op.create_table(
        "join_secret",
        sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("secret_hash"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "journal",
        sa.Column("cursor", SEQUENCE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("bucket", NAME, nullable=False),
        sa.Column("path", NAME, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("cursor"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "lock",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("paths", sa.Text(), nullable=False, comment="JSON list of LockPath"),
        sa.Column("lease_seconds", sa.Float(), nullable=False),
        sa.Column("since_at", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False, comment="directory time"),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("account", "request_id", name="lock_request"),
        sqlite_with_rowid=False,
    )
    op.create_index("lock_until", "lock", ["until"], unique=False)
    op.create_table(
        "lock_path",
        sa.Column("bucket", NAME, nullable=False),
        sa.Column("path", NAME, nullable=False),
        sa.Column("lock_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "path"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "past_write",
        sa.Column("write_id", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("done_time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("write_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("past_write_done", "past_write", ["done_time"], unique=False)
    op.create_table(
        "path_fence",
        sa.Column("bucket", NAME, nullable=False),
        sa.Column("path", NAME, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "path"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "s3_key",
        sa.Column("access_key_id", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("access_key_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("s3_key_account", "s3_key", ["account"], unique=False)
    op.create_table(
        "session",
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("session_expires", "session", ["expires"], unique=False)
    op.create_table(
        "setting",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "version",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("bucket", NAME, nullable=False),
        sa.Column("path", NAME, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=True, comment="NULL for a delete marker"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("author", NAME, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("lock_number", sa.BigInteger(), nullable=False),
        sa.Column("delete_marker", sa.Boolean(), nullable=False),
        sa.Column("null_version", sa.Boolean(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("write_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("write_id", name="version_write_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("version_newest_first", "version", ["bucket", "path", sa.literal_column("id DESC")], unique=False)
    op.create_index(
        "version_null",
        "version",
        ["bucket", "path"],
        unique=True,
        sqlite_where=sa.text("null_version = 1"),
        postgresql_where=sa.text("null_version"),
    )
    op.create_table(
        "waiter",
        sa.Column("seq", SEQUENCE, nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("paths", sa.Text(), nullable=False, comment="JSON list of LockPath"),
        sa.Column("lease_seconds", sa.Float(), nullable=False),
        sa.Column("since_at", sa.Float(), nullable=False),
        sa.Column("keep_until", sa.Float(), nullable=False, comment="directory time"),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("account", "request_id", name="waiter_request"),
        sqlite_autoincrement=True,
    )
    op.create_index("waiter_keep_until", "waiter", ["keep_until"], unique=False)
    op.create_index("waiter_party", "waiter", ["account", "client", "session"], unique=False)
    op.create_table(
        "waiter_path",
        sa.Column("bucket", NAME, nullable=False),
        sa.Column("path", NAME, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "path", "seq"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    raise NotImplementedError("an older program cannot use newer metadata: restore a backup instead")
