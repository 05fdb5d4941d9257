"""Reads the journal for people: the changes after a cursor that they may see, in order, each once.

`versions` writes each row in the transaction of its change. This module reads rows and blocks callers until there are
some. It does not store how far anybody has read: the caller keeps the cursor.

A cursor never becomes visible before a smaller one, because the store's transactions run one after another and take
their cursors inside. An engine with concurrent transactions must assign cursors in commit order too, or readers would
miss a late change; tests/contract/test_journal_order.py checks that.
"""

from __future__ import annotations

import threading
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from directory_server.access.decisions import Standing, standing
from directory_server.files import versions
from directory_server.locks.waiting_callers import WaitingCallers
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import buckets, files, journal, quotas
from directory_server.metadata.store import MetadataStore, Reader, Row, Tx
from directory_server.people.person import Person
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import Conflict, NotFound, Overloaded
from lockstep_store.wire.messages.journal import Change, ChangesReply, ChangesRequest
from lockstep_store.wire.names import TENANT_SEPARATOR

MAX_BLOCKED = 32
STEP_ROWS = 10_000
STEPS = 8
"""One read examines at most STEPS × STEP_ROWS rows, so that a person who may see few of them costs others little."""
_ANY_COMMIT = ("", "")


class Authenticator(Protocol):
    """Finds the person that a credential belongs to."""

    def authenticate(self, credential: str) -> Person: ...


@dataclass(frozen=True)
class _Look:
    reply: ChangesReply
    at_end: bool


class Changes:
    """Reads changes. At most `max_blocked` callers wait at a time, each on its own thread. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        people: Authenticator,
        *,
        max_blocked: int = MAX_BLOCKED,
        step_rows: int = STEP_ROWS,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._people = people
        self._step_rows = step_rows
        self._monotonic = monotonic
        self._wall = wall
        self._on_hold = WaitingCallers(max_blocked)
        self._guard = threading.Lock()
        self._followers: Counts[str] = Counts()
        self._newest = 0
        store.last_in_each_transaction(self._wake_after)

    def close(self) -> None:
        """Answer all waiting callers; their cursors stay valid."""
        self._on_hold.close()

    def read(self, request: ChangesRequest) -> ChangesReply:
        """Return the changes after `request.cursor`, waiting for the first one if the request asks for that.

        The reply may be empty although there are more: its cursor has then passed changes that the person may not see.
        For one bucket it raises NotFound or Forbidden as its files would; Conflict for a cursor that never existed.
        """
        person = self._people.authenticate(request.credential)
        found = self._look(person, request, request.cursor)
        if found.reply.changes or not found.at_end or not request.wait_seconds:
            return found.reply
        until = self._monotonic() + request.wait_seconds
        with self._follower(person.account), self._on_hold.place(_ANY_COMMIT) as event:
            if event is None and not self._on_hold.closed:
                raise Overloaded("too many callers are waiting for changes; try again in a moment")
            return self._wait(request, found.reply.cursor, event, until)

    @contextmanager
    def _follower(self, account: str) -> Iterator[None]:
        """Count one more waiting caller of the account. QuotaExceeded when it has as many as it may."""
        with self._store.read() as reader:
            allowed = quotas.allowed(reader, quotas.ACCOUNT, account, "followers")
        with self._guard:
            if allowed is not None and self._followers[account] >= allowed:
                raise quotas.exceeded(quotas.ACCOUNT, account, "followers", self._followers[account] + 1, allowed)
            self._followers[account] += 1
        try:
            yield
        finally:
            with self._guard:
                self._followers[account] -= 1
                if not self._followers[account]:
                    del self._followers[account]

    def _wait(self, request: ChangesRequest, cursor: int, event: threading.Event | None, until: float) -> ChangesReply:
        while True:
            # Read again after registering: any later commit wakes this caller, whose credential may have ended by then.
            found = self._look(self._people.authenticate(request.credential), request, cursor)
            if found.reply.changes or not found.at_end or event is None or self._on_hold.closed:
                return found.reply
            cursor = found.reply.cursor
            if not event.wait(max(0.0, until - self._monotonic())):
                return found.reply
            event.clear()

    def _look(self, person: Person, request: ChangesRequest, cursor: int | None) -> _Look:
        with self._store.read() as reader:
            newest = files.read_cursor(reader)
            position = newest if cursor is None else _given_out(reader, cursor, newest)
            statement, parameters, since = _question(reader, person, request.bucket, self._wall())
            position = max(position, since)
            rows: list[Row] = []
            for _ in range(STEPS):
                if position >= newest or rows:
                    break
                until = self._step(reader, position)
                rows = reader.all(statement, after=position, until=until, count=request.limit, **parameters)
                position = rows[-1][0] if len(rows) == request.limit else until
            listed = self._listed(reader, person, {row[2] for row in rows})
            changes = [_as_change(reader, row, listed[row[2]]) for row in rows if row[2] in listed]
        return _Look(ChangesReply(changes, max(position, cursor or 0)), position >= newest)

    def _listed(self, reader: Reader, person: Person, names: set[str]) -> dict[str, Standing | None]:
        """Return the person's standing in each bucket that they may list; None for deleted buckets."""
        kept: dict[str, Standing | None] = {}
        for name in names:
            try:
                place = standing(reader, name, person, self._wall())
            except NotFound:
                if buckets.find(reader, name) is None:
                    kept[name] = None
                continue
            if not place.denied("s3:ListBucket"):
                kept[name] = place
        return kept

    def _step(self, reader: Reader, after: int) -> int:
        """Return how far to walk: to the last change among the next few numbers.

        A restored backup leaves a gap of a thousand million of them, so a walk begins at the next change; and it ends
        at one, so that every cursor is a change's.
        """
        begin = reader.one(journal.FIRST_AFTER, after=after)
        end = reader.one(journal.LAST_UNTIL, until=(begin[0] if begin else after) + self._step_rows - 1)
        return int(end[0]) if end else after

    def _wake_after(self, tx: Tx) -> None:
        newest = files.read_cursor(tx)
        # Compared in memory that only commits change, so that a failed transaction does not suppress the next wake-up.
        if newest != self._newest:
            tx.after_commit(lambda: self._committed(newest))

    def _committed(self, newest: int) -> None:
        self._newest = newest
        self._on_hold.wake(_ANY_COMMIT)


