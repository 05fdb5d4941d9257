"""The comparison of mounted folders: ratios of what was measured, and what it says where something is missing."""

from __future__ import annotations

import pytest

from benchmarks.mounts.compare import Best, Goal, MountStep, compared
from benchmarks.mounts.steps import CUT_SECONDS, Took, Workplace


def _step(*goals: Goal) -> MountStep:
    def never(_: Workplace) -> Took:
        raise AssertionError("it is not measured here")

    return MountStep("mount: a step", never, goals)


def test_a_goal_compares_with_its_rival() -> None:
    """When the program returned, or when all was stored; the detail has everybody's results."""
    found = {
        "Lockstep": Best(Took(2.0, 3.0)),
        "JuiceFS": Best(Took(8.0, 8.0)),
        "rclone": Best(Took(1.0, 30.0, "nothing was sent")),
        "s3fs": Best(None, "absent: s3fs is not installed"),
    }
    step = _step(Goal(0.33, "JuiceFS"), Goal(0.05, "rclone", stored=True), Goal(1.5))
    results = list(compared(step, found))
    assert [(one.value, one.unit, one.reached) for one in results] == [
        (0.25, "of JuiceFS", True),
        (0.1, "of rclone", False),
        (2.0, "s", False),
    ]
    assert results[0].detail == (
        "Lockstep 2 s, stored after 3 s; JuiceFS 8 s; rclone 1 s, stored after 30 s, nothing was sent; "
        "s3fs absent: s3fs is not installed"
    )


def test_a_rival_without_a_result_gives_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"Lockstep": Best(Took(2.0)), "s3fs": Best(None, "cut at 180 s")}
    assert list(compared(_step(Goal(0.25, "s3fs")), found)) == []
    assert "no ratio: s3fs cut at 180 s" in capsys.readouterr().err


def test_a_failure_of_lockstep_misses_its_goals() -> None:
    found = {"Lockstep": Best(None, "failed: Host is down"), "JuiceFS": Best(Took(1.0))}
    results = list(compared(_step(Goal(0.33, "JuiceFS"), Goal(2.0)), found))
    assert [one.value for one in results] == [CUT_SECONDS, CUT_SECONDS]
    assert not any(one.reached for one in results)
