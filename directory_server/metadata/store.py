"""The metadata store: what every engine promises to the directory's rules.

An engine provides transactions and snapshots; the rules (`namespace`, `lock_manager`, `membership`, `accounts`) give
rows their meaning. The engine alone translates its driver's errors: a full disk becomes StorageFull, an input/output
error Unavailable, a newer program's data StorageFormatError.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from directory_server.metadata.statement import Statement
from lockstep_store.wire.errors import SetupError

Row = tuple[Any, ...]
R = TypeVar("R")
CommitGuard = Callable[[str], AbstractContextManager[None]]
"""Surrounds the moment at which a transaction becomes visible. The text has the transaction's changed rows, a JSON
array a line: ["+", table, value, ...] for a row as it is now, ["-", table, value, ...] for the key of one that is gone.
Rows of locks and the queue, and new log-ins, are not in it."""


class Reader(ABC):
    """Reads one snapshot."""

    @abstractmethod
    def one(self, statement: Statement, **parameters: Any) -> Row | None:
        """Return the first row, or None."""

    @abstractmethod
    def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Return every row, in the statement's order. Unbounded statements need a LIMIT."""

    @abstractmethod
    def containing(self, any_of: Sequence[Sequence[str]], low: int, high: int, count: int) -> list[Row]:
        """Return (id, path) of files in the search index, the highest id first, at most `count`.

        Every path that contains, in any case, all texts of one of the alternatives `any_of` is among them if its id is
        from `low` to `high`; others may be, so look at the paths. Only texts of three characters or more are looked
        for, and an alternative without one finds nothing.
        """


class Tx(Reader):
    """A transaction: reads its own writes, which others see only after the commit."""

    @abstractmethod
    def run(self, statement: Statement, **parameters: Any) -> int:
        """Insert, update or delete; return how many rows changed. Raises `ConstraintBroken`.

        After an error nothing but the end of the savepoint around it is possible in this transaction.
        """

    @abstractmethod
    def apply_records(self, bodies: Iterable[str], leave: Collection[tuple[str, str]] = ()) -> None:
        """Make the changes of redo records again, except to the rows `leave`, by table and first part of the key.

        Quotas do not refuse them.

        Raises ValueError for a record of another schema.
        """

    @abstractmethod
    def admit_over_quota(self) -> None:
        """Do not judge by quotas what was done so far: it was acknowledged before, and is only made again."""

    @abstractmethod
    def savepoint(self) -> AbstractContextManager[None]:
        """Roll back what the block did, and only that, if it raises. May be nested.

        Raises QuotaExceeded at its end if a count in `usage` has risen above its quota, and is still above it.
        """

    @abstractmethod
    def after_commit(self, call: Callable[[], None]) -> None:
        """Call `call` once the commit is durable, on the thread that commits: it must be quick and must not raise.

        It is not called if the commit fails, or if the savepoint in which it was registered is rolled back.
        """


class ConstraintBroken(Exception):
    """A row with that key exists. Rules translate this into their own error."""


class InUse(SetupError):
    """Another directory server uses the metadata."""


class MetadataStore(ABC):
    """Stores the directory's rows. Thread-safe.

    Each transaction that changes rows leaves one row in `redo_record`, from which the changes can be made again in a
    copy of the metadata of the moment before (see redo_lines.py for the form).
    """

    def __init__(self) -> None:
        self._first_works: list[Callable[[Tx], None]] = []
        self._last_works: list[Callable[[Tx], None]] = []
        self._guard: CommitGuard = lambda changes: nullcontext()
        self.on_replaced: Callable[[], None] = lambda: None
        """Called, by `check_some`, once another directory server has taken over the metadata."""

    @abstractmethod
    def write(self, work: Callable[[Tx], R]) -> R:
        """Run `work(tx)` in a transaction; return its result once everything it wrote is durable.

        Serializable: works run one after another, and each sees the results of those before it. If `work` raises, its
        writes are rolled back and the error is raised here. Callers share commits, and so one flush: `work` must be
        short, must not wait, and must not change anything outside the transaction, because a failed commit rolls back
        only that. After StorageFull or Unavailable nothing was written. If the machine dies, the outcome is unknown;
        so `work` must be safe to repeat.
        """

    @abstractmethod
    def read(self) -> AbstractContextManager[Reader]:
        """Return a snapshot that includes every commit that returned before. Close it soon.

        Works even while commits fail.
        """

    def first_in_each_transaction(self, work: Callable[[Tx], None]) -> None:
        """Run `work` at the start of every transaction, before anything is decided in it (to end leases, say).

        If it raises, the whole transaction fails.
        """
        self._first_works.append(work)

    def last_in_each_transaction(self, work: Callable[[Tx], None]) -> None:
        """Run `work` at the end of every transaction, to save something with every commit."""
        self._last_works.append(work)

    def guard_each_commit(self, guard: CommitGuard) -> None:
        """Enter `guard` when a transaction is complete and nobody sees it yet, and leave it when it is visible.

        It is left after a failure, too. Everything that the transaction's authors call waits meanwhile.
        """
        self._guard = guard

    def demand_active(self) -> None:  # noqa: B027 - nothing to do without a second server
        """Raise StandingBy if this directory server may not be the one that uses the metadata any more.

        Costs nothing, and is right within seconds only; `confirm_active`, reads and writes are exact. The default is
        for an engine that no second directory server can use.
        """

    def confirm_active(self) -> None:  # noqa: B027 - likewise
        """Raise StandingBy unless this directory server used the metadata at some moment after the call began."""

    def other_servers(self) -> list[tuple[str, float]]:
        """Return the address of each directory server that stands by, and the seconds since it showed that it works.

        One that has not ended in good order is among them for a day.
        """
        return []

    def check_some(self) -> float:
        """For a background job: verify a small part of the stored data; return seconds until the next call.

        After damage is found, every later call raises Damaged, and `problem` reports it. The default does nothing, for
        an engine whose server verifies its own pages.
        """
        return 3600.0

    @property
    @abstractmethod
    def problem(self) -> str:
        """Why the last commit failed, for the health page; empty if it succeeded."""

    @abstractmethod
    def defects(self) -> list[str]:
        """Return the defects that the engine's own check finds. Reads everything, without blocking writers."""

    @abstractmethod
    def copy_to(self, path: Path) -> dict[str, int]:
        """Copy one snapshot to the new file `path`; return the number of rows by table.

        Durable on return. Does not block writers.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish submitted transactions, then close. Safe to repeat. Later commits raise Unavailable."""
