"""Makes and removes versions: the steps of every write, in the caller's transaction.

These steps keep the version rows, the current pointer and the blobs' reference counts consistent. Their callers
(`namespace`, `writes`, `commits`) have checked rights, locks, tickets and copies before.
"""

from __future__ import annotations

from directory_server.files.hooks import Hooks
from directory_server.files.moment import Moment
from directory_server.files.new_version import NewVersion
from directory_server.files.object_changes import UNKNOWN, Cause, ObjectChange, created, removed
from directory_server.files.past_writes import PastAnswer, remember, remember_deletion
from directory_server.metadata.statements import files, s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import Row, Tx
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadDigest, Damaged
from lockstep_store.wire.messages.files import DeleteReply, FileVersion
from lockstep_store.wire.messages.journal import ChangeKind
from lockstep_store.wire.messages.kms import KMS_ENTRY
from lockstep_store.wire.messages.s3 import CUSTOMER_KEY_ENTRY, TAGS
from lockstep_store.wire.messages.uploads import PARTS_SETTING

MAX_NOTED_SETTING = 4096
"""Characters of a setting that commit notes include; a longer one, such as a list of parts, protects nothing. For
encrypted content (SSE-C, SSE-KMS) they include the list of parts whatever its length: without it the file is lost."""
_ID_DIGITS = 16


def version_id(cursor: int) -> str:
    """Return the id of the version that the change at `cursor` made."""
    return f"{cursor:0{_ID_DIGITS}d}"


class Versions:
    """Makes and removes versions. Thread-safe."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def put(
        self,
        tx: Tx,
        bucket: Bucket,
        new: NewVersion,
        kind: ChangeKind,
        moment: Moment,
        cause: Cause = UNKNOWN,
    ) -> FileVersion:
        """Make `new` its path's current version (or current delete marker), and journal it as `kind`."""
        current = tx.one(files.CURRENT, bucket=bucket.name, path=new.path)
        cursor = _journal(tx, kind, bucket.name, new.path, "", moment)
        null = bucket.versioning != "enabled"
        replaced = tx.one(files.NULL_VERSION, bucket=bucket.name, path=new.path) if null else None
        kept = _kept_facts(tx, current, new)
        if replaced is not None:
            self._hooks.before_removal(tx, replaced, moment)
            _forget(tx, replaced, moment)
        row = _insert(tx, bucket, new, cursor, moment, is_first=current is None)
        if replaced is not None:
            # After the write: a reader of the journal never sees the path without a version in between.
            _journal(tx, "remove", bucket.name, new.path, replaced[2], moment)
        made = files.as_version(row)
        if new.digest is not None:
            settings = kept | self._hooks.before_commit(tx, bucket, new.settings, moment.at)
            for name, value in settings.items():
                s3_settings.put_version_value(tx, made.version, name, value)
            # In the reply too: the master notes it down for a directory that has to be restored.
            made.settings = {name: value for name, value in settings.items() if _is_noted(name, value, new.metadata)}
        event = created(kind, cause) if new.digest is not None else removed(cause, by_marker=True)
        self._hooks.after_change(tx, bucket, change_of(row, event, cause, moment.at))
        self._hooks.on_lookup(tx, bucket, made)
        made.created = current is None
        made.bucket_versioning = bucket.versioning
        return made

    def remove(
        self,
        tx: Tx,
        bucket: Bucket,
        row: Row,
        moment: Moment,
        *,
        bypass_governance: bool = False,
        cause: Cause = UNKNOWN,
    ) -> int:
        """Remove one version for good (a row of `files.find_version`) and return the journal cursor.

        The next newest becomes current. Forbidden while a feature holds it. There is no other way to remove a version.
        """
        self._hooks.before_removal(tx, row, moment, bypass=bypass_governance)
        path = row[1]
        cursor = _journal(tx, "remove", bucket.name, path, row[2], moment)
        _forget(tx, row, moment)
        _point_to_newest(tx, bucket.name, path)
        self._hooks.after_change(tx, bucket, change_of(row, removed(cause), cause, moment.at))
        return cursor

    def put_back(self, tx: Tx, bucket: Bucket, version: FileVersion, write_id: str, moment: Moment) -> bool:
        """Restore the row of a version that was committed after the backup which this directory was restored from.

        It has its old id, and becomes current if it is the newest. False when a newer version, or one that is held,
        has its place.
        """
        replaced = tx.one(files.NULL_VERSION, bucket=bucket.name, path=version.path) if version.null_version else None
        if replaced is not None:
            if replaced[2] > version.version or self._hooks.is_held(tx, replaced, moment):
                return False
            _forget(tx, replaced, moment)
        cursor = _journal(tx, "recover", bucket.name, version.path, version.version, moment)
        if replaced is not None:
            _journal(tx, "remove", bucket.name, version.path, replaced[2], moment)
        _insert_recovered(tx, bucket, version, write_id, cursor)
        row = files.find_version(tx, bucket.name, version.path, version.version)
        assert row is not None
        # Nobody knows whether receivers were notified of it before the restore.
        cause = Cause(version.author)
        self._hooks.after_change(tx, bucket, change_of(row, created("recover", cause), cause, moment.at))
        tx.admit_over_quota()
        return True

    def delete(
        self,
        tx: Tx,
        bucket: Bucket,
        path: str,
        author: str,
        write_id: str,
        moment: Moment,
        *,
        mark_missing: bool = False,
        cause: Cause = UNKNOWN,
    ) -> DeleteReply:
        """Delete a path: by a delete marker where the bucket keeps versions, else by removing its version.

        A path that does not exist is left alone, unless `mark_missing` asks for a marker anyway.
        """
        current = tx.one(files.CURRENT, bucket=bucket.name, path=path)
        existed = current is not None
        if bucket.versioning != "off" and (existed or mark_missing):
            made = self.put(tx, bucket, NewVersion(path, None, 0, author, write_id), "delete", moment, cause)
            reply = DeleteReply(made.cursor, existed, made.version, True, made.null_version)
        elif current is not None:
            # A bucket that never kept versions has exactly this one.
            row = files.find_version(tx, bucket.name, path, current[2])
            if row is None:
                raise Damaged(f"the current version of {bucket.name}/{path} is missing from the directory's metadata")
            cursor = self.remove(tx, bucket, row, moment, cause=cause)
            reply = DeleteReply(cursor, True, current[2], null_version=bool(row[10]))
        else:
            reply = DeleteReply(files.read_cursor(tx), False)
        remember_deletion(tx, write_id, bucket.name, path, reply, moment)
        return reply


