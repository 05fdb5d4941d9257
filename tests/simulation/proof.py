"""What both kinds of simulated runs prove: no violations, and that every seeded bug is caught."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.simulation.bugs import Bug
from tests.simulation.run import Laboratory, Profile

CLEAN: set[str] = set()
"""Runs without a bug that were correct: several bugs share them."""


def violations(
    lab: Laboratory, seeds: Iterable[int], changes: Callable[[int], dict[str, Any]], option: str
) -> list[str]:
    """Return the violations of each of `seeds`, with the command that shows the run; `option` is what it takes."""
    wrong = []
    for seed in seeds:
        report = lab.run(seed, **changes(seed))
        if report.violations:
            told = "\n  ".join(report.violations)
            wrong.append(f"seed {seed} (python -m tests.simulation {option}{seed} -v):\n  {told}")
    return wrong


def prove_caught(lab: Laboratory, bug: Bug, within: int) -> None:
    """Fail unless the checkers complain of the bug within so many seeds, and not of the same run without it.

    The seed that is known to show the bug comes first.
    """
    for seed in sorted(range(within), key=lambda seed: seed != bug.shown_by):
        with bug.switched_on():
            report = lab.run(seed, **bug.profile)
        if report.violations:
            break
    else:
        pytest.fail(f"no checker complained in {within} seeds: {bug.name}")
    print(f"{bug.name}: caught at seed {seed}: {report.violations[0].splitlines()[0]}")
    profile = repr(Profile.of(seed, **bug.profile))
    if profile not in CLEAN:
        sound = lab.run(seed, **bug.profile)
        assert not sound.violations, "\n".join(sound.violations)
        CLEAN.add(profile)
