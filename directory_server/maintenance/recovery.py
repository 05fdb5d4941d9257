"""Recovery: finds what happened after the backup that a directory was restored from.

A file server's blobs are not collected until it has reported everything it holds. It sends its notes of commits made
after the backup, and the directory recreates those versions with their old ids. Blobs without a note are kept until an
administrator decides. Each server reports separately, whenever it returns. restore.py made the jumps that keep numbers
from repeating.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import field
from prometheus_client import Counter

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.files.hooks import Hooks
from directory_server.files.moment import Moment
from directory_server.files.new_version import NewVersion
from directory_server.files.versions import Versions, version_id
from directory_server.metadata.statements import buckets, files, people, recovery, servers
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.statements.recovery import Unnamed
from directory_server.metadata.store import ConstraintBroken, MetadataStore, Reader, Tx
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadDigest, BadRequest, Conflict
from lockstep_store.wire.messages.base import Message
from lockstep_store.wire.messages.buckets import Versioning
from lockstep_store.wire.messages.recovery import RecoverRequest, RecoveryInfo, RecoverySource
from lockstep_store.wire.messages.redo import RedoPlace
from lockstep_store.wire.messages.servers import CommitNote, FoundReply, FoundRequest
from lockstep_store.wire.names import check_bucket, check_key

STATE_SETTING = "recovery"
FENCE_FLOOR_SETTING = "fence_floor"
LOCK_NUMBER_JUMP = 1_000_000
RECOVERED_BUCKET = "recovered"
BATCH = 200

RECOVERED = Counter("lockstep_directory_recovered_versions", "Versions made again after a restore, from file servers")


class RecoveryState(Message):
    """The progress of a recovery, stored as a setting. Its cursors bound the versions that may be missing."""

    backup_made_at: float
    restored_at: float
    backup_cursor: int
    """The newest change in the backup."""
    through: int
    """Where the journal continues. Changes between were lost with the old directory."""
    done: list[str] = []
    """File servers that have reported everything."""
    finished: bool = False
    recovered: int = 0
    source: RecoverySource = "backup"
    redo: RedoPlace = field(default_factory=RedoPlace)
    """File servers' redo records behind this place may be replayed; sequence 0: no longer."""
    replayed: int = 0


_states = decoder(RecoveryState)
decode_state = _states.decode


class Floor(Protocol):
    """The part of the lock manager that recovery raises."""

    fence_floor: int


