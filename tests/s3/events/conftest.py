"""A cluster whose notification targets keep what they get."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.s3.events.room import DAY, Room
from tests.s3.rig import S3Rig


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder, certs = tmp_path_factory.mktemp("told"), tmp_path_factory.getbasetemp() / "s3-certs"
    rig = S3Rig(folder, certs, lifecycle_day_seconds=DAY)
    room = Room(rig)
    rig.cluster.directory.targets._make_sender = room.make_sender
    yield room
    rig.close()
