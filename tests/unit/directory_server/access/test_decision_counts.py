"""Counts of decisions: what is counted, in which order, and how many there can be."""

from __future__ import annotations

import pytest

from directory_server.access import decision_counts
from directory_server.access.decision_counts import DecisionCounts
from lockstep_store.wire.messages.access import DecisionCount


def test_decisions_are_counted_by_bucket_action_and_ground() -> None:
    """The largest first; whether a ground allows is said with it."""
    counts = DecisionCounts()
    for bucket, action, ground in (
        ("b", "s3:GetObject", "nothing"),
        ("a", "s3:GetObject", "owner"),
        ("b", "s3:GetObject", "nothing"),
        ("b", "s3:GetObject", "denied"),
        ("b", "s3:GetObject", "grant"),
    ):
        counts.note(bucket, action, ground)  # type: ignore[arg-type]
    assert counts.all() == [
        DecisionCount("b", "s3:GetObject", "denied", "nothing", 2),
        DecisionCount("a", "s3:GetObject", "allowed", "owner", 1),
        DecisionCount("b", "s3:GetObject", "denied", "denied", 1),
        DecisionCount("b", "s3:GetObject", "allowed", "grant", 1),
    ]
    assert counts.all("a") == [DecisionCount("a", "s3:GetObject", "allowed", "owner", 1)]
    assert counts.all("c") == []


def test_however_many_buckets_there_are_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further ones count together, by action and ground; known ones go on counting for themselves."""
    monkeypatch.setattr(decision_counts, "MAX_COUNTED", 3)
    counts = DecisionCounts()
    for number in range(100):
        counts.note(f"bucket-{number}", "s3:PutObject", "shared")
        counts.note("bucket-0", "s3:PutObject", "shared")
    found = {one.bucket: one.count for one in counts.all()}
    assert found == {"bucket-0": 101, "bucket-1": 1, "bucket-2": 1, "": 97}
