"""How versions come and go: the steps that every write is made of, each inside the caller's transaction.

Kept true together here: the version rows, the current pointer, the blobs' reference counts, and the answers that a
repeated call must hear. Who may write, locks, tickets and copies are settled before, in `namespace`, `writes` and
`commits`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from directory_server.features import object_lock
from directory_server.files.buckets import Bucket
from directory_server.files.object_changes import UNKNOWN, Cause, ObjectChange, created, removed
from directory_server.metadata.statements import files, s3_settings
from directory_server.metadata.store import Reader, Row, Tx
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadDigest, BadRequest, Damaged, PreconditionFailed, TicketRefused, TooFewHolders
from lockstep_store.wire.messages.files import DeleteReply, FileVersion, Message, Preconditions
from lockstep_store.wire.messages.journal import ChangeKind
from lockstep_store.wire.messages.kms import KMS_FACT
from lockstep_store.wire.messages.s3 import CUSTOMER_KEY_FACT
from lockstep_store.wire.messages.uploads import PARTS_SETTING

NULL_VERSION = "null"
MAX_NOTED_SETTING = 4096
"""Characters of a setting that goes into commit notes; what is longer, such as a list of parts, holds nothing back. But
under a key (SSE-C, SSE-KMS) the list of parts has what it takes to read them, so it is noted whatever its length."""
_ID_DIGITS = 16


class PastAnswer(Message):
    """What a write answered whose version row is gone, or may be."""

    bucket: str
    path: str
    version: FileVersion | None = None
    deleted: DeleteReply | None = None
    given_up: bool = False
    """It was never committed, and never will be."""


_past_answers = decoder(PastAnswer)


@dataclass(frozen=True)
class Moment:
    """When a transaction takes place: `at` for people, `time` (directory time) for decisions, `calendar` for what a
    date decides (see object_lock). Without a calendar no date is ever over."""

    at: float
    time: float
    calendar: float = 0.0


@dataclass(frozen=True)
class NewVersion:
    """What a write makes. `metadata` as stored; without a digest it is a delete marker."""

    path: str
    digest: Digest | None
    size: int
    author: str
    write_id: str
    content_type: str = ""
    metadata: str = files.NO_METADATA
    lock_number: int = 0
    settings: dict[str, str] = field(default_factory=dict)


def version_id(cursor: int) -> str:
    """The id of the version that the change at `cursor` made."""
    return f"{cursor:0{_ID_DIGITS}d}"


def find(reader: Reader, bucket: str, path: str, version: str) -> Row | None:
    """The version of that path with the id `version`, or the one written without versioning for "null"."""
    if version == NULL_VERSION:
        return reader.one(files.NULL_VERSION, bucket=bucket, path=path)
    return reader.one(files.VERSION, bucket=bucket, path=path, version=version)


def answer_of(reader: Reader, write_id: str, bucket: str, path: str) -> PastAnswer | None:
    """What this very write answered before, if it was committed; BadRequest when the id was another write's."""
    stored = reader.one(files.PAST_WRITE, write_id=write_id)
    if stored is not None:
        past = _past_answers.decode(stored[0])
    else:
        row = reader.one(files.VERSION_OF_WRITE, write_id=write_id)
        if row is None:
            return None
        past = PastAnswer(row[0], row[1], version=files.as_version(row))
    if (past.bucket, past.path) != (bucket, path):
        raise BadRequest("this write id was used for another write; make a new one for each write")
    return past


def written_before(reader: Reader, write_id: str, bucket: str, path: str) -> FileVersion | None:
    """The version that this very write made; BadRequest when the id was a delete's."""
    past = answer_of(reader, write_id, bucket, path)
    if past is None:
        return None
    if past.given_up:
        raise TicketRefused("this write was given up by the proxy that began it; begin a new one")
    if past.version is None or past.version.delete_marker:
        raise BadRequest("this write id was used for a delete; make a new one for each write")
    return past.version


def give_up(tx: Tx, write_id: str, bucket: str, path: str, moment: Moment) -> FileVersion | None:
    """Let this write never be committed; its version when it was already. Safe to repeat."""
    past = answer_of(tx, write_id, bucket, path)
    if past is None:
        remember(tx, write_id, PastAnswer(bucket, path, given_up=True), moment)
    return past.version if past is not None else None


def standing_copies(reader: Reader, version: FileVersion, promised: int) -> int:
    """How many copies there are now of a version that this very write made before.

    TooFewHolders while they are fewer than promised, because a disk was lost meanwhile: nobody hears "done" then.
    """
    copies = len(reader.all(files.HOLDERS, digest=version.digest))
    if copies < promised:
        raise TooFewHolders(
            f"version {version.version} of {version.path!r} was written, but {promised - copies} of its {promised} "
            "copies were lost since; ask again when repair has made them",
            up=copies,
            needed=promised,
        )
    return copies


