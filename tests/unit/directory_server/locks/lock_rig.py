"""A lock manager with the steps that tests take."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.locks.lock_manager import LockManager
from directory_server.people.person import Person
from lockstep_store.wire.messages.locks import AcquireReply, AcquireRequest, LockInfo, LockPath
from tests.fakes.clock import ManualClock
from tests.fakes.metadata_engines import open_metadata

ADMIN = Person("admin", True, "")


class LockRig:
    """A directory's locks that can be restarted, and short forms of what tests ask of them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.machine = ManualClock(start=1000.0)
        self._path = folder / "metadata.db"
        self._settings = settings
        self._ids = count(1)
        self.saved = 0.0
        self.open()

    def open(self) -> None:
        self.clock = DirectoryClock(self.machine, self.saved)
        self.store = open_metadata(self._path)
        self.locks = LockManager(self.store, self.clock, **self._settings)  # type: ignore[arg-type]
        self.locks.start()

    def restart(self) -> None:
        """As after a crash: only what is in the store, and the saved time, is left."""
        self.saved = self.clock.now()
        self.locks.close()
        self.store.close()
        self.open()

    def new_id(self) -> str:
        return f"request-{next(self._ids):012d}"

    def ask(self, who: str, *paths: str, client: str = "", **more: object) -> AcquireReply:
        request = AcquireRequest(
            credential="",
            paths=[LockPath("files", path) for path in paths],
            request_id=more.pop("request_id", None) or self.new_id(),
            **more,  # type: ignore[arg-type]
        )
        return self.locks.acquire(who, f"session of {who}", client, request)

    def take(self, who: str, *paths: str, **more: object) -> LockInfo:
        lock = self.ask(who, *paths, **more).lock  # type: ignore[arg-type]
        assert lock is not None
        return lock

    def queue(self, who: str, *paths: str, **more: object) -> str:
        waiter = self.ask(who, *paths, queue=True, **more).waiter  # type: ignore[arg-type]
        assert waiter is not None
        return waiter.id

    def check(self, who: str, path: str, number: int | None) -> int:
        return self.store.write(lambda tx: self.locks.check_write(tx, "files", path, who, number))

    def fence(self, path: str) -> int:
        with self.store.read() as reader:
            return self.locks.fence(reader, "files", path)

    def holders(self) -> dict[str, str]:
        return {path.path: lock.account for lock in self.locks.list().locks for path in lock.paths}

    def line(self) -> list[tuple[str, int]]:
        found, after = [], ""
        while True:
            page = self.locks.list(after)
            found += [(waiter.account, waiter.place) for waiter in page.waiters]
            after = page.next_after
            if not after:
                return found
