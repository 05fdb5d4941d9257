"""What a plain write and a plain read cost the directory: statements, modules that run, and no feature at all.

The numbers are today's. A change that raises one has to raise it here too, with the reason.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from directory_server.metadata.engines.sqlite.transactions import SqliteReader
from lockstep_store.runtime.tls.identity import ensure_authority
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.messages import files as m
from lockstep_store.wire.messages import servers as s
from lockstep_store.wire.messages.buckets import CREATE_BUCKET, CreateBucketRequest, Versioning
from lockstep_store.wire.messages.writes import BEGIN, BeginItem, BeginRequest
from tests.unit.directory_server.api.directory_calls import Directory

BEGIN_STATEMENTS = 6
COMMIT_STATEMENTS = 18
"""One of them looks for the description and tags that the new version keeps; a first version asks for none."""
LOOKUP_STATEMENTS = 3
PUT_MODULES = 38
"""Two of them make the redo record (the engine's, and the statements with the chain); one asks whether the program was
revoked, one whether a proxy reads under leases, and one looks for what people said about the path;
one counts what is stored, and one the decisions (a dictionary's entry, under two microseconds; no statement)."""
GET_MODULES = 14
"""One of them says whether the person is an administrator, and one counts the decisions."""
FEATURES = "directory_server.features."


@dataclass
class Cost:
    """What ran during one call, in every thread of the directory."""

    statements: list[str] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)

    @property
    def features(self) -> set[str]:
        return {name for name in self.modules if name.startswith(FEATURES)}


class Meter:
    """Notes statements at the engine, and every module of the directory of which a function runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._cost: Cost | None = None
        execute = SqliteReader._execute

        def count(reader: SqliteReader, statement: Any, parameters: dict[str, Any]) -> Any:
            if self._cost is not None:
                self._cost.statements.append(str(statement))
            return execute(reader, statement, parameters)

        monkeypatch.setattr(SqliteReader, "_execute", count)
        threading.setprofile(self._note)  # for the threads that the directory is about to start
        sys.setprofile(self._note)

    def close(self) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        cost = self._cost
        if cost is not None and event == "call":
            name = str(frame.f_globals.get("__name__", ""))
            if name.startswith("directory_server."):
                cost.modules.add(name)

    @contextmanager
    def measured(self) -> Iterator[Cost]:
        self._cost = cost = Cost()
        try:
            yield cost
        finally:
            self._cost = None


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    meter = Meter(monkeypatch)
    yield meter
    meter.close()


@pytest.fixture
def directory(tmp_path: Path, meter: Meter) -> Iterator[Directory]:
    directory = Directory(tmp_path, ensure_authority(tmp_path / "certs"))
    directory.file_servers_up("1", "2")
    yield directory
    directory.server.stop()


def put_and_get(directory: Directory, meter: Meter, path: str, write_id: str, bucket: str) -> tuple[Cost, Cost, Cost]:
    """The cost of begin, commit and lookup."""
    item = BeginItem(directory.admin, write_id, bucket, path)
    with meter.measured() as begin:
        begun = directory.call(BEGIN, BeginRequest([item])).results[0].unwrap()
    content = write_id.encode()
    commit = s.CommitItem(begun.ticket, chunk_digest(content), len(content), ["1", "2"])
    with meter.measured() as committed:
        reply = directory.call(s.COMMIT, s.CommitRequest([commit]), "file_server", begun.master.id)
    assert reply.results[0].unwrap().copies == 2
    with meter.measured() as lookup:
        found = directory.call(m.LOOKUP, m.LookupRequest([m.LookupItem(directory.admin, bucket, path)]))
    assert found.results[0].unwrap().size == len(content)
    return begin, committed, lookup


def make_bucket(directory: Directory, name: str, **fields: Any) -> None:
    directory.call(CREATE_BUCKET, CreateBucketRequest(directory.admin, name, **fields))


@pytest.mark.parametrize("versioning", ["enabled", "off"])
@pytest.mark.parametrize("overwrites", [False, True])
def test_a_plain_write_and_read_run_no_feature(
    directory: Directory, meter: Meter, versioning: Versioning, overwrites: bool
) -> None:
    """In a bucket without settings, no function of any feature's module runs, in any thread of the directory."""
    make_bucket(directory, "plain", versioning=versioning)
    if overwrites:
        put_and_get(directory, meter, "a.txt", "write-0000000000", "plain")
    for cost in put_and_get(directory, meter, "a.txt", "write-0000000001", "plain"):
        assert cost.modules
        assert cost.features == set()


def test_a_plain_write_and_read_cost_no_more_than_today(directory: Directory, meter: Meter) -> None:
    """Statements and modules of a second write to a bucket that keeps versions, once caches are warm."""
    put_and_get(directory, meter, "a.txt", "write-0000000000", "files")
    begin, committed, lookup = put_and_get(directory, meter, "a.txt", "write-0000000001", "files")
    assert len(begin.statements) == BEGIN_STATEMENTS, begin.statements
    assert len(committed.statements) == COMMIT_STATEMENTS, committed.statements
    assert len(lookup.statements) == LOOKUP_STATEMENTS, lookup.statements
    assert len(begin.modules | committed.modules) <= PUT_MODULES, sorted(begin.modules | committed.modules)
    assert len(lookup.modules) <= GET_MODULES, sorted(lookup.modules)


def test_a_bucket_with_a_feature_runs_that_feature_alone(directory: Directory, meter: Meter) -> None:
    """The measure can see features: object lock runs for its bucket, and no other feature does."""
    make_bucket(directory, "held", object_lock=True)
    _, committed, _ = put_and_get(directory, meter, "a.txt", "write-0000000000", "held")
    assert committed.features == {FEATURES + "object_lock"}
