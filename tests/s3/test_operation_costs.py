"""What one operation costs the whole cluster, in counts: calls between programs, SQL statements, flushes.

Times would fail on a busy machine; counts fail on the day on which a cost comes back. The bounds are today's numbers. A
change that lowers one lowers it here too; one that raises it has to say why. What the directory's begin, commit and
lookup cost each is in tests/unit/directory_server/test_write_costs.py.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from client_proxy.core import small_writes
from directory_server.metadata.engines.sqlite.store import SqliteStore
from lockstep_store.wire.messages.read_leases import READ_LEASES
from lockstep_store.wire.messages.servers import SMALL_WRITES
from lockstep_store.wire.messages.writes import BEGIN
from tests.fakes import whole_cluster
from tests.fakes.whole_cluster import LocalPeers
from tests.s3.rig import S3Rig
from tests.waiting import wait_until

BUCKET = "costs"
PAGE = 50
_numbers = itertools.count()
_pairs = ((number, number + 1) for number in itertools.count(1, 2))
"""Keys of the page, each used once."""


@dataclass
class ClusterCost:
    """What happened anywhere in the cluster during one operation."""

    calls: list[str] = field(default_factory=list)
    """Paths that one program asked of another, in order."""
    statements: dict[str, list[str]] = field(default_factory=dict)
    """By the kind of program, begin and commit included."""
    flushes: Counter[str] = field(default_factory=Counter)
    """Committed transactions of databases, by the kind of program, and `files`: those of plain files and folders."""


class CostMeter:
    """Notes statements at every connection to a database, calls at the network's double, and flushes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._cost: ClusterCost | None = None
        self._guard = threading.Lock()
        patch.setattr(sqlite3, "connect", partial(self._connect, sqlite3.connect))
        # Its own default was bound before the line above.
        patch.setattr(whole_cluster, "SqliteStore", partial(SqliteStore, connect=sqlite3.connect))
        ask = LocalPeers.ask

        def call(peers: LocalPeers, url: str, method: str, path: str, *rest: Any) -> bytes:
            if path != READ_LEASES.path:  # holds a proxy's session open, whatever is read meanwhile
                self._note(lambda cost: cost.calls.append(path))
            return ask(peers, url, method, path, *rest)

        patch.setattr(LocalPeers, "ask", call)
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, partial(self._flush, getattr(os, name)))

    def _connect(self, connect: Callable[..., sqlite3.Connection], path: Any, *args: Any, **options: Any) -> Any:
        connection = connect(path, *args, **options)
        kind = "directory" if "/directory/" in str(path) else "file_server"
        writes = [False]
        last = [""]

        def trace(statement: str) -> None:
            # A trigger that runs is traced as the statement that set it off, again, or as a comment.
            if statement.startswith("--") or statement == last[0]:
                return
            last[0] = statement
            if statement == "BEGIN IMMEDIATE":
                writes[0] = True
            ended, committed = statement in ("COMMIT", "ROLLBACK"), statement == "COMMIT" and writes[0]
            if ended:
                writes[0] = False

            def note(cost: ClusterCost) -> None:
                cost.statements.setdefault(kind, []).append(statement)
                cost.flushes[kind] += committed

            self._note(note)

        connection.set_trace_callback(trace)
        return connection

    def _flush(self, flush: Callable[[int], None], descriptor: int) -> None:
        self._note(lambda cost: cost.flushes.update(files=1))
        flush(descriptor)

    def _note(self, note: Callable[[ClusterCost], None]) -> None:
        with self._guard:
            if self._cost is not None:
                note(self._cost)

    @contextmanager
    def measured(self) -> Iterator[ClusterCost]:
        cost = ClusterCost()
        with self._guard:
            self._cost = cost
        try:
            yield cost
        finally:
            with self._guard:
                self._cost = None


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def meter(patch: pytest.MonkeyPatch) -> CostMeter:
    return CostMeter(patch)