def _insert(tx: Tx, bucket: Bucket, new: NewVersion, cursor: int, moment: Moment, *, is_first: bool) -> Row:
    """Insert the version and point the path to it; return its row as `files.find_version` does."""
    shared = {
        "bucket": bucket.name,
        "path": new.path,
        "digest": new.digest,
        "size": new.size,
        "content_type": new.content_type,
        "metadata": new.metadata,
        "author": new.author,
        "created_at": moment.at,
        "lock_number": new.lock_number,
        "null_version": bucket.versioning != "enabled",
        "cursor": cursor,
    }
    id, is_marker = version_id(cursor), new.digest is None
    tx.run(files.INSERT_VERSION, id=id, write_id=new.write_id, delete_marker=is_marker, **shared)
    if new.digest is not None:
        tx.run(files.INSERT_CURRENT if is_first else files.UPDATE_CURRENT, version=id, **shared)
        refer(tx, new.digest, new.size)
    elif not is_first:
        tx.run(files.DELETE_CURRENT, bucket=bucket.name, path=new.path)
    values = list(shared.values())
    return (*values[:2], id, *values[2:], is_marker)


def _insert_recovered(tx: Tx, bucket: Bucket, version: FileVersion, write_id: str, cursor: int) -> None:
    tx.run(
        files.INSERT_VERSION,
        id=version.version,
        bucket=bucket.name,
        path=version.path,
        digest=version.digest,
        size=version.size,
        content_type=version.content_type,
        metadata=files.encode_metadata(version.metadata),
        author=version.author,
        created_at=version.created_at,
        lock_number=version.lock_number,
        delete_marker=False,
        null_version=version.null_version,
        cursor=cursor,
        write_id=write_id,
    )
    for name, value in version.settings.items():
        s3_settings.put_version_value(tx, version.version, name, value)
    refer(tx, version.digest, version.size)
    _point_to_newest(tx, bucket.name, version.path)


