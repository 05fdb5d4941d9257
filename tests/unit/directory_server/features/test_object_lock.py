"""Object lock at the directory: nothing but time frees what is held."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.features.s3_settings import S3Settings
from directory_server.files.moment import Moment
from directory_server.files.versions import Versions
from directory_server.metadata.statements import buckets
from directory_server.metadata.statements.s3_settings import OBJECT_LOCK_WITHOUT_RULE
from directory_server.metadata.store import Tx
from lockstep_store.wire.errors import Forbidden
from lockstep_store.wire.messages.s3 import OBJECT_LOCK, RETENTION, PutBucketSettingRequest
from tests.fakes.directory_rig import ADMIN, DirectoryRig, PeopleByName


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DirectoryRig]:
    rig = DirectoryRig(tmp_path)
    yield rig
    rig.close()


def held(directory: DirectoryRig, seconds: float) -> tuple[str, float]:
    """A version of `files/k` in compliance mode for so long: its id and until when."""
    until = directory.clock.wall() + seconds
    setting = PutBucketSettingRequest(ADMIN, "files", OBJECT_LOCK, OBJECT_LOCK_WITHOUT_RULE)
    S3Settings(directory.store, directory.clock, PeopleByName(), directory.hooks).put_of_bucket(setting)
    retention = json.dumps({"Mode": "COMPLIANCE", "RetainUntilDate": until})
    return directory.write("k", settings={RETENTION: retention}).version, until


def test_a_retention_ends_at_its_time(directory: DirectoryRig) -> None:
    """Not a second before; then the version goes like any other."""
    version, until = held(directory, 1000)
    directory.time.advance(999)
    with pytest.raises(Forbidden) as refusal:
        directory.delete("k", version=version)
    assert refusal.value.facts["until_at"] == until
    directory.time.advance(1)
    assert directory.delete("k", version=version).existed


def test_a_wall_clock_put_forward_frees_nothing(directory: DirectoryRig) -> None:
    """Only the seconds that pass count; a clock that was put back makes it last longer."""
    version, _ = held(directory, 1000)
    directory.time.step_wall(1e6)
    with pytest.raises(Forbidden):
        directory.delete("k", version=version)
    directory.time.advance(999)
    with pytest.raises(Forbidden):
        directory.delete("k", version=version)
    directory.time.step_wall(-2e6)
    directory.time.advance(1)
    with pytest.raises(Forbidden):
        directory.delete("k", version=version)
    directory.time.step_wall(1e6)
    assert directory.delete("k", version=version).existed


def test_a_lock_outlives_a_directory_that_is_made_again(directory: DirectoryRig) -> None:
    """What a master notes down of a commit has the retention, and a version that is put back has it again."""
    settings = S3Settings(directory.store, directory.clock, PeopleByName(), directory.hooks)
    settings.put_of_bucket(PutBucketSettingRequest(ADMIN, "files", OBJECT_LOCK, OBJECT_LOCK_WITHOUT_RULE))
    retention = json.dumps({"Mode": "COMPLIANCE", "RetainUntilDate": directory.clock.wall() + 50})
    noted = directory.write("k", settings={RETENTION: retention})
    directory.time.advance(60)
    directory.delete("k", version=noted.version)
    assert noted.settings == {RETENTION: retention}

    def again(tx: Tx) -> bool:
        bucket = buckets.require(tx, "files")
        return Versions(directory.hooks).put_back(tx, bucket, noted, "noted-write-0001", Moment(0.0, 0.0, 0.0))

    assert directory.store.write(again)
    directory.time.step_wall(-60)
    with pytest.raises(Forbidden):
        directory.delete("k", version=noted.version)