@pytest.fixture(scope="module")
def rig(meter: CostMeter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Rig]:
    """Two copies on two file servers, with a page of keys whose content fits in one chunk."""
    certs = tmp_path_factory.getbasetemp() / "s3-certs"
    rig = S3Rig(tmp_path_factory.mktemp("costs"), certs, file_servers=2, read_leases=True)
    s3 = rig.client()
    s3.create_bucket(Bucket=BUCKET)
    for number in range(PAGE + 5):
        s3.put_object(Bucket=BUCKET, Key=f"page/{number:03}", Body=os.urandom(4096))
    s3.get_object(Bucket=BUCKET, Key="page/000")["Body"].read()
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def s3(rig: S3Rig) -> Any:
    return rig.client()


@dataclass(frozen=True)
class Bound:
    """What an operation may cost at most, and what it must cost."""

    calls: list[str]
    """Exactly these."""
    statements: dict[str, int]
    """At most so many, at all programs of a kind together."""
    flushes: dict[str, int] = field(default_factory=dict)
    """Exactly so many: fewer would be a broken promise."""


# Three statements of each directory transaction that changes rows write its redo record; one finds that there is none.
TODAY = {
    # One of them looks for the description that an overwritten path keeps.
    "PUT": Bound(
        ["/v1/begin", "/v1/writes/small", "/v1/writes/small", "/v1/commit"],
        {"directory": 37, "file_server": 15},
        {"directory": 1, "file_server": 2},
    ),
    "GET": Bound([], {}),
    "HEAD": Bound([], {}),
    "cold GET": Bound(["/v1/lookup"], {"directory": 6}),
    "cold HEAD": Bound(["/v1/lookup"], {"directory": 7}),
    "LIST": Bound(["/v1/list"], {"directory": 5}),
    "LIST folders": Bound(["/v1/list"], {"directory": 7}),
    "LIST versions": Bound(["/v1/versions"], {"directory": 5}),
    "DELETE": Bound(["/v1/delete"], {"directory": 22}, {"directory": 1}),
    # One of them counts the account's locks, so that nobody can hoard them.
    "lock": Bound(["/v1/locks/acquire"], {"directory": 17}, {"directory": 1}),
    "unlock": Bound(["/v1/locks/release"], {"directory": 9}, {"directory": 1}),
}


def operations(rig: S3Rig, s3: Any) -> dict[str, Callable[[], object]]:
    """Each operation, to be done any number of times, and checked."""
    doomed: list[str] = []
    cold = [f"page/{number:03}" for number in next(_pairs)]
    held: list[str] = []

    def acquire() -> None:
        wanted = {"paths": [f"{BUCKET}/lock-{next(_numbers)}"], "wait_seconds": 0}
        answer = rig.cluster.ask("POST", "/locks", json.dumps(wanted).encode(), Content_Type="application/json")
        assert answer.status in (200, 201), answer.body
        held.append(answer.json["lock"]["id"])

    def release() -> None:
        assert rig.cluster.ask("DELETE", f"/locks/{held.pop()}").status in (200, 204)

    for _ in range(2):  # what the operations below take away: one turn to warm up, and the measured one
        acquire()
        doomed.append(f"doomed-{next(_numbers)}")
        s3.put_object(Bucket=BUCKET, Key=doomed[-1], Body=os.urandom(4096))
    return {
        "PUT": lambda: s3.put_object(Bucket=BUCKET, Key="k", Body=os.urandom(4096)),
        "GET": lambda: s3.get_object(Bucket=BUCKET, Key="page/000")["Body"].read(),
        "HEAD": lambda: s3.head_object(Bucket=BUCKET, Key="page/000"),
        "cold GET": lambda: s3.get_object(Bucket=BUCKET, Key=cold.pop())["Body"].read(),
        "cold HEAD": lambda: s3.head_object(Bucket=BUCKET, Key=cold.pop()),
        "LIST": lambda: s3.list_objects_v2(Bucket=BUCKET, Prefix="page/", MaxKeys=PAGE)["Contents"][PAGE - 1],
        "LIST folders": lambda: s3.list_objects_v2(Bucket=BUCKET, Delimiter="1", MaxKeys=9)["CommonPrefixes"][1],
        "LIST versions": lambda: s3.list_object_versions(Bucket=BUCKET, Prefix="page/", MaxKeys=PAGE)["Versions"],
        "DELETE": lambda: s3.delete_object(Bucket=BUCKET, Key=doomed.pop()),
        "lock": acquire,
        "unlock": release,
    }


