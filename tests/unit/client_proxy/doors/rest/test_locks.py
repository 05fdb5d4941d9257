"""Locks over the API: granted, in line, refused; waits longer than one call; renewals, releases, breaks."""

from __future__ import annotations

from typing import Any

import pytest

from client_proxy.doors.rest.locks import LockRoutes
from client_proxy.doors.rest.long_polls import STEP_SECONDS
from lockstep_store.wire.errors import Deadlock, Locked, Overloaded
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.locks import (
    ACQUIRE,
    LOCKS,
    RELEASE,
    RENEW,
    AcquireReply,
    AcquireRequest,
    LockInfo,
    LockPath,
    LocksReply,
    WaiterInfo,
)
from tests.fakes.clock import ManualClock
from tests.fakes.rest_core import ACCESS, FakeDirectory
from tests.unit.rest_door import TOKEN, Door

PATHS = [LockPath("files", "a")]
LOCK = LockInfo("l1", 7, PATHS, "bob", "menu", 1.0, 61.0, 42.5, 60.0, waiters=1)
WAITER = WaiterInfo("r" * 32, PATHS, "ann", "", 2, 1.0)
QUEUED = AcquireReply(waiter=WAITER, holders=[LOCK])
GRANTED = AcquireReply(lock=LOCK)


def test_a_free_lock_is_granted(door: Door) -> None:
    """200 with the lock; the paths, lease and client reach the directory, in any of the three spellings."""
    door.directory.answers[ACQUIRE.path] = GRANTED
    body = {"paths": ["files/a/b", {"bucket": "other", "path": "c"}], "lease_seconds": 5, "client": "shell 1"}
    answer = door.post("/api/v1/locks", body)
    assert (answer.status, answer.json["lock"]["number"]) == (200, 7)
    sent: AcquireRequest = door.directory.calls[-1][1]
    assert sent.credential == ACCESS
    assert sent.paths == [LockPath("files", "a/b"), LockPath("other", "c")]
    assert (sent.lease_seconds, sent.client, sent.wait_seconds, sent.queue) == (5, "shell 1", 0, True)
    assert len(sent.request_id) == 32
    door.post("/api/v1/locks", {"paths": ["files/a"], "bucket": "files", "request_id": "k" * 16})
    assert door.directory.calls[-1][1].paths == [LockPath("files", "files/a")]
    assert door.directory.calls[-1][1].request_id == "k" * 16


def test_a_place_in_line_is_202_with_flat_facts(door: Door) -> None:
    """202 says place, holder, end and seconds left at the top level, and the waiter in full."""
    door.directory.answers[ACQUIRE.path] = QUEUED
    answer = door.post("/api/v1/locks", {"paths": ["files/a"]})
    assert answer.status == 202
    facts = {key: answer.json[key] for key in ("place", "holder", "until", "seconds_left")}
    assert facts == {"place": 2, "holder": "bob", "until": 61.0, "seconds_left": 42.5}
    assert answer.json["waiter"]["id"] == WAITER.id
    assert answer.json["holders"][0]["number"] == 7
    assert answer.headers["X-Lockstep-Lock-Holder"] == "bob"


def test_refusals_pass_through(door: Door) -> None:
    """A refusal without a place is 423, a cycle 409, with the directory's facts."""
    door.directory.answers[ACQUIRE.path] = Locked("bob has it", holder="bob", seconds_left=3.0)
    answer = door.post("/api/v1/locks", {"paths": ["files/a"], "queue": False})
    assert (answer.status, answer.json["holder"]) == (423, "bob")
    assert door.directory.calls[-1][1].queue is False
    door.directory.answers[ACQUIRE.path] = Deadlock("ann waits for bob waits for ann", cycle=["ann", "bob"])
    answer = door.post("/api/v1/locks", {"paths": ["files/a"], "wait_seconds": 1})
    assert (answer.status, answer.json["cycle"]) == (409, ["ann", "bob"])


@pytest.mark.parametrize(
    "body",
    [
        {"paths": []},
        {"paths": ["files/a"] * 101},
        {"paths": ["files/a"], "wait_seconds": 301},
        {"paths": ["files/a"], "wait_seconds": -1},
        {"paths": ["files/a"], "lease_seconds": 0},
        {"paths": ["files/a"], "lease_seconds": 3601},
        {"paths": ["files/a"], "request_id": "short"},
        {"paths": [5]},
        {"paths": "files/a"},
        {},
    ],
)
def test_bounds(door: Door, body: dict[str, Any]) -> None:
    """Whatever is out of bounds is 400 before the directory is asked."""
    answer = door.post("/api/v1/locks", body)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert door.directory.calls == []


