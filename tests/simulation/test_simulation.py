"""Promises kept under simulated faults, run after run; the same seed, the same run; and every seeded bug is caught.

`--seed` chooses the everyday seeds beside the fixed ones; `python -m tests.simulation SEED -v` tells one seed's story.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest

from tests import ROOT
from tests.linearizability import check
from tests.simulation.bugs import BUGS, Bug
from tests.simulation.clients import COUNTER
from tests.simulation.proof import prove_caught, violations
from tests.simulation.run import Laboratory, Profile, laboratory

FIXED_SEEDS = 12
SOAK_SEEDS = 10_000
SOAK_BATCH = 50
CAUGHT_WITHIN = 60
"""Seeds in which a bug must have shown itself. The rarest shows in about every tenth."""


def violations_of(lab: Laboratory, seeds: range) -> list[str]:
    """Return the violations of each of `seeds`, with the command that shows the run."""
    return violations(lab, seeds, lambda _: {}, "")


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    """One laboratory for all tests of this file: its template costs more than a run."""
    with laboratory() as made:
        yield made


def test_seeded_runs_keep_every_promise(lab: Laboratory, seed: int) -> None:
    """Histories are linearizable, copies are whole, lock numbers rise, the journal has no gap: whatever fails."""
    wrong = violations_of(lab, range(FIXED_SEEDS))
    first = 1_000_000 + seed % 1_000_000
    wrong += violations_of(lab, range(first, first + FIXED_SEEDS))
    print(f"{2 * FIXED_SEEDS} seeds, 0 to {FIXED_SEEDS - 1} and from {first}: {len(wrong)} with violations")
    assert not wrong, "\n".join(wrong)


def test_a_seed_is_the_same_run_every_time(lab: Laboratory) -> None:
    """Two runs of one seed go the same way step by step, also in another process whose hashes differ."""
    seed = 5
    first = lab.run(seed)
    lab.run(seed + 1)
    assert lab.run(seed).fingerprint == first.fingerprint
    program = f"from tests.simulation.run import laboratory\nwith laboratory() as l: print(l.run({seed}).fingerprint)"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)}
    other = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == first.fingerprint
    assert first.operations > 10
    assert first.switches > 100


def test_what_is_judged_really_happens(lab: Laboratory) -> None:
    """The judged operations really happen: every kind, most of them answered, also between faults."""
    reports = [lab.run(seed, faults=3, operations=20, people=4) for seed in range(2)]
    kinds = {kind.split()[0] for report in reports for kind in report.counts}
    assert kinds >= {"read", "write", "delete", "acquire", "release"}
    assert sum(report.answered for report in reports) > 0.6 * sum(report.operations for report in reports)


@pytest.mark.parametrize("bug", [bug for bug in BUGS if not bug.rare], ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_seeded_bug_is_caught(lab: Laboratory, bug: Bug) -> None:
    """With this one defect in the programs, the checkers complain within a few seeds; without it the same are clean."""
    prove_caught(lab, bug, CAUGHT_WITHIN)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_seeded_bug_is_caught(lab: Laboratory) -> None:
    """The same for every bug, including rare ones that need several seeds."""
    for bug in BUGS:
        prove_caught(lab, bug, CAUGHT_WITHIN)
    print(f"{len(BUGS)} of {len(BUGS)} seeded bugs caught")


def test_the_judge_sees_one_altered_answer(lab: Laboratory) -> None:
    """A correct history becomes wrong once its last read returns an older value."""
    history = lab.run(1, faults=0, operations=20, people=3, paths=1).history
    assert check(history) is None
    last = [each for each in history if each.kind == "read" and each.path == COUNTER][-1]
    older = next(each.value for each in history if each.kind == "write" and each.path == COUNTER)
    assert older != last.value
    altered = [replace(each, value=older) if each is last else each for each in history]
    assert check(altered) is not None


def _batch(seeds: range) -> list[str]:
    with laboratory() as lab:
        return violations_of(lab, seeds)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_ten_thousand_seeds() -> None:
    """10,000 seeds, each replayable from its number, without one violation. LOCKSTEP_SIMULATION_SEEDS=FIRST-LAST goes
    on where an earlier run was stopped."""
    first, _, last = os.environ.get("LOCKSTEP_SIMULATION_SEEDS", f"0-{SOAK_SEEDS - 1}").partition("-")
    seeds = range(int(first), int(last) + 1)
    started = time.monotonic()
    wrong: list[str] = []
    batches = [seeds[start : start + SOAK_BATCH] for start in range(0, len(seeds), SOAK_BATCH)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for done, found in enumerate(pool.map(_batch, batches), 1):
            wrong += found
            if done % 10 == 0 or done == len(batches):
                print(f"{min(done * SOAK_BATCH, len(seeds))} of {len(seeds)} seeds, {len(wrong)} with violations,"
                      f" {time.monotonic() - started:.0f} s", flush=True)  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_profiles_differ() -> None:
    """Seeds reach clusters of every size, with and without faults, losses and interruptions."""
    profiles = [Profile.of(seed) for seed in range(200)]
    assert {profile.servers for profile in profiles} == {2, 3, 4}
    assert {profile.faults for profile in profiles} >= {0, 7}
    assert {bool(profile.preempt) for profile in profiles} == {False, True}
    assert {bool(profile.conditions.lost_answers) for profile in profiles} == {False, True}