def deleted_before(reader: Reader, write_id: str, bucket: str, path: str) -> DeleteReply | None:
    """The answer of this very delete; BadRequest when the id was a write's."""
    past = answer_of(reader, write_id, bucket, path)
    if past is not None and past.deleted is None:
        raise BadRequest("this write id was used for a write; make a new one for each request")
    return past.deleted if past is not None else None


def check_preconditions(current: Row | None, wanted: Preconditions) -> None:
    """PreconditionFailed unless the path's current version (None: there is none) is as the caller asked for."""
    if wanted.if_match is None and wanted.if_none_match is None and wanted.if_version is None:
        return
    digest = Digest(current[3]).hex() if current is not None else None
    facts = {"digest": digest, "version": current[2] if current is not None else None}
    matching = wanted.if_match
    if matching is not None and (digest is None or not ("*" in matching or digest in matching)):
        what = "there is no such file" if digest is None else "it has other content now"
        raise PreconditionFailed(f"the file is not as the request expects: {what}", **facts)
    excluded = wanted.if_none_match
    if excluded is not None and digest is not None and ("*" in excluded or digest in excluded):
        raise PreconditionFailed("the file is not as the request expects: it exists already", **facts)
    if wanted.if_version is not None:
        is_null = wanted.if_version == NULL_VERSION and current is not None and bool(current[10])
        if not is_null and wanted.if_version != facts["version"]:
            raise PreconditionFailed("the file is not as the request expects: another version is current", **facts)


def put(
    tx: Tx, bucket: Bucket, new: NewVersion, kind: ChangeKind, moment: Moment, cause: Cause = UNKNOWN
) -> FileVersion:
    """Make `new` its path's current version (or current delete marker), and journal it as `kind`."""
    current = tx.one(files.CURRENT, bucket=bucket.name, path=new.path)
    cursor = _journal(tx, kind, bucket.name, new.path, "", moment)
    null = bucket.versioning != "enabled"
    if null:
        replaced = tx.one(files.NULL_VERSION, bucket=bucket.name, path=new.path)
        if replaced is not None:
            object_lock.check_removal(tx, replaced, moment)
            _forget(tx, replaced, moment)
    id = version_id(cursor)
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
        "null_version": null,
        "cursor": cursor,
    }
    tx.run(files.INSERT_VERSION, id=id, write_id=new.write_id, delete_marker=new.digest is None, **shared)
    if new.digest is not None:
        tx.run(files.INSERT_CURRENT if current is None else files.UPDATE_CURRENT, version=id, **shared)
        refer(tx, new.digest, new.size)
    elif current is not None:
        tx.run(files.DELETE_CURRENT, bucket=bucket.name, path=new.path)
    row = (
        bucket.name,
        new.path,
        id,
        new.digest,
        new.size,
        new.content_type,
        new.metadata,
        new.author,
        moment.at,
        new.lock_number,
        null,
        cursor,
        new.digest is None,
    )
    if null and replaced is not None:
        # After the write: whoever follows the journal never sees the path without a version in between.
        _journal(tx, "remove", bucket.name, new.path, replaced[2], moment)
    made = files.as_version(row)
    if new.digest is not None:
        settings = object_lock.settings_of_new(tx, bucket, new.settings, moment.at)
        for name, value in settings.items():
            s3_settings.put_version_value(tx, id, name, value)
        # In the answer too, which the master notes down for a directory that has to be made again.
        made.settings = {name: value for name, value in settings.items() if _is_noted(name, value, new.metadata)}
    event = created(kind, cause) if new.digest is not None else removed(cause, by_marker=True)
    tx.tell(change_of(row, event, cause, moment.at))
    made.created = current is None
    made.bucket_versioning = bucket.versioning
    return made


def _is_noted(name: str, value: str, metadata: str) -> bool:
    if name == PARTS_SETTING and (CUSTOMER_KEY_FACT in metadata or KMS_FACT in metadata):
        return True
    return len(value) <= MAX_NOTED_SETTING


def remove(tx: Tx, row: Row, moment: Moment, *, bypass_governance: bool = False, cause: Cause = UNKNOWN) -> int:
    """Remove one version for good (a row of `find`); the next newest becomes current. The journal cursor.

    Forbidden while an object lock holds it. There is no other way for a version to go.
    """
    object_lock.check_removal(tx, row, moment, bypass=bypass_governance)
    bucket, path = row[0], row[1]
    cursor = _journal(tx, "remove", bucket, path, row[2], moment)
    _forget(tx, row, moment)
    _point_to_newest(tx, bucket, path)
    tx.tell(change_of(row, removed(cause), cause, moment.at))
    return cursor