@pytest.mark.parametrize("name", TODAY)
def test_an_operation_costs_no_more_than_today(rig: S3Rig, s3: Any, meter: CostMeter, name: str) -> None:
    """When caches are warm and prepared statements are there. A read is cold the first time, and hot soon after."""
    work = operations(rig, s3)[name]
    work()
    if not TODAY[name].calls:
        wait_until(partial(_makes_no_call, meter, work), what="a read lease")
    with meter.measured() as cost:
        work()
    bound = TODAY[name]
    assert cost.calls == bound.calls
    assert set(cost.statements) == set(bound.statements)
    for kind, most in bound.statements.items():
        assert len(cost.statements[kind]) <= most, cost.statements[kind]
    assert +cost.flushes == Counter(bound.flushes)


def _makes_no_call(meter: CostMeter, work: Callable[[], object]) -> bool:
    with meter.measured() as cost:
        work()
    return not cost.calls


def test_a_large_write_flushes_files_too(s3: Any, meter: CostMeter) -> None:
    """At each of two holders: every chunk's file, every folder that got one, and the folder of these folders."""
    content = random.Random(1).randbytes(1 << 20)  # always cut into the same chunks
    with meter.measured() as cost:
        s3.put_object(Bucket=BUCKET, Key="large", Body=content)
    assert 2 * 3 <= cost.flushes["files"] <= 2 * 5, cost.flushes


def test_puts_of_many_clients_share_their_calls(
    meter: CostMeter, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is under way, seven others of any path gather, and cost what one costs."""
    monkeypatch.setattr(small_writes, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(small_writes, "MAX_IN_FLIGHT", 1)
    rig = S3Rig(tmp_path_factory.mktemp("shared"), tmp_path_factory.getbasetemp() / "s3-certs", file_servers=3)
    s3 = rig.client()
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="warm", Body=os.urandom(4096))
    gathering = rig.cluster.proxies["1"].files._writer._small._calls
    entered, gathered = threading.Event(), threading.Event()
    ask = LocalPeers.ask

    def hold_the_first(peers: LocalPeers, url: str, method: str, path: str, *rest: Any) -> bytes:
        if path == SMALL_WRITES.path and not entered.is_set():
            entered.set()
            assert gathered.wait(60)
        return ask(peers, url, method, path, *rest)

    monkeypatch.setattr(LocalPeers, "ask", hold_the_first)
    with ThreadPoolExecutor(8) as pool, meter.measured() as cost:
        puts = [pool.submit(s3.put_object, Bucket=BUCKET, Key="0", Body=os.urandom(4096))]
        assert entered.wait(60)
        puts += [
            pool.submit(s3.put_object, Bucket=BUCKET, Key=f"{number}", Body=os.urandom(4096)) for number in range(1, 8)
        ]
        wait_until(lambda: len(gathering._waiting) == 7)
        gathered.set()
        assert all(put.result(60) for put in puts)
    rig.close()
    calls = Counter(cost.calls)
    assert calls[BEGIN.path] == 2
    assert calls["/v1/commit"] == 2
    assert calls[SMALL_WRITES.path] == 2 + 2
    assert cost.flushes["directory"] == 2
    assert cost.flushes["file_server"] == 2 + 2
