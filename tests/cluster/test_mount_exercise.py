"""Random operations on a file of a writable mount, compared with a model; what is closed, another mount reads.

An hour with `--soak`. `--seed` repeats a run.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.file_exercise import FileExercise
from tests.cluster.mounts import Mounted, need_fuse

pytestmark = pytest.mark.cluster

STEPS = 150
SOAK_SECONDS = 3600.0
BUCKET = "mount-exercise"


@pytest.fixture(autouse=True)
def _fuse() -> None:
    need_fuse()


def _exercise(cluster: ClusterHarness, home: Path, seed: int, seconds: float) -> None:
    """At least once, and again with another file until the time is over."""
    first = Mounted(cluster, home / "1", f"{BUCKET}:", "--writable", proxy=1)
    first.run("buckets", "create", BUCKET)
    seeds = random.Random(seed)
    with first, Mounted(cluster, home / "2", f"{BUCKET}:", "--writable", proxy=2) as second:
        ends = time.monotonic() + seconds
        while True:
            number = seeds.randrange(2**32)
            (first.folder / str(number)).mkdir()
            exercise = FileExercise(first.folder / str(number), second.folder / str(number), number)
            try:
                exercise.run(STEPS)
            finally:
                exercise.close()
            if time.monotonic() > ends:
                break
        assert [path for path in home.glob("*/.local/state/lockstep/*/unsaved/**/*") if path.is_file()] == []


def test_a_file_is_as_programs_left_it(shared_cluster: ClusterHarness, tmp_path: Path, seed: int) -> None:
    _exercise(shared_cluster, tmp_path, seed, 0.0)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS + 600)
def test_files_are_as_programs_left_them_for_an_hour(shared_cluster: ClusterHarness, tmp_path: Path, seed: int) -> None:
    _exercise(shared_cluster, tmp_path, seed, SOAK_SECONDS)