def _kept_facts(tx: Tx, current: Row | None, new: NewVersion) -> dict[str, str]:
    """Return what people said about the path and a new version does not change: its description, and tags."""
    if current is None or new.digest is None:
        return {}
    facts = s3_settings.facts_of_version(tx, current[2])
    if not new.keeps_tags:
        facts.pop(TAGS, None)
    return facts


def _is_noted(name: str, value: str, metadata: str) -> bool:
    if name == PARTS_SETTING and (CUSTOMER_KEY_ENTRY in metadata or KMS_ENTRY in metadata):
        return True
    return len(value) <= MAX_NOTED_SETTING


def _point_to_newest(tx: Tx, bucket: str, path: str) -> None:
    """Make the newest version the path's current one, unless it is a delete marker."""
    current = tx.one(files.CURRENT, bucket=bucket, path=path)
    newest = tx.one(files.NEWEST, bucket=bucket, path=path)
    if newest is None or newest[12]:
        if current is not None:
            tx.run(files.DELETE_CURRENT, bucket=bucket, path=path)
    elif current is None or current[2] != newest[2]:
        tx.run(
            files.INSERT_CURRENT if current is None else files.UPDATE_CURRENT,
            bucket=bucket,
            path=path,
            version=newest[2],
            digest=newest[3],
            size=newest[4],
            content_type=newest[5],
            metadata=newest[6],
            author=newest[7],
            created_at=newest[8],
            lock_number=newest[9],
            null_version=newest[10],
            cursor=newest[11],
        )


def _forget(tx: Tx, row: Row, moment: Moment) -> None:
    """Delete a version's row and its reference; store its reply for repeats of the write that made it."""
    tx.run(files.DELETE_VERSION, version=row[2])
    s3_settings.drop_version_values(tx, row[2])
    if row[3] is not None:
        tx.run(files.DROP_REFERENCE, digest=row[3])
        remember(tx, row[13], PastAnswer(row[0], row[1], version=files.as_version(row, is_current=False)), moment)


def change_of(row: Row, event: str, cause: Cause, at: float) -> ObjectChange:
    """Describe a change to the version of that row, for features that act on changes."""
    return ObjectChange(event, cause, at, row[0], row[1], row[2], bool(row[10]), row[3], row[4], row[6])


def _journal(tx: Tx, kind: str, bucket: str, path: str, version: str, moment: Moment) -> int:
    row = tx.one(files.INSERT_JOURNAL, kind=kind, bucket=bucket, path=path, version=version, at=moment.at)
    assert row is not None
    return int(row[0])


def refer(tx: Tx, digest: Digest, size: int) -> None:
    """Count one more reference to the blob, by a version or a part. BadDigest for a size other than the known one."""
    if tx.run(files.ADD_REFERENCE, digest=digest):
        known = tx.one(files.BLOB, digest=digest)
        if known is not None and known[0] != size:
            raise BadDigest(f"blob {digest} has {known[0]} bytes, not {size}", digest=str(digest), size=known[0])
    else:
        tx.run(files.INSERT_BLOB, digest=digest, size=size)


def add_holders(tx: Tx, digest: Digest, servers: list[str]) -> None:
    """Record that `servers`, the master first, hold the whole blob: they have just sealed it."""
    known = {row[0]: row for row in tx.all(files.RANKED_HOLDERS, digest=digest)}
    rank = max((row[1] for row in known.values()), default=-1)
    for server in servers:
        if server not in known:
            rank += 1
            tx.run(files.INSERT_HOLDER, digest=digest, server_id=server, rank=rank)
        elif known[server][2]:
            tx.run(files.HEAL_HOLDER, of_digest=digest, of_server=server)
