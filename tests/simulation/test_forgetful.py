"""Simulated clusters whose programs come back with less than they had: empty or older metadata, an older disk.

The directory refuses older metadata. In half of the seeds its newest metadata comes back then; in the other half an
administrator accepts the older one, and file servers' records bring back what was done since.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from directory_server.maintenance import epochs, safe_to_start
from directory_server.maintenance.late_records import LateRecords
from directory_server.maintenance.recovery import Recovery
from lockstep_store.wire.messages import files
from tests.simulation.bugs import Bug, Put
from tests.simulation.faults import ACCEPTING_KINDS, FORGETFUL_KINDS, forgetful
from tests.simulation.proof import prove_caught, violations
from tests.simulation.run import Laboratory, laboratory

SHORT_SEEDS = 8
SOAK_SEEDS = 1000
SOAK_BATCH = 20
CAUGHT_WITHIN = 30


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with laboratory() as made:
        yield made


def violations_of(lab: Laboratory, seeds: range) -> list[str]:
    return violations(lab, seeds, forgetful, "--forgetful ")


def test_nothing_is_lost_or_given_twice_by_programs_that_forgot(lab: Laboratory, seed: int) -> None:
    """Whatever a directory or a file server forgets, every promise of the other simulations holds."""
    first = 2_000_000 + seed % 1_000_000
    wrong = violations_of(lab, range(SHORT_SEEDS)) + violations_of(lab, range(first, first + SHORT_SEEDS))
    assert not wrong, "\n".join(wrong)


def told(lab: Laboratory, kinds: tuple[str, ...], seeds: range) -> str:
    runs = (lab.run(seed, story=True, **{**forgetful(seed), "kinds": kinds}) for seed in seeds)
    return "\n".join(line for run in runs for line in run.story)


def test_directories_that_forgot_are_noticed(lab: Laboratory) -> None:
    """The faults do happen, and file servers notice them."""
    story = told(lab, FORGETFUL_KINDS[:3], range(4))
    assert "the directory has an older snapshot" in story
    assert "the directory has empty metadata" in story
    assert "has an older disk" in story
    assert "the metadata in" in story, "refused"


def test_older_metadata_is_accepted_and_made_newer(lab: Laboratory) -> None:
    """Directories do go on from older metadata, and make changes again that file servers have records of."""
    story = told(lab, ACCEPTING_KINDS[:3], range(4))
    assert "the directory goes on from an older snapshot" in story
    assert "the directory goes on from its oldest metadata" in story
    assert "redo records of file servers were replayed" in story


def _never_replayed(put: Put) -> None:
    def step(self: LateRecords) -> float:
        if self.wanted.sequence:
            self._settle([])
        return 0.5

    put(LateRecords, "step", step)


def _read_too_early(put: Put) -> None:
    put(epochs, "ANSWERED_WHILE_RESTORING", epochs.ANSWERED_WHILE_RESTORING | {files.LOOKUP.path})


def _read_while_starting(put: Put) -> None:
    put(epochs, "ANSWERED_WHILE_STARTING", epochs.ANSWERED_WHILE_STARTING | {files.LOOKUP.path})


def _numbers_repeat(put: Put) -> None:
    put(safe_to_start, "LOCK_NUMBER_JUMP", 0)
    put(safe_to_start, "JUMP_FOR_EACH_SECOND", 0)
    put(Recovery, "note_fence", lambda self, server_id, highest: None)


ACCEPTING: dict[str, Any] = {"kinds": ACCEPTING_KINDS[:2], "faults": 2, "servers": 3, "operations": 20}
FORGETTING: dict[str, Any] = {"kinds": FORGETFUL_KINDS[:1], "faults": 2, "servers": 3, "operations": 40}
BUGS = [
    Bug("file servers' records are not replayed", _never_replayed, ACCEPTING),
    Bug("people read before the records are replayed", _read_too_early, ACCEPTING, shown_by=8),
    Bug("people read before file servers have registered", _read_while_starting, FORGETTING),
    Bug("lock numbers go on from the older metadata", _numbers_repeat, ACCEPTING, shown_by=1),
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_seeded_bug_is_caught(lab: Laboratory, bug: Bug) -> None:
    """With this one defect in the programs, the checkers complain within a few seeds; without it the same are clean."""
    prove_caught(lab, bug, CAUGHT_WITHIN)


def _batch(seeds: range) -> list[str]:
    with laboratory() as lab:
        return violations_of(lab, seeds)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_thousand_forgetful_seeds() -> None:
    """LOCKSTEP_SIMULATION_SEEDS=FIRST-LAST chooses others."""
    first, _, last = os.environ.get("LOCKSTEP_SIMULATION_SEEDS", f"0-{SOAK_SEEDS - 1}").partition("-")
    seeds = range(int(first), int(last) + 1)
    batches = [seeds[start : start + SOAK_BATCH] for start in range(0, len(seeds), SOAK_BATCH)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        wrong = [violation for found in pool.map(_batch, batches) for violation in found]
    print(f"{len(seeds)} forgetful seeds, {len(wrong)} with violations")
    assert not wrong, "\n".join(wrong)
