"""The metadata store's promises to the directory's rules, for every engine.

An engine provides transactions and snapshots; the rules (`namespace`, `lock_manager`, `membership`, `accounts`) give
the rows their meaning. Engines translate their driver's failures here, once: a full disk becomes StorageFull, an
input/output error Unavailable, data of a newer program StorageFormatError.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from directory_server.metadata.statement import Statement

Row = tuple[Any, ...]
R = TypeVar("R")


class Reader(ABC):
    """Reads of one moment: everything read through one Reader is of the same snapshot."""

    @abstractmethod
    def one(self, statement: Statement, **parameters: Any) -> Row | None:
        """The first row, or None when there is none."""

    @abstractmethod
    def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Every row, in the statement's order. Give unbounded statements a LIMIT."""


class Tx(Reader):
    """A Reader that also writes, and sees its own writes. Nothing is visible to others before the commit."""

    @abstractmethod
    def run(self, statement: Statement, **parameters: Any) -> int:
        """Insert, update or delete; how many rows changed. A broken constraint raises `ConstraintBroken`."""

    @abstractmethod
    def savepoint(self) -> AbstractContextManager[None]:
        """Undoes what is done inside it, and only that, when the block raises. May be nested."""

    @abstractmethod
    def after_commit(self, call: Callable[[], None]) -> None:
        """Call `call` once the commit is durable, on the store's own thread, so it must be quick and not raise.

        It is forgotten when the savepoint it was registered in is undone, or when the commit fails.
        """


class ConstraintBroken(Exception):
    """A row of that key exists. Rules translate it to the refusal that it means."""


class MetadataStore(ABC):
    """The directory's memory. Thread-safe."""

    @abstractmethod
    def write(self, work: Callable[[Tx], R]) -> R:
        """Run `work(tx)` in a transaction; its result, once everything it wrote is durable.

        Serializable: works run one after another, each sees the results of those before it. If `work` raises, what
        it wrote is undone and the error comes out here. Callers share commits, and so one flush: `work` must be
        short, must not wait for anything, and must not change anything outside the transaction, because a commit
        that fails undoes only the transaction. When it fails (StorageFull, Unavailable) nothing was written, except
        when the machine died meanwhile: then the answer is unknown, and what `work` does must be safe to repeat.
        """

    @abstractmethod
    def read(self) -> AbstractContextManager[Reader]:
        """A snapshot that is at least as new as every commit that returned before. Keep it short.

        Works also while commits fail.
        """

    @abstractmethod
    def first_in_each_transaction(self, work: Callable[[Tx], None]) -> None:
        """Run `work` at the start of every transaction, in it: for what must be settled before anything is decided,
        such as leases that are over. When it raises, the whole transaction fails."""

    @abstractmethod
    def last_in_each_transaction(self, work: Callable[[Tx], None]) -> None:
        """Run `work` at the end of every transaction, in it: what shall be saved with whatever is written."""

    def check_some(self) -> float:
        """For a background job: verify a little of what is stored; seconds to pause.

        Damage that is found makes every later call raise Damaged, and is the store's `problem`. An engine whose
        server verifies its own pages has nothing to do here.
        """
        return 3600.0

    @property
    @abstractmethod
    def problem(self) -> str:
        """Why the last commit failed, for the health page; empty when it succeeded."""

    @abstractmethod
    def defects(self) -> list[str]:
        """What the engine itself finds wrong with its files, empty when nothing is. Reads all, beside writers."""

    @abstractmethod
    def copy_to(self, path: Path) -> dict[str, int]:
        """Copy everything as it is at one moment to the new file `path`, beside writers; the rows in each table.

        Durable on return.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish what was submitted, then close. Safe to repeat; later commits raise Unavailable."""