class WaitingDirectory(FakeDirectory):
    """Every acquire takes as long as it may wait, until `granted_at` seconds."""

    def __init__(self, clock: ManualClock, granted_at: float) -> None:
        super().__init__()
        self._clock = clock
        self._granted_at = granted_at
        self.answers[ACQUIRE.path] = self._acquire

    def _acquire(self, request: AcquireRequest) -> AcquireReply:
        left = self._granted_at - self._clock.monotonic()
        if left <= request.wait_seconds:
            self._clock.advance(max(0.0, left))
            return GRANTED
        self._clock.advance(request.wait_seconds)
        if not request.queue:
            raise Locked("bob has it")
        return QUEUED


def _request(queue: bool = True) -> AcquireRequest:
    return AcquireRequest(TOKEN, PATHS, "k" * 32, queue=queue)


def test_a_long_wait_is_several_calls_under_one_id() -> None:
    """A wait is asked for in short steps under the same id, until granted."""
    clock = ManualClock()
    directory = WaitingDirectory(clock, granted_at=75.0)
    routes = LockRoutes(directory, max_waiting=1, monotonic=clock.monotonic)
    assert routes._acquire(_request(), 100.0) is GRANTED
    waits = [request.wait_seconds for _, request in directory.calls]
    assert waits == [STEP_SECONDS] * 38
    assert {request.request_id for _, request in directory.calls} == {"k" * 32}
    assert clock.monotonic() == 75.0


def test_a_long_wait_ends_when_it_is_over() -> None:
    """A wait that is over keeps the place when that was asked for, and leaves none behind when not."""
    for queue in (True, False):
        clock = ManualClock()
        directory = WaitingDirectory(clock, granted_at=1000.0)
        routes = LockRoutes(directory, max_waiting=1, monotonic=clock.monotonic)
        if queue:
            assert routes._acquire(_request(), 5.0) is QUEUED
        else:
            with pytest.raises(Locked):
                routes._acquire(_request(queue=False), 5.0)
        assert [request.wait_seconds for _, request in directory.calls] == [2.0, 2.0, 1.0]
        assert [request.queue for _, request in directory.calls] == [True, True, queue]
        assert clock.monotonic() == 5.0


def test_waits_are_bounded_in_number() -> None:
    """When too many wait already, a wait with a place is answered at once with its place, one without is 503."""
    clock = ManualClock()
    directory = WaitingDirectory(clock, granted_at=1000.0)
    routes = LockRoutes(directory, max_waiting=1, monotonic=clock.monotonic)
    with routes._polls.place() as found:
        assert found
        assert routes._acquire(_request(), 70.0) is QUEUED
        assert clock.monotonic() == 0.0
        with pytest.raises(Overloaded):
            routes._acquire(_request(queue=False), 70.0)
    assert routes._acquire(_request(), 10.0) is QUEUED
    assert clock.monotonic() == 10.0


def test_list_renew_release_and_break(door: Door) -> None:
    """Listing, renewing (with or without a lease), releasing and breaking call the directory with what was sent."""
    door.directory.answers = {LOCKS.path: LocksReply([LOCK], [WAITER]), RENEW.path: LOCK, RELEASE.path: Nothing()}
    listed = door.ask("GET", "/api/v1/locks")
    assert (listed.status, listed.json["locks"][0]["account"], listed.json["waiters"][0]["place"]) == (200, "bob", 2)
    assert door.post("/api/v1/locks/l1", {"lease_seconds": 90}, "PUT").json["number"] == 7
    assert (door.directory.calls[-1][1].lock_id, door.directory.calls[-1][1].lease_seconds) == ("l1", 90)
    assert door.ask("PUT", "/api/v1/locks/l1").status == 200
    assert door.directory.calls[-1][1].lease_seconds is None
    released = door.ask("DELETE", "/api/v1/locks/l1")
    assert (released.status, released.body) == (204, b"")
    assert door.directory.calls[-1][1].break_lock is False
    assert door.ask("DELETE", "/api/v1/locks/l1?break=true").status == 204
    assert door.directory.calls[-1][1].break_lock is True
    assert door.ask("DELETE", "/api/v1/locks/l1?break=true&reason=you%20left").status == 204
    sent = door.directory.calls[-1][1]
    assert (sent.break_lock, sent.reason) == (True, "you left")
    for query in (
        "break=maybe",
        "reason=mine",
        "break=true&reason=",
        "break=true&reason=%1b",
        f"break=true&reason={'x' * 257}",
    ):
        assert door.ask("DELETE", f"/api/v1/locks/l1?{query}").status == 400
    assert door.ask("DELETE", "/api/v1/locks/" + "x" * 257).status == 400


def test_a_proxy_that_stops_answers_who_waits() -> None:
    """After stop_waiting a wait ends with its place in line instead of going on."""
    clock = ManualClock()
    directory = WaitingDirectory(clock, granted_at=1000.0)
    routes = LockRoutes(directory, max_waiting=1, monotonic=clock.monotonic)
    directory.answers[ACQUIRE.path] = lambda request: routes.stop_waiting() or directory._acquire(request)
    assert routes._acquire(_request(), 100.0) is QUEUED
    assert len(directory.calls) <= 2
