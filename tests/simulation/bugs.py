"""Defects to put into the programs, one at a time, to see that the simulation and its checkers catch them.

Each replaces a few functions of the product for the length of a block, outside of the product's own code. A checker
that has never been seen to complain proves nothing; these are what it has been seen to complain about.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from client_proxy.core.directory_client import DirectoryClient
from client_proxy.core.read_leases import ReadLeases
from directory_server.api.file_servers import HolderApi
from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.files import commits, namespace, past_writes, writes
from directory_server.files.commits import Commits
from directory_server.files.new_version import NewVersion
from directory_server.files.versions import Versions
from directory_server.locks.lock_manager import LockManager
from directory_server.maintenance.garbage_collector import Collector
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statements import files, locks
from directory_server.read_leases import ledger
from directory_server.read_leases.ledger import LeaseLedger
from file_server.directory_link import DamageReports
from file_server.store.local.chunk_files import ChunkFiles
from file_server.store.local.chunk_index import ChunkIndex
from file_server.writes.replication import Replication
from file_server.writes.small_write_sender import SmallWriteQueue
from lockstep_store.runtime.storage.group_commit import GroupCommit
from lockstep_store.wire.messages.files import DeleteReply
from tests.simulation.network import Conditions
from tests.simulation.threads import Event, Thread, process_now, running, wall

Put = Callable[[Any, str, Any], None]


@dataclass(frozen=True)
class Bug:
    """`install(put)` calls `put(owner, name, replacement)`; `profile` is where the bug shows soonest.

    `rare`: it takes several seeds to show itself, so it is tried in the long form only. `shown_by`: a seed in which it
    has shown itself, tried before the others; when the programs change, others may take its place.
    """

    name: str
    install: Callable[[Put], None]
    profile: dict[str, Any] = field(default_factory=dict)
    rare: bool = False
    shown_by: int = 0

    @contextlib.contextmanager
    def switched_on(self) -> Iterator[None]:
        """Put the bug into the programs inside the block."""
        undo: list[tuple[Any, str, Any]] = []

        def put(owner: Any, name: str, replacement: Any) -> None:
            undo.append((owner, name, owner.__dict__[name]))
            setattr(owner, name, replacement)

        try:
            self.install(put)
            yield
        finally:
            for owner, name, old in reversed(undo):
                setattr(owner, name, old)


# ---------------------------------------------------------------- durability


def _acknowledge_before_fsync(put: Put) -> None:
    def sync(self: Any, descriptor: int) -> None:
        process_now().facts["descriptors"].pop(descriptor, None)
        self._room.release()

    put(ChunkFiles, "_sync", sync)


def _forget_folder_fsync(put: Put) -> None:
    put(ChunkFiles, "_settle", lambda self, folders: None)
    original = ChunkFiles.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self._disk = _WithoutFolderSync(self._disk)

    put(ChunkFiles, "__init__", init)


class _WithoutFolderSync:
    def __init__(self, disk: Any) -> None:
        self._real = disk

    def sync_folder(self, folder: Any) -> None:
        """The bug."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _acknowledge_before_commit(store: type) -> Callable[[Put], None]:
    """Replies leave a moment before the shared transaction is committed."""

    def install(put: Put) -> None:
        original = GroupCommit.submit

        def submit(self: Any, work: Callable[[Any], Any]) -> Any:
            if self._open.__qualname__.split(".")[0] != store.__name__:
                return original(self, work)
            answered, result, errors = Event(), list[Any](), list[BaseException]()

            def early(tx: Any) -> Any:
                try:
                    result.append(work(tx))
                except Exception as error:
                    errors.append(error)
                    raise
                finally:
                    answered.set()
                running().sleep(0.3)

            def commit() -> None:
                try:
                    original(self, early)
                except Exception as error:
                    errors.append(error)
                answered.set()

            Thread(target=commit).start()
            answered.wait()
            if errors:
                raise errors[0]
            return result[0]

        put(GroupCommit, "submit", submit)

    return install


def _commit_without_replicas(put: Put) -> None:
    def settle(self: Any, manifest: Any, own_id: str) -> list[str]:
        return [own_id, *(replica.id for replica, _ in self._pending)]

    put(Replication, "settle", settle)


def _lose_a_replica_push(put: Put) -> None:
    def deliver(self: Any, batch: list[Any]) -> None:
        for pending in batch:
            pending.finish(None)

    put(SmallWriteQueue, "_deliver", deliver)


def _count_fewer_copies(put: Put) -> None:
    put(Commits, "_counted_holders", lambda self, tx, item, ticket, server_id: [server_id])


def _damage_is_not_reported(put: Put) -> None:
    put(DamageReports, "add", lambda self, holder, blobs: None)


def _collect_what_is_referred_to(put: Put) -> None:
    put(Collector, "drop_in", lambda self, tx, server_id, digest: True)


