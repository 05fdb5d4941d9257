"""People of a simulated cluster: what they do through the proxies, and the exact record of what they saw.

Every body begins with a token that no other body has, so whatever is read tells which write it came from. A person who
gets no clear answer notes UNKNOWN and goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from client_proxy.core.directory_client import DirectoryClient
from client_proxy.core.requests import Delete, Read, Write
from client_proxy.file_store import FileStore
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import (
    Conflict,
    Deadlock,
    Locked,
    LockStale,
    LockstepError,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import NO_PRECONDITIONS, ListRequest, Preconditions
from lockstep_store.wire.messages.journal import CHANGES, ChangesRequest
from lockstep_store.wire.messages.locks import (
    ACQUIRE,
    RELEASE,
    RENEW,
    AcquireRequest,
    LockInfo,
    LockPath,
    ReleaseRequest,
    RenewRequest,
)
from tests.linearizability import ABSENT, Operation, Outcome
from tests.simulation import hot_reads
from tests.simulation.nodes import PEOPLE, World, credential
from tests.simulation.scheduler import Task

if TYPE_CHECKING:
    from tests.simulation.run import Profile

BUCKET = "files"
COUNTER = "counter"
TOKEN_BYTES = 16
PATIENCE_SECONDS = 45.0
Ask = Callable[[FileStore, DirectoryClient], Any]


class WrongBytes(Exception):
    """A read returned bytes that nobody wrote."""


class Crowd:
    """All clients and the `history` of their operations. `problems` are failures that no fault excuses."""

    def __init__(self, world: World, profile: Profile) -> None:
        self.world = world
        self.profile = profile
        self.history: list[Operation] = []
        self.problems: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.tokens: dict[Digest, str] = {}
        self.written: Counter[tuple[str, str]] = Counter()
        self.counted: dict[str, int] = {}
        self.follower = Follower(self)
        self.paths = [f"file-{number}" for number in range(profile.paths)]
        self._random = Random(f"bodies {profile.seed}")
        self._tail = self._random.randbytes(48 * 1024)

    @property
    def answered(self) -> int:
        """Count the operations with a known outcome."""
        return sum(operation.outcome is Outcome.OK for operation in self.history)

    def counts(self) -> dict[str, int]:
        """Count operations by kind and outcome."""
        counts = Counter(f"{each.kind} {each.outcome.value}" for each in self.history)
        return dict(sorted(counts.items()))

    def begin(self) -> list[Task]:
        """Start all clients."""
        self.note(hot_reads.first_right(self.world.scheduler.now))
        self.world.scheduler.spawn(self.world.scheduler.world, "follower", self._follow)
        tasks = []
        for number in range(self.profile.people):
            person = Person(self, PEOPLE[number], Random(f"person {number} of {self.profile.seed}"))
            tasks.append(self.world.scheduler.spawn(self.world.scheduler.world, person.name, person.live))
        return tasks

    def _follow(self) -> None:
        try:
            self.follower.live()
        except Exception as error:  # nothing else may come out of a cluster
            self.problems.append(f"following the journal: {type(error).__name__}: {error}")

    def body(self, size: int, text: str = "") -> tuple[str, bytes]:
        """A token and a body of about `size` bytes that begins with it; the rest is partly shared with other bodies."""
        token = self._random.randbytes(TOKEN_BYTES // 2).hex()
        start = self._random.randrange(4) * 1000
        body = token.encode() + text.encode() + self._tail[start : start + max(0, size - TOKEN_BYTES)]
        self.bodies[token] = body
        self.tokens[digest_of(body)] = token
        return token, body

    def token_in(self, body: bytes) -> str:
        """Return the token of a body; WrongBytes when its bytes differ."""
        token = body[:TOKEN_BYTES].decode("latin-1")
        if self.bodies.get(token) != body:
            raise WrongBytes(f"{len(body)} bytes were read that nobody wrote, beginning {body[:40]!r}")
        return token

    def read(self, who: str, proxy: Any, path: str) -> str | None:
        """Read `path` through `proxy` and record the result."""

        def ask(files: FileStore, _: DirectoryClient) -> bytes | None:
            try:
                with files.open(Read(credential(who), BUCKET, path)) as opened:
                    return b"".join(opened.blocks())
            except NotFound:
                return None

        called = self.world.scheduler.now
        body = self.world.ask(proxy, ask, PATIENCE_SECONDS)
        token = None if body is None else self.token_in(body)
        self.note(Operation(who, "read", path, called, self.world.scheduler.now, Outcome.OK, token, note=proxy.name))
        return token

    def note(self, operation: Operation) -> None:
        self.history.append(operation)
        self.world.scheduler.note(str(operation))


def digest_of(body: bytes) -> Digest:
    """Return the digest that the cluster computes for these bytes."""
    return Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(body)).digest


class Follower:
    """Follows the journal from its beginning, through whichever proxy answers."""

    def __init__(self, crowd: Crowd) -> None:
        self.seen: list[tuple[int, str, str]] = []
        self._cursor = 0
        self._crowd = crowd
        self._world = crowd.world
        self._random = Random(f"follower of {crowd.profile.seed}")

    def live(self) -> None:
        """Follow until the simulation ends."""
        while True:
            try:
                self.look(self._random.choice([0.0, 2.0]))
            except Unavailable:
                self._world.scheduler.sleep(0.5)

    def look(self, wait_seconds: float = 0.0) -> bool:
        """Read new changes; return whether there were any."""
        request = ChangesRequest(
            credential=credential(PEOPLE[0]), bucket=BUCKET, cursor=self._cursor, limit=3, wait_seconds=wait_seconds
        )
        proxy = self._random.choice(self._world.proxies)
        reply = self._world.ask(proxy, lambda _, directory: directory.call(CHANGES, request), PATIENCE_SECONDS)
        self.seen += [(change.cursor, change.kind, change.path) for change in reply.changes]
        self._cursor = reply.cursor
        return bool(reply.changes)


class Person:
    """One client, which does one operation after the other."""

    def __init__(self, crowd: Crowd, name: str, random: Random) -> None:
        self.name = name
        self._crowd = crowd
        self._world = crowd.world
        self._random = random
        self._hot = hot_reads.HotReads(crowd, name, random, COUNTER)

    def live(self) -> None:
        deeds: list[Callable[[], None]] = [
            *[self._write] * 5,
            *[self._read] * 3,
            *[self._hot.read_often] * 3,
            *[self._write_if] * 3,
            self._delete,
            self._list,
            *[self._locked_write] * 2,
            *[self._count] * 3,
            self._repeat_content,
            *[self._hot.read_as_guest] * 2,
            self._hot.admit_or_disable,
        ]
        for _ in range(self._crowd.profile.operations):
            self._world.scheduler.sleep(self._random.expovariate(1.5))
            deed = self._random.choice(deeds)
            try:
                deed()
            except Unavailable:
                pass  # noted where it happened
            except Exception as error:
                self._crowd.problems.append(f"{self.name}, {deed.__name__}: {type(error).__name__}: {error}")

    # ------------------------------------------------------------ deeds

    def _path(self) -> str:
        return self._random.choice(self._crowd.paths)

    def _size(self) -> int:
        return self._random.choice([0, 100, 100, 100, 1500, 5000, 12_000, 40_000])

    def _write(self) -> None:
        self._put(self._path(), *self._crowd.body(self._size()))

    def _repeat_content(self) -> None:
        """Write content that the cluster may hold already."""
        if self._crowd.bodies:
            token = self._random.choice(sorted(self._crowd.bodies))
            if token not in self._crowd.counted:
                self._put(self._path(), token, self._crowd.bodies[token])

    def _write_if(self) -> None:
        path = self._path()
        token, body = self._crowd.body(self._size())
        if self._random.random() < 0.4:
            self._put(path, token, body, condition=ABSENT)
            return
        current = self._look(path)
        if current is not None:
            self._put(path, token, body, condition=current)

    def _read(self) -> None:
        self._look(self._random.choice([*self._crowd.paths, COUNTER]))

    def _look(self, path: str) -> str | None:
        return self._crowd.read(self.name, self._proxy(), path)

    def _delete(self) -> None:
        path, called = self._path(), self._now
        try:
            reply = self._ask(lambda files, _: files.delete(Delete(credential(self.name), BUCKET, path)))
        except LockstepError as error:
            self._note("delete", path, called, _outcome(error), note=str(error))
            return
        self._note("delete", path, called, Outcome.OK if reply.existed else Outcome.MISSING)

    def _list(self) -> None:
        called = self._now
        reply = self._ask(lambda files, _: files.list(ListRequest(credential(self.name), BUCKET)))
        found = {version.path: version.digest for version in reply.files}
        for path in [*self._crowd.paths, COUNTER]:
            token = None
            if path in found:
                token = self._crowd.tokens.get(found[path], f"unknown {found[path]}")
            self._note("read", path, called, Outcome.OK, token, note="list")

    def _locked_write(self) -> None:
        path = self._path()
        lock = self._acquire(path)
        if lock is None:
            return
        self._linger(lock)
        if self._random.random() < 0.3:
            self._renew(path, lock)
        token, body = self._crowd.body(self._size())
        releases = self._random.random() < 0.5
        self._put(path, token, body, lock_number=lock.number, releases=releases)
        if not releases:
            self._release(path, lock)

    def _count(self) -> None:
        """Add one to a number in a file that only the lock protects."""
        lock = self._acquire(COUNTER)
        if lock is None:
            return
        before = self._look(COUNTER)
        self._linger(lock)
        number = self._crowd.counted.get(before, 0) + 1 if before is not None else 1
        token, body = self._crowd.body(0, f" count {number}")
        self._crowd.counted[token] = number
        self._put(COUNTER, token, body, lock_number=lock.number, releases=True)

    def _linger(self, lock: LockInfo) -> None:
        """Pause, now and then for longer than the lease."""
        longest = 2 * lock.lease_seconds if self._random.random() < 0.2 else 0.3
        self._world.scheduler.sleep(self._random.random() * longest)

    # ------------------------------------------------------------ one call each

    @property
    def _now(self) -> float:
        return self._world.scheduler.now

    def _proxy(self) -> Any:
        return self._random.choice(self._world.proxies)

    def _ask(self, call: Ask) -> Any:
        return self._world.ask(self._proxy(), call, PATIENCE_SECONDS)

    def _put(
        self,
        path: str,
        token: str,
        body: bytes,
        condition: str | None = None,
        lock_number: int = 0,
        releases: bool = False,
    ) -> None:
        wanted = NO_PRECONDITIONS
        if condition == ABSENT:
            wanted = Preconditions(if_none_match=["*"])
        elif condition is not None:
            wanted = Preconditions(if_match=[digest_of(self._crowd.bodies[condition]).hex()])
        size = len(body) if self._random.random() < 0.8 else None

        def ask(files: FileStore, _: DirectoryClient) -> Any:
            write = Write(
                credential(self.name), BUCKET, path,
                size=size, lock_number=lock_number or None, release_lock=releases, preconditions=wanted,
            )  # fmt: skip
            return files.write(write, [body[:7], body[7:]])

        called = self._now
        self._crowd.written[path, token] += 1
        more: dict[str, Any] = {"condition": condition, "lock_number": lock_number, "releases": releases}
        try:
            reply = self._ask(ask)
        except LockstepError as error:
            self._note("write", path, called, _outcome(error), token, **more, note=str(error))
            if not isinstance(error, Unavailable | Conflict | Locked | PreconditionFailed):
                raise
            return
        if reply.copies < self._world.copies:
            self._crowd.problems.append(f"a write of {path} was acknowledged with {reply.copies} copies")
        self._note("write", path, called, Outcome.OK, token, **more, note=f"version {reply.version.version}")

    def _acquire(self, path: str) -> LockInfo | None:
        lease = self._random.choice([1.0, 2.0, 6.0])
        request = AcquireRequest(
            credential=credential(self.name),
            paths=[LockPath(BUCKET, path)],
            request_id=self._random.randbytes(12).hex(),
            wait_seconds=self._random.choice([0.0, 1.0, 5.0]),
            lease_seconds=lease,
        )
        called = self._now
        try:
            lock: LockInfo = self._ask(lambda _, directory: directory.call(ACQUIRE, request)).lock
        except LockstepError as error:
            # LockStale: this very request took a lock which has ended, while its answer was on the way.
            outcome = Outcome.UNKNOWN if isinstance(error, LockStale) else _outcome(error)
            self._note("acquire", path, called, outcome, note=str(error))
            if not isinstance(error, Unavailable | Locked | Deadlock | LockStale):
                raise
            return None
        self._note("acquire", path, called, Outcome.OK, lock_number=lock.number, lease=lease)
        return lock

    def _renew(self, path: str, lock: LockInfo) -> None:
        request = RenewRequest(credential=credential(self.name), lock_id=lock.id)
        called = self._now
        try:
            self._ask(lambda _, directory: directory.call(RENEW, request))
        except (Unavailable, LockStale) as error:
            self._note("renew", path, called, _outcome(error), lock_number=lock.number)
            return
        self._note("renew", path, called, Outcome.OK, lock_number=lock.number, lease=lock.lease_seconds)

    def _release(self, path: str, lock: LockInfo) -> None:
        request = ReleaseRequest(credential=credential(self.name), lock_id=lock.id)
        called = self._now
        try:
            self._ask(lambda _, directory: directory.call(RELEASE, request))
        except (Unavailable, NotFound) as error:
            outcome = Outcome.FAILED if isinstance(error, NotFound) else Outcome.UNKNOWN
            self._note("release", path, called, outcome, lock_number=lock.number)
            return
        self._note("release", path, called, Outcome.OK, lock_number=lock.number)

    def _note(
        self, kind: str, path: str, called: float, outcome: Outcome, value: str | None = None, **more: Any
    ) -> None:
        self._crowd.note(Operation(self.name, kind, path, called, self._now, outcome, value, **more))


def _outcome(error: LockstepError) -> Outcome:
    if isinstance(error, PreconditionFailed):
        return Outcome.CONDITION_FALSE
    if isinstance(error, Locked | LockStale | Deadlock):
        return Outcome.FAILED
    return Outcome.UNKNOWN
