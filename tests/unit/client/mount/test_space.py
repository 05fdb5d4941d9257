"""The space that a mounted folder shows: the least of what quotas and the file servers' disks allow."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from lockstep_store.client.mount.space import KEPT_SECONDS, Space
from lockstep_store.client.mount.timed_calls import TimedCalls
from lockstep_store.wire.errors import Forbidden, LockstepError
from lockstep_store.wire.messages.quotas import QuotaInfo, QuotaReply, QuotaScope
from tests.fakes.clock import ManualClock
from tests.waiting import PATIENCE_SECONDS

DISKS = SimpleNamespace(capacity_bytes=1000, free_bytes=600)


class Cluster:
    """Two copies on three file servers, and quotas of bytes by scope: what is allowed, and what is used."""

    def __init__(self) -> None:
        self.quotas: dict[str, tuple[int | None, int | None]] = {}
        self.bucket_refusal: LockstepError | None = None
        self.asked = 0

    def status(self) -> Any:
        self.asked += 1
        return SimpleNamespace(copies=2, file_servers=[DISKS] * 3)

    def me(self) -> Any:
        return SimpleNamespace(name="ann")

    def quota(self, scope: QuotaScope, name: str) -> QuotaReply:
        assert name == {"bucket": "files", "account": "ann"}[scope]
        if scope == "bucket" and self.bucket_refusal is not None:
            raise self.bucket_refusal
        allowed, used = self.quotas.get(scope, (None, None))
        return QuotaReply(scope, name, [QuotaInfo("files", 1, 1), QuotaInfo("bytes", allowed, used)])


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def space(cluster: Cluster, clock: ManualClock) -> Iterator[Space]:
    calls = TimedCalls(deadline_seconds=PATIENCE_SECONDS, monotonic=clock.monotonic)
    yield Space(cluster, "files", calls, monotonic=clock.monotonic)  # type: ignore[arg-type]
    calls.close()


@pytest.mark.parametrize(
    ("quotas", "total", "free"),
    [
        ({}, 1500, 900),
        ({"bucket": (800, 300)}, 800, 500),
        ({"account": (700, None)}, 700, 700),
        ({"bucket": (800, 300), "account": (2000, 1900)}, 800, 100),
        ({"bucket": (100, 200)}, 100, 0),
    ],
)
def test_the_least_counts(
    space: Space, cluster: Cluster, quotas: dict[str, tuple[int | None, int | None]], total: int, free: int
) -> None:
    """Each copy takes its part of the disks, and what is used beyond a quota leaves nothing."""
    cluster.quotas = quotas
    assert space.look() == (total, free)


def test_a_bucket_of_somebody_else_shows_no_quota(space: Space, cluster: Cluster) -> None:
    cluster.quotas = {"bucket": (1, 0), "account": (400, 100)}
    cluster.bucket_refusal = Forbidden("only the owner may see it")
    assert space.look() == (400, 300)


def test_it_is_asked_for_again_after_some_seconds(space: Space, cluster: Cluster, clock: ManualClock) -> None:
    space.look()
    cluster.quotas = {"account": (400, 100)}
    clock.advance(KEPT_SECONDS - 1)
    assert space.look() == (1500, 900)
    clock.advance(1)
    assert space.look() == (400, 300)
    assert cluster.asked == 2