def _reports_are_ignored(put: Put) -> None:
    put(HolderApi, "_commit", lambda self, request, peer: self._components.commits.commit(request.items, peer.id))


# ---------------------------------------------------------------- order


def _skip_lock_number(put: Put) -> None:
    put(LockManager, "check_write", lambda self, tx, bucket, path, account, lock_number: lock_number or 0)


def _skip_conditions(put: Put) -> None:
    for module in (commits, namespace, writes):
        put(module, "check_preconditions", lambda place, path, wanted: None)


def _repeated_commit_writes_again(put: Put) -> None:
    numbers = itertools.count()
    original = Versions.put

    def again(self: Any, tx: Any, bucket: Any, new: Any, *args: Any) -> Any:
        fresh = NewVersion(**{**vars(new), "write_id": f"{new.write_id}-{next(numbers)}"})
        return original(self, tx, bucket, fresh, *args)

    put(past_writes, "written_before", lambda reader, write_id, bucket, path: None)
    put(Versions, "put", again)


def _new_write_id_for_each_try(put: Put) -> None:
    original = DirectoryClient.begin

    def begin(self: Any, item: Any) -> Any:
        return original(self, msgspec.structs.replace(item, write_id=running().random.randbytes(12).hex()))

    put(DirectoryClient, "begin", begin)


def _cache_without_validating(put: Put) -> None:
    original = DirectoryClient.lookup_at

    def lookup_at(self: Any, item: Any) -> Any:
        kept = self.__dict__.setdefault("kept_by_bug", {})
        if item.path not in kept or running().now - kept[item.path][0] > 2.0:
            kept[item.path] = (running().now, original(self, item))
        return kept[item.path][1]

    put(DirectoryClient, "lookup_at", lookup_at)


def _join_a_lookup_already_sent(put: Put) -> None:
    original = DirectoryClient.lookup_at

    def lookup_at(self: Any, item: Any) -> Any:
        sent = self.__dict__.setdefault("sent_by_bug", {})
        mine = sent.get(item.path)
        if mine is not None:
            mine[0].wait()
            if mine[1]:
                return mine[1][0]
        mine = sent[item.path] = (Event(), [])
        try:
            mine[1].append(original(self, item))
            return mine[1][0]
        finally:
            sent.pop(item.path, None)
            mine[0].set()

    put(DirectoryClient, "lookup_at", lookup_at)


def _delete_is_only_said(put: Put) -> None:
    def delete(self: Any, tx: Any, bucket: Any, path: str, *_: Any, **__: Any) -> DeleteReply:
        current = tx.one(files.CURRENT, bucket=bucket.name, path=path)
        return DeleteReply(files.read_cursor(tx), current is not None)

    put(Versions, "delete", delete)


def _list_from_before(put: Put) -> None:
    """The proxy answers a list from the last one."""
    original = DirectoryClient.call

    def call(self: Any, call: Any, request: Any) -> Any:
        if call.path != "/v1/list":
            return original(self, call, request)
        kept = self.__dict__.get("list_by_bug")
        self.__dict__["list_by_bug"] = fresh = original(self, call, request)
        return kept or fresh

    put(DirectoryClient, "call", call)


# ---------------------------------------------------------------- locks


def _lock_numbers_in_memory(put: Put) -> None:
    def next_number(tx: Any) -> int:
        facts = process_now().facts
        facts["number_by_bug"] = number = facts.get("number_by_bug", 0) + 1
        return int(number)

    put(locks, "next_number", next_number)


def _locks_end_at_restart(put: Put) -> None:
    original = LockManager.start

    def start(self: Any) -> None:
        def end_all(tx: Any) -> None:
            for lock in locks.all_locks(tx):
                locks.delete_lock(tx, lock)

        self._store.write(end_all)
        original(self)

    put(LockManager, "start", start)


def _leases_by_the_wall_clock(put: Put) -> None:
    put(DirectoryClock, "now", lambda self: self._clock.wall() - 1_799_900_000.0)


def _grant_what_is_held(put: Put) -> None:
    def is_taken(reader: Any, path: Any) -> bool:
        lock = locks.lock_on(reader, path)
        if lock is not None:
            locks.delete_lock(reader, lock)
        return False

    put(locks, "is_taken", is_taken)


# ---------------------------------------------------------------- read leases


def _break_is_not_awaited(put: Put) -> None:
    def break_now(self: Any, keys: Any) -> None:
        if self._start_break(keys):
            self._changed.notify_all()

    put(LeaseLedger, "_break", break_now)


def _rights_break_nothing(put: Put) -> None:
    original = ledger.changed_keys

    def without_rights(changes: str) -> frozenset[tuple[str, ...]]:
        return frozenset(key for key in original(changes) if key[0] in ("path", "version", "blob"))

    put(ledger, "changed_keys", without_rights)