class Recovery:
    """Recreates lost versions from file servers' reports. `held` counts copies (RepairPlanner.held). Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        locks: Floor,
        held: Callable[[str, Sequence[Digest]], object],
        hooks: Hooks,
    ) -> None:
        self._store = store
        self._clock = clock
        self._locks = locks
        self._held = held
        self._versions = Versions(hooks)
        self._mutex = threading.Lock()
        with store.read() as reader:
            stored = people.read_setting(reader, STATE_SETTING)
            locks.fence_floor = int(people.read_setting(reader, FENCE_FLOOR_SETTING) or 0)
        self._state = _states.decode(stored) if stored else None

    # ------------------------------------------------------------ file servers that have yet to report

    @property
    def state(self) -> RecoveryState | None:
        """The progress; None if the directory was never restored."""
        return self._state

    def covers(self, server_id: str) -> bool:
        """Whether the file server has yet to report; until then nothing it holds is collected."""
        state = self._state
        return state is not None and not state.finished and server_id not in state.done

    def keeps(self, tx: Reader, server_id: str, digest: Digest) -> bool:
        """Whether recovery forbids collecting the copy."""
        if self._state is None:
            return False
        return self.covers(server_id) or (servers.find_blob(tx, digest) is None and _is_unnamed(tx, digest))

    def keep_unknown(self, server_id: str) -> None:
        """Keep the blobs of a file server whose storage is unknown here: have it report everything, and collect none of
        that until an administrator decides. Durable on return."""
        if self._state is None:
            now = self._clock.wall()
            with self._store.read() as reader:
                known = [row.id for row in servers.all_servers(reader) if row.id != server_id]
            state = RecoveryState(now, now, 0, 0, known, source="unknown")
            with self._mutex:
                self._store.write(lambda tx: people.write_setting(tx, STATE_SETTING, encode(state).decode()))
                self._state = state
        elif not self._state.finished and server_id in self._state.done:
            self._change(lambda state: state.done.remove(server_id))
        log.warning("file_server-%s has blobs in a storage that is unknown here; they are kept", server_id)

    def server_done(self, server_id: str) -> None:
        """Note that the server has reported everything. Durable on return."""
        if self.covers(server_id):
            self._change(lambda state: state.done.append(server_id))
            log.info("recovery: file_server-%s has reported everything it holds", server_id)

    def note_fence(self, server_id: str, highest: int) -> None:
        """Raise the lock counter and the fence floor above `highest`, the highest that a registering server saw."""
        if not self.covers(server_id):
            return

        def work(tx: Tx) -> int | None:
            if highest <= recovery.lock_number(tx):
                return None
            floor = highest + LOCK_NUMBER_JUMP
            recovery.raise_lock_number(tx, floor)
            people.write_setting(tx, FENCE_FLOOR_SETTING, str(floor))
            return floor

        floor = self._store.write(work)
        if floor is not None:
            self._locks.fence_floor = max(self._locks.fence_floor, floor)

    def _change(self, change: Callable[[RecoveryState], object]) -> None:
        self.change(lambda _, state: change(state))

    def change(self, work: Callable[[Tx, RecoveryState], object]) -> None:
        """Change the state, and in the same transaction what goes with it. Durable on return."""
        with self._mutex:
            assert self._state is not None
            state = _states.decode(encode(self._state))

            def write(tx: Tx) -> None:
                work(tx, state)
                people.write_setting(tx, STATE_SETTING, encode(state).decode())

            self._store.write(write)
            self._state = state

    # ------------------------------------------------------------ reports of file servers

    def found(self, server_id: str, request: FoundRequest) -> FoundReply:
        """FOUND: recreate versions that the directory lacks, and keep blobs that no version names.

        Safe to repeat. A version that was removed after the restore stays removed while its write id is remembered.
        """
        state = self._state
        if state is None or not self.covers(server_id):
            return FoundReply(0)

        def work(tx: Tx) -> tuple[list[Digest], list[Unnamed]]:
            notes = sorted(request.notes, key=lambda note: note.version.cursor)
            made = [note.version.digest for note in notes if self._try_to_recreate(tx, state, note)]
            for blob in request.blobs:
                if servers.find_blob(tx, blob.digest) is None:
                    recovery.add_unnamed(tx, Unnamed(blob.digest, server_id, blob.size))
            return made, _take_named(tx, [*made, *(blob.digest for blob in request.blobs)])

        made, named = self._store.write(work)
        copies = [*named, *(Unnamed(note.version.digest, server_id, 0) for note in request.notes)]
        self._count(copies, {blob.digest for blob in request.blobs}, server_id)
        if made:
            RECOVERED.inc(len(made))
            self._change(lambda changed: setattr(changed, "recovered", changed.recovered + len(made)))
        return FoundReply(len(made))

    def _count(self, copies: Iterable[Unnamed], also: set[Digest], server_id: str) -> None:
        """Count copies of blobs with references; leave the others alone."""
        by_server: dict[str, dict[Digest, None]] = {server_id: dict.fromkeys(also)}
        for copy in copies:
            by_server.setdefault(copy.server_id, {})[copy.digest] = None
        for id, digests in by_server.items():
            with self._store.read() as reader:
                referred = [d for d in digests if (blob := servers.find_blob(reader, d)) and blob.refs > 0]
            for start in range(0, len(referred), BATCH):
                self._held(id, referred[start : start + BATCH])

    def _try_to_recreate(self, tx: Tx, state: RecoveryState, note: CommitNote) -> bool:
        """Recreate one version; skip a note that does not fit, or its file server could never finish."""
        try:
            with tx.savepoint():
                return self._recreate(tx, state, note)
        except (BadRequest, BadDigest, ConstraintBroken) as error:
            log.warning("cannot recreate a version of %s/%s: %s", note.version.bucket, note.version.path, error)
            return False

    def _recreate(self, tx: Tx, state: RecoveryState, note: CommitNote) -> bool:
        version = note.version
        if not state.backup_cursor < version.cursor <= state.through or version.delete_marker:
            return False
        if version.version != version_id(version.cursor):
            return False
        check_bucket(version.bucket)
        check_key(version.path)
        if tx.one(files.WRITE_BEFORE, write_id=note.write_id):
            return False
        blob = servers.find_blob(tx, version.digest)
        if blob is not None and blob.size != version.size:
            return False
        without: Versioning = "suspended" if version.bucket_versioning == "suspended" else "off"
        bucket = self._bucket(tx, version.bucket, version.author, without if version.null_version else "enabled")
        return self._versions.put_back(tx, bucket, version, note.write_id, self._moment())

    def _bucket(self, tx: Tx, name: str, author: str, versioning: Versioning) -> Bucket:
        """Return the bucket; if the backup lacks it, create it, private because its sharing is unknown."""
        found = buckets.find(tx, name)
        if found is None:
            # If the account is gone, its name could be taken by somebody else, who must not own this bucket.
            known = tx.one(people.ACCOUNT, name=author) is not None
            owner = author if known else recovery.first_administrator(tx)
            at = self._clock.wall()
            buckets.insert_bucket(tx, Bucket(name, owner, versioning, False, at))
        elif versioning == "enabled" and found.versioning == "off":
            # With versioning off, deleting the current version would make an older one current again.
            buckets.change_bucket(tx, name, versioning, shared=found.shared)
        return buckets.require(tx, name)

    # ------------------------------------------------------------ decisions of administrators

    def decide(self, request: RecoverRequest, administrator: str) -> RecoveryInfo | None:
        """Carry out an administrator's decision; return the progress after it."""
        if self._state is None:
            raise Conflict("nothing to recover: this directory was not restored from a backup")
        if request.unnamed == "name":
            self._in_batches(lambda tx: self._name_some(tx, administrator))
        elif request.unnamed == "drop":
            self._in_batches(self._drop_some)
        if request.finish:
            self._change(lambda state: setattr(state, "finished", True))
        return self.info()

    def _in_batches(self, work: Callable[[Tx], list[Unnamed]]) -> None:
        while rows := self._store.write(work):
            self._count(rows, set(), rows[0].server_id)

    def _name_some(self, tx: Tx, administrator: str) -> list[Unnamed]:
        """Make files, named by digest, of a batch of unnamed blobs; return the copies that are named now."""
        rows = recovery.some_unnamed(tx, BATCH)
        bucket = self._bucket(tx, RECOVERED_BUCKET, administrator, "off") if rows else None
        for digest, size in {row.digest: row.size for row in rows}.items():
            assert bucket is not None
            if not people.is_admin(tx, bucket.owner):
                raise Conflict(
                    f"recovered files go into bucket {RECOVERED_BUCKET!r}, but {bucket.owner}, its owner, is not an "
                    "administrator; empty and delete the bucket first"
                )
            if servers.find_blob(tx, digest) is None:
                write_id = f"recover-{digest.hex()[:48]}"
                new = NewVersion(digest.hex(), digest, size, administrator, write_id)
                self._versions.put(tx, bucket, new, "recover", self._moment())
        return _take_named(tx, {row.digest for row in rows})

    def _drop_some(self, tx: Tx) -> list[Unnamed]:
        rows = recovery.some_unnamed(tx, BATCH)
        for row in rows:
            recovery.forget_unnamed(tx, row.digest)
        return rows

    # ------------------------------------------------------------ progress

    def info(self) -> RecoveryInfo | None:
        """Return the progress, for people; None if the directory was never restored."""
        state = self._state
        if state is None:
            return None
        with self._store.read() as reader:
            known = [row.id for row in servers.all_servers(reader) if row.state != "removed"]
            blobs, size = recovery.count_unnamed(reader)
        waiting = [] if state.finished else [id for id in known if id not in state.done]
        return RecoveryInfo(
            restored_at=state.restored_at,
            backup_made_at=state.backup_made_at,
            backup_cursor=state.backup_cursor,
            waiting_for=waiting,
            finished=state.finished or (bool(known) and not waiting),
            recovered_versions=state.recovered,
            source=state.source,
            replayed_records=state.replayed,
            unnamed_blobs=blobs,
            unnamed_bytes=size,
        )

    def _moment(self) -> Moment:
        return Moment(self._clock.wall(), self._clock.now())


def _is_unnamed(reader: Reader, digest: Digest) -> bool:
    return bool(recovery.unnamed_of(reader, digest))


def _take_named(tx: Tx, digests: Iterable[Digest]) -> list[Unnamed]:
    """Return the unnamed copies among these that a version refers to now; forget that they were unnamed."""
    named: list[Unnamed] = []
    for digest in dict.fromkeys(digests):
        blob = servers.find_blob(tx, digest)
        if blob is not None and blob.refs > 0:
            named += recovery.unnamed_of(tx, digest)
            recovery.forget_unnamed(tx, digest)
    return named
