"""Back-off doubles, stays within its bound, and spreads callers when asked to."""

from __future__ import annotations

import random

from lockstep_store.runtime.backoff import JITTER, pause_after


def test_pauses_double_up_to_the_longest() -> None:
    """The first failure costs the first pause, and no number of them more than the longest."""
    pauses = [pause_after(failures, 0.5, 3.0) for failures in range(1, 6)]
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_failures_without_end_overflow_nothing() -> None:
    """A target that is down for months is still tried at the longest pause."""
    assert pause_after(10**9, 1.0, 60.0) == 60.0


def test_jitter_spreads_around_the_pause() -> None:
    """From half of it to one and a half times; on average the pause itself."""
    spread = [pause_after(2, 1.0, jitter=lambda n=number: n / 10) for number in range(11)]
    assert (min(spread), spread[5], max(spread)) == (1.0, 2.0, 3.0)


def test_jitter_leaves_a_seeded_generator_alone() -> None:
    """A retry in the background must not change what a seeded run draws; Hypothesis refuses to go on if one does."""
    before = random.getstate()
    assert 0.0 <= JITTER() < 1.0
    assert random.getstate() == before