def _leases_are_timed_by_the_wall_clock(put: Put) -> None:
    original = ReadLeases.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.elapsed = wall

    put(ReadLeases, "__init__", init)


def _a_grant_may_come_after_its_break(put: Put) -> None:
    original = ReadLeases.keep

    def keep(self: Any, session: Any, lease: Any, *args: Any) -> None:
        original(self, session, msgspec.structs.replace(lease, as_of=1 << 60), *args)

    put(ReadLeases, "keep", keep)


def _a_commit_may_overtake_a_grant(put: Put) -> None:
    original = LeaseLedger._granted
    put(LeaseLedger, "_granted", lambda self, session, offer, overtaken: original(self, session, offer, frozenset()))


POWER = {"kinds": ("all_power",), "faults": 4, "servers": 3, "operations": 14, "people": 4, "linger": 0.0}
CRASHES = {"kinds": ("crash",), "faults": 6, "servers": 3, "operations": 20, "people": 4}
DIRECTORY_CRASHES = {"kinds": ("directory_crash",), "faults": 5, "operations": 20, "people": 4, "paths": 1}
QUIET = {"faults": 0, "operations": 20, "people": 4, "paths": 1}
LOSSES = {"faults": 0, "operations": 20, "people": 4, "conditions": Conditions(0.002, 0.0, 0.15)}
HANGS = {"kinds": ("hang",), "faults": 8, "servers": 4, "operations": 40, "people": 4, "suspect_seconds": 8.0}
HOT = {"faults": 0, "operations": 20, "people": 4, "paths": 1, "proxies": 2}
HOT_SLOW = {**HOT, "conditions": Conditions(0.05), "operations": 30}
HOT_ASTRAY = {**HOT, "kinds": ("astray",), "faults": 8}

BUGS = [
    Bug("acknowledge before fsync", _acknowledge_before_fsync, POWER, shown_by=6),
    Bug("forget the folder's fsync", _forget_folder_fsync, POWER, rare=True),
    Bug("directory answers before its commit", _acknowledge_before_commit(SqliteStore), DIRECTORY_CRASHES),
    Bug("file server answers before its index commits", _acknowledge_before_commit(ChunkIndex), POWER, rare=True),
    Bug("commit without waiting for replicas", _commit_without_replicas, CRASHES),
    Bug("lose a replica push", _lose_a_replica_push, QUIET),
    Bug("count fewer copies than promised", _count_fewer_copies, CRASHES),
    Bug("damage is found and not reported", _damage_is_not_reported,
        {"kinds": ("rot",), "faults": 12, "servers": 2, "operations": 20, "people": 4, "linger": 60.0}, rare=True),
    Bug("collect what versions refer to", _collect_what_is_referred_to,
        {"faults": 0, "linger": 60.0, "ticket_seconds": 8.0}, rare=True),
    Bug("a report of a hung replica is ignored", _reports_are_ignored, HANGS, shown_by=2),
    Bug("skip the lock number", _skip_lock_number, QUIET),
    Bug("skip the conditions", _skip_conditions, QUIET),
    Bug("a repeated commit writes again", _repeated_commit_writes_again, LOSSES),
    Bug("a new write id for each try", _new_write_id_for_each_try, LOSSES, rare=True),
    Bug("serve the cache without validating", _cache_without_validating, QUIET),
    Bug("join a lookup already sent", _join_a_lookup_already_sent,
        {**QUIET, "proxies": 1, "people": 5, "conditions": Conditions(0.3), "operations": 40}, rare=True),
    Bug("a delete is only said", _delete_is_only_said, QUIET),
    Bug("list from before", _list_from_before, {**QUIET, "proxies": 1}, rare=True),
    Bug("lock numbers only in memory", _lock_numbers_in_memory, DIRECTORY_CRASHES),
    Bug("locks end at a restart", _locks_end_at_restart, DIRECTORY_CRASHES, rare=True),
    Bug("leases by the wall clock", _leases_by_the_wall_clock,
        {"kinds": ("step_clock",), "faults": 12, "operations": 20, "people": 4, "paths": 1}, rare=True),
    Bug("grant what is held", _grant_what_is_held, QUIET),
    Bug("acknowledge before a lease's break is confirmed", _break_is_not_awaited, HOT, shown_by=8),
    Bug("rights break no lease", _rights_break_nothing, HOT),
    Bug("read leases by the wall clock", _leases_are_timed_by_the_wall_clock, HOT_ASTRAY, rare=True),
    Bug("a lease is used although its break came first", _a_grant_may_come_after_its_break, HOT_SLOW, rare=True),
    Bug("a lease is granted on an overtaken snapshot", _a_commit_may_overtake_a_grant, HOT_SLOW, rare=True),
]  # fmt: skip
