"""The journal against a list: each change is returned once and in order, in pages of any size."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from directory_server.files.journal import Changes
from directory_server.people.person import Person
from lockstep_store.wire.errors import Conflict, Forbidden, NotFound
from lockstep_store.wire.messages.journal import ChangesRequest
from tests.fakes.directory_rig import ADMIN, DirectoryRig, PeopleByName

PEOPLE = ("ann", "ben")
BUCKETS = {"files": "enabled", "diary": "enabled", "plain": "off", "paused": "suspended"}
PATHS = ("a", "b")

Told = tuple[str, str, str]
"""Kind, bucket and path."""

operations = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "copy", "move", "restore", "remove", "drop bucket"]),
        st.sampled_from(sorted(BUCKETS)),
        st.sampled_from(PATHS),
        st.sampled_from(PATHS),
    ),
    max_size=25,
)


class World:
    """A directory, and the list of changes that it must return: all, and those that anyone may see."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rig = DirectoryRig(folder)
        self.told: list[tuple[Told, bool]] = []
        """Each change, and whether it is everybody's."""
        self.contents = 0
        self.write_ids = 0
        for bucket in BUCKETS:
            self._ensure(bucket)

    def do(self, verb: str, bucket: str, path: str, other: str) -> None:
        """One operation; a refusal changes nothing and so tells nothing."""
        self._ensure(bucket)
        with suppress(NotFound):
            for kind, where in self._done(verb, bucket, path, other):
                self.told.append(((kind, bucket, where), bucket == "files"))

    def _done(self, verb: str, bucket: str, path: str, other: str) -> list[tuple[str, str]]:
        rig, keeps = self.rig, BUCKETS[bucket]
        replaces = [("remove", path)] if self._null(bucket, path) else []
        if verb == "write":
            self.contents += 1
            rig.write(path, b"%d" % self.contents, bucket=bucket, write_id=self._write_id())
            return [("write", path), *replaces]
        if verb == "delete":
            existed = rig.delete(path, bucket=bucket, write_id=self._write_id()).existed
            if keeps == "off":
                return [("remove", path)] if existed else []
            return [("delete", path), *replaces] if existed else []
        if verb in ("copy", "move"):
            if verb == "move" and path == other:
                return []
            source_null = self._null(bucket, path)
            target_null = [("remove", other)] if self._null(bucket, other) else []
            rig.copy(path, other, source_bucket=bucket, bucket=bucket, move=verb == "move", write_id=self._write_id())
            told = [(verb, other), *target_null]
            if verb == "move":
                gone = [("remove", path)] if source_null else []
                told += gone if keeps == "off" else [("delete", path), *gone]
            return told
        found = rig.versions(path, bucket=bucket)[-1]
        if verb == "restore":
            rig.copy(
                path,
                path,
                source_bucket=bucket,
                bucket=bucket,
                source_version=found.version,
                write_id=self._write_id(),
            )
            return [("restore", path), *replaces]
        if verb == "remove":
            rig.delete(path, bucket=bucket, version=found.version, write_id=self._write_id())
            return [("remove", path)]
        return []

    def drop(self, bucket: str) -> None:
        """Delete a bucket if it is empty; it is made again when it is needed."""
        with suppress(Conflict, Forbidden, NotFound):
            self.rig.buckets.delete(Person("ann", False, ""), bucket)

    def restart(self) -> None:
        self.rig.close()
        self.rig = DirectoryRig(self.folder)

    def _ensure(self, bucket: str) -> None:
        try:
            self.rig.buckets.get(Person("ann", False, ""), bucket)
        except NotFound:
            self.rig.bucket(bucket, versioning=BUCKETS[bucket])

    def _null(self, bucket: str, path: str) -> bool:
        try:
            return any(version.null_version for version in self.rig.versions(path, bucket=bucket))
        except NotFound:
            return False

    def _write_id(self) -> str:
        self.write_ids += 1
        return f"property-{self.write_ids:010d}"


@contextmanager
def world(empty: Path) -> Iterator[World]:
    """A world of its own, from the files of a directory in which nothing has happened: making those takes longest."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(empty, folder, dirs_exist_ok=True)
        made = World(Path(folder))
        try:
            yield made
        finally:
            made.rig.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    World(folder).rig.close()
    return folder


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations, st.none() | st.integers(0, 20), st.integers(1, 7), st.integers(1, 9))
def test_every_reader_sees_each_change_once_and_in_order(
    empty: Path, steps: list[tuple[str, str, str, str]], restart_at: int | None, limit: int, step_rows: int
) -> None:
    """Random operations, a restart and page sizes: owner, administrator and stranger each read exactly their own."""
    with world(empty) as made:
        for place, (verb, bucket, path, other) in enumerate(steps):
            if place == restart_at:
                made.restart()
            if verb == "drop bucket":
                made.drop(bucket)
            else:
                made.do(verb, bucket, path, other)
        changes = Changes(made.rig.store, PeopleByName(), step_rows=step_rows)
        everything = [told for told, _ in made.told]
        assert read_all(changes, "ann", limit) == everything
        assert read_all(changes, ADMIN, limit) == everything
        assert read_all(changes, "ben", limit) == [told for told, is_open in made.told if is_open]


def read_all(changes: Changes, who: str, limit: int) -> list[Told]:
    """Everything from the beginning, in pages, each change's cursor larger than the one before."""
    end = changes.read(ChangesRequest(who)).cursor
    cursor, told, last = 0, [], 0
    while cursor < end:
        reply = changes.read(ChangesRequest(who, None, cursor, limit))
        assert len(reply.changes) <= limit
        assert reply.cursor > cursor
        for change in reply.changes:
            assert last < change.cursor <= reply.cursor
            last = change.cursor
            told.append((change.kind, change.bucket, change.path))
        cursor = reply.cursor
    return told
