"""Simulated clusters whose programs come back with less than they had: empty or older metadata, an older disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from tests.simulation.faults import FORGETFUL_KINDS
from tests.simulation.run import Laboratory, laboratory

SHORT_SEEDS = 8
SOAK_SEEDS = 1000
SOAK_BATCH = 20
PROFILE: dict[str, Any] = {"kinds": FORGETFUL_KINDS, "faults": 4, "servers": 3, "operations": 14}


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with laboratory() as made:
        yield made


def violations_of(lab: Laboratory, seeds: range) -> list[str]:
    wrong = []
    for seed in seeds:
        report = lab.run(seed, **PROFILE)
        if report.violations:
            told = "\n  ".join(report.violations)
            wrong.append(f"seed {seed}:\n  {told}")
    return wrong


def test_nothing_is_lost_or_given_twice_by_programs_that_forgot(lab: Laboratory, seed: int) -> None:
    """Whatever a directory or a file server forgets, every promise of the other simulations holds."""
    first = 2_000_000 + seed % 1_000_000
    wrong = violations_of(lab, range(SHORT_SEEDS)) + violations_of(lab, range(first, first + SHORT_SEEDS))
    assert not wrong, "\n".join(wrong)


def test_directories_that_forgot_are_noticed(lab: Laboratory) -> None:
    """The faults do happen, and file servers notice them."""
    story = "\n".join(
        line
        for seed in range(4)
        for line in lab.run(seed, story=True, **{**PROFILE, "kinds": FORGETFUL_KINDS[:3]}).story
    )
    assert "the directory has an older snapshot" in story
    assert "the directory has empty metadata" in story
    assert "has an older disk" in story
    assert "the metadata in" in story, "refused"


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