def put_back(tx: Tx, bucket: Bucket, version: FileVersion, write_id: str, moment: Moment) -> bool:
    """Make the row again of a version that was committed before this directory's backup was restored, with its old
    id; it becomes current if it is the newest. False when a newer one, or one that is held, has its place."""
    replaced = tx.one(files.NULL_VERSION, bucket=bucket.name, path=version.path) if version.null_version else None
    if replaced is not None:
        if replaced[2] > version.version or object_lock.is_held(tx, replaced, moment):
            return False
        _forget(tx, replaced, moment)
    cursor = _journal(tx, "recover", bucket.name, version.path, version.version, moment)
    if replaced is not None:
        _journal(tx, "remove", bucket.name, version.path, replaced[2], moment)
    tx.run(
        files.INSERT_VERSION,
        id=version.version,
        bucket=bucket.name,
        path=version.path,
        digest=version.digest,
        size=version.size,
        content_type=version.content_type,
        metadata=files.as_stored(version.metadata),
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
    row = find(tx, bucket.name, version.path, version.version)
    assert row is not None
    # Whether it was told before the restore nobody knows.
    cause = Cause(version.author)
    tx.tell(change_of(row, created("recover", cause), cause, moment.at))
    return True


def _point_to_newest(tx: Tx, bucket: str, path: str) -> None:
    """The current pointer follows from the versions: the newest, unless that is a delete marker."""
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


def delete(
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
    """Let the path stop being current: by a delete marker where versions are kept, else by removing its version.

    A path that is not there is left alone, unless `mark_missing` asks for a marker all the same.
    """
    current = tx.one(files.CURRENT, bucket=bucket.name, path=path)
    existed = current is not None
    if bucket.versioning != "off" and (existed or mark_missing):
        made = put(tx, bucket, NewVersion(path, None, 0, author, write_id), "delete", moment, cause)
        reply = DeleteReply(made.cursor, existed, made.version, True, made.null_version)
    elif current is not None:
        # A bucket that never kept versions has exactly this one.
        row = find(tx, bucket.name, path, current[2])
        if row is None:
            raise Damaged(f"the current version of {bucket.name}/{path} is missing from the directory's metadata")
        reply = DeleteReply(remove(tx, row, moment, cause=cause), True, current[2], null_version=bool(row[10]))
    else:
        reply = DeleteReply(files.read_cursor(tx), False)
    remember_deletion(tx, write_id, bucket.name, path, reply, moment)
    return reply


def remember_deletion(tx: Tx, write_id: str, bucket: str, path: str, reply: DeleteReply, moment: Moment) -> None:
    """Keep a delete's answer for its repeats."""
    remember(tx, write_id, PastAnswer(bucket, path, deleted=reply), moment)


def _forget(tx: Tx, row: Row, moment: Moment) -> None:
    """Drop a version row (of `find`) and its reference; keep its answer for repeats of the write that made it."""
    tx.run(files.DELETE_VERSION, version=row[2])
    s3_settings.drop_version_values(tx, row[2])
    if row[3] is not None:
        tx.run(files.DROP_REFERENCE, digest=row[3])
        remember(tx, row[13], PastAnswer(row[0], row[1], version=files.as_version(row, is_current=False)), moment)


def remember(tx: Tx, write_id: str, answer: PastAnswer, moment: Moment) -> None:
    """Keep what a write answered, because its row goes."""
    tx.run(files.INSERT_PAST_WRITE, write_id=write_id, answer=encode(answer).decode(), done_time=moment.time)


def change_of(row: Row, event: str, cause: Cause, at: float) -> ObjectChange:
    """A change to a version (a row of `find`), for those who follow changes."""
    return ObjectChange(event, cause, at, row[0], row[1], row[2], bool(row[10]), row[3], row[4], row[6])


def _journal(tx: Tx, kind: str, bucket: str, path: str, version: str, moment: Moment) -> int:
    row = tx.one(files.INSERT_JOURNAL, kind=kind, bucket=bucket, path=path, version=version, at=moment.at)
    assert row is not None
    return int(row[0])


def refer(tx: Tx, digest: Digest, size: int) -> None:
    """One more version, or part of an upload, refers to the blob. BadDigest when its size is known otherwise."""
    if tx.run(files.ADD_REFERENCE, digest=digest):
        known = tx.one(files.BLOB, digest=digest)
        if known is not None and known[0] != size:
            raise BadDigest(f"blob {digest} has {known[0]} bytes, not {size}", digest=str(digest), size=known[0])
    else:
        tx.run(files.INSERT_BLOB, digest=digest, size=size)


def add_holders(tx: Tx, digest: Digest, servers: list[str]) -> None:
    """Record that `servers`, the master first, hold the blob now, whole: they have just sealed it."""
    known = {row[0]: row for row in tx.all(files.RANKED_HOLDERS, digest=digest)}
    rank = max((row[1] for row in known.values()), default=-1)
    for server in servers:
        if server not in known:
            rank += 1
            tx.run(files.INSERT_HOLDER, digest=digest, server_id=server, rank=rank)
        elif known[server][2]:
            tx.run(files.HEAL_HOLDER, of_digest=digest, of_server=server)