def _given_out(reader: Reader, cursor: int, newest: int) -> int:
    """Return `cursor`; raise Conflict if there is no such change, because continuing could skip changes."""
    if cursor and reader.one(journal.AT, cursor=cursor) is None:
        raise Conflict(
            f"there is no change {cursor}; the newest is {newest}. The directory was restored from an older backup, or "
            f"this cursor is not from this cluster: list the files again and continue from {newest}",
            cursor=newest,
        )
    return cursor


def _question(
    reader: Reader, person: Person, bucket: str | None, at: float
) -> tuple[Statement, dict[str, object], int]:
    """Return the statement for the request, its parameters, and the cursor where the person's changes begin."""
    if bucket is not None:
        found = standing(reader, bucket, person, at).demand("s3:ListBucket")
        row = reader.one(journal.SINCE_CURSOR, name=found.name)
        return journal.OF_BUCKET, {"bucket": found.name}, int(row[0]) if row else 0
    if person.admin:
        return journal.EVERYTHING, {}, 0
    domain = f"{person.tenant}{TENANT_SEPARATOR}" if person.tenant else ""
    return journal.VISIBLE, {"account": person.account, "domain": domain, "all": person.tenant_admin}, 0


def _as_change(reader: Reader, row: Row, place: Standing | None) -> Change:
    """Return the change as the person may see it: with its content's description only if they may read the version."""
    cursor, kind, bucket, path, version, at = row
    version = version or versions.version_id(cursor)
    change = Change(cursor, kind, bucket, path, version, at)
    found = reader.one(journal.VERSION, version=version)
    if found is not None:
        digest, size, author, lock_number, delete_marker = found
        change.author, change.lock_number = author, lock_number
        if not delete_marker:
            change.digest, change.size = Digest(digest), size
    if place is not None and not place.may_read(path, version):
        change.version, change.digest, change.size = "", None, None
    return change
