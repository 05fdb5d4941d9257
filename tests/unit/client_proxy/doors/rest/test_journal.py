"""The journal and the cluster's servers over the API: what is asked of the directory, bounds, waits, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from client_proxy.core.directory_client import DirectoryClient
from client_proxy.doors.rest.journal import ChangeRoutes
from client_proxy.doors.rest.long_polls import STEP_SECONDS
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import Conflict, Forbidden, Overloaded, PeerUnreachable, Unavailable
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.cluster import (
    BALANCE,
    CLUSTER,
    DRAIN_SERVER,
    REMOVE_SERVER,
    REPAIR_REPORT,
    ClusterReply,
    FileServerInfo,
    LostFile,
    RepairInfo,
    RepairReport,
)
from lockstep_store.wire.messages.journal import CHANGES, Change, ChangesReply, ChangesRequest
from tests.fakes.clock import ManualClock
from tests.fakes.rest_core import ACCESS, FakeDirectory
from tests.unit.rest_door import TOKEN, Door, clean_door

CHANGE = Change(7, "write", "files", "a", "0000000000000007", 1.0, chunk_digest(b"x"), 1, "ann")
SERVER = FileServerInfo("3", "https://h:1", "draining", "", 9, 8, 1, 1, "", 0.5, held_blobs=1)
REPAIR = RepairInfo(1, 0, 1, 4, balancing=True)
LOST = LostFile("files", "a/b", "v1", chunk_digest(b"x"), 1, True, False, ["1"])


@pytest.fixture
def door() -> Door:
    return clean_door()


def test_changes_are_asked_for_as_given(door: Door) -> None:
    """Bucket, cursor and limit reach the directory, and its changes and cursor come back."""
    door.directory.answers[CHANGES.path] = ChangesReply([CHANGE], 7)
    answer = door.ask("GET", "/api/v1/changes?bucket=files&cursor=123456789012345&limit=5")
    assert (answer.status, answer.json["cursor"]) == (200, 7)
    assert answer.json["changes"][0]["path"] == "a"
    sent: ChangesRequest = door.directory.calls[-1][1]
    assert (sent.credential, sent.bucket, sent.cursor, sent.limit, sent.wait_seconds) == (
        ACCESS,
        "files",
        123456789012345,
        5,
        0,
    )
    door.ask("GET", "/api/v1/changes")
    assert (door.directory.calls[-1][1].bucket, door.directory.calls[-1][1].cursor) == (None, None)
    door.ask("GET", "/api/v1/changes?cursor=0")
    assert door.directory.calls[-1][1].cursor == 0


@pytest.mark.parametrize(
    "query",
    ["cursor=-1", "cursor=x", "cursor=1e3", "limit=0", "limit=1001", "wait=31", "wait=-1", "bucket=No", "since=4"],
)
def test_bad_arguments_are_refused(door: Door, query: str) -> None:
    """What cannot be meant is 400 with the reason, and the directory is not asked."""
    answer = door.ask("GET", f"/api/v1/changes?{query}")
    assert answer.status == 400
    assert query.partition("=")[0] in answer.json["detail"] or "bucket" in answer.json["detail"]
    assert door.directory.calls == []


def test_the_directorys_refusals_pass_through(door: Door) -> None:
    """A cursor that was never given out is 409 with the newest one; a busy directory is 503 with Retry-After."""
    door.directory.answers[CHANGES.path] = Conflict("there was no change 9 yet", cursor=5)
    answer = door.ask("GET", "/api/v1/changes?cursor=9")
    assert (answer.status, answer.json["cursor"]) == (409, 5)
    door.directory.answers[CHANGES.path] = Overloaded("too many watchers")
    answer = door.ask("GET", "/api/v1/changes?wait=5")
    assert answer.status == 503
    assert "Retry-After" in answer.headers


class WaitingDirectory(FakeDirectory):
    """Every call takes as long as it may wait; the change comes at `at` seconds."""

    def __init__(self, clock: ManualClock, at: float) -> None:
        super().__init__()
        self.clock, self.at = clock, at
        self.answers[CHANGES.path] = self._changes

    def _changes(self, request: ChangesRequest) -> ChangesReply:
        cursor = 3 if request.cursor is None else request.cursor
        left = self.at - self.clock.monotonic()
        self.clock.advance(max(0.0, min(left, request.wait_seconds)))
        return ChangesReply([CHANGE], 7) if left <= request.wait_seconds else ChangesReply([], cursor)


def routes(directory: FakeDirectory, clock: ManualClock) -> ChangeRoutes:
    return ChangeRoutes(directory, max_waiting=1, monotonic=clock.monotonic)


def test_a_wait_is_several_calls_from_one_place() -> None:
    """A wait from now on goes on, step by step, from the cursor that the first step was told."""
    clock = ManualClock()
    directory = WaitingDirectory(clock, at=5.0)
    reply = routes(directory, clock)._changes(ChangesRequest(TOKEN), 30)
    assert (reply.changes, clock.monotonic()) == ([CHANGE], 5.0)
    assert [(request.cursor, request.wait_seconds) for _, request in directory.calls] == [
        (None, STEP_SECONDS),
        (3, STEP_SECONDS),
        (3, STEP_SECONDS),
    ]


def test_a_wait_ends_when_it_is_over_or_the_proxy_stops() -> None:
    """Without a change the answer is empty in time; a proxy told to stop answers after the step under way."""
    clock = ManualClock()
    directory = WaitingDirectory(clock, at=1000.0)
    assert routes(directory, clock)._changes(ChangesRequest(TOKEN, cursor=3), 5) == ChangesReply([], 3)
    assert clock.monotonic() == 5.0
    stopping = routes(directory, clock)
    stopping.stop_waiting()
    assert stopping._changes(ChangesRequest(TOKEN, cursor=3), 30) == ChangesReply([], 3)
    assert clock.monotonic() == 5.0


def test_waits_are_bounded_in_number() -> None:
    """Beyond the bound a wait is 503 at once; a request that does not wait is still answered."""
    clock = ManualClock()
    busy = routes(WaitingDirectory(clock, at=1000.0), clock)
    with busy._polls.place() as found:
        assert found
        with pytest.raises(Overloaded, match="another one"):
            busy._changes(ChangesRequest(TOKEN), 5)
        assert busy._changes(ChangesRequest(TOKEN), 0) == ChangesReply([], 3)
    assert busy._changes(ChangesRequest(TOKEN), 5) == ChangesReply([], 3)


def test_a_wait_has_its_time_on_the_way_to_the_directory() -> None:
    """The call's own time-out begins behind the wait, and a lost answer is asked for again: reading changes nothing."""
    timeouts: list[float] = []

    class Peer:
        def call(self, url: str, call: Any, request: Any, timeout: float | None = None) -> Any:
            timeouts.append(timeout or 0.0)
            if len(timeouts) == 1:
                raise PeerUnreachable("the answer was lost")
            return ChangesReply([], 3)

    client = DirectoryClient(Peer(), "https://directory", sleep=lambda _: None)
    assert client.call(CHANGES, ChangesRequest(TOKEN, cursor=3, wait_seconds=30.0)) == ChangesReply([], 3)
    assert len(timeouts) == 2
    assert min(timeouts) > 30.0


def test_a_failed_wait_gives_its_place_back() -> None:
    """A directory that goes away in the middle of a wait does not use up the places."""
    clock = ManualClock()
    directory = FakeDirectory()
    directory.answers[CHANGES.path] = Unavailable("gone")
    failing = routes(directory, clock)
    for _ in range(3):
        with pytest.raises(Unavailable):
            failing._changes(ChangesRequest(TOKEN), 5)


@pytest.mark.parametrize(
    ("method", "target", "body", "call", "reply", "status", "sent"),
    [
        ("POST", "/servers/3/drain", None, DRAIN_SERVER, SERVER, 200, {"id": "3", "stop": False}),
        ("POST", "/servers/3/drain", {"stop": True}, DRAIN_SERVER, SERVER, 200, {"id": "3", "stop": True}),
        ("DELETE", "/servers/3", None, REMOVE_SERVER, Nothing(), 204, {"id": "3", "force": False}),
        ("DELETE", "/servers/3?force=true", None, REMOVE_SERVER, Nothing(), 204, {"force": True}),
        ("POST", "/balance", {"stop": True}, BALANCE, REPAIR, 200, {"stop": True}),
        ("POST", "/balance", None, BALANCE, REPAIR, 200, {"stop": False}),
        ("GET", "/repair", None, REPAIR_REPORT, RepairReport(REPAIR, True, [], None), 200, {"after": None}),
    ],
)
def test_operating_calls(
    door: Door, method: str, target: str, body: Any, call: Any, reply: Any, status: int, sent: dict[str, Any]
) -> None:
    """Each route makes its one call in the person's name, and the directory's refusal is the answer's."""
    door.directory.answers[call.path] = reply
    address = f"/api/v1/cluster{target}"
    answer = door.ask(method, address) if body is None else door.post(address, body, method)
    assert answer.status == status
    made = door.directory.calls[-1][1]
    assert made.credential == TOKEN
    assert {name: getattr(made, name) for name in sent} == sent
    door.directory.answers[call.path] = Forbidden("only an administrator may do this")
    assert door.ask(method, address).status == 403


def test_lost_files_come_in_pages(door: Door) -> None:
    """`after` names bucket, path and version in one text, though the path has slashes itself."""
    door.directory.answers[REPAIR_REPORT.path] = RepairReport(REPAIR, False, [LOST], ("files", "a/b", "v1"))
    answer = door.ask("GET", "/api/v1/cluster/repair?limit=1")
    assert (answer.json["lost"][0]["path"], answer.json["next_after"]) == ("a/b", ["files", "a/b", "v1"])
    door.ask("GET", "/api/v1/cluster/repair?after=files/a/b/v1&limit=9")
    sent = door.directory.calls[-1][1]
    assert (sent.after, sent.limit) == (("files", "a/b", "v1"), 9)
    for bad in ("files", "files/a", "NO/a/v1", "files/a%07/v1", "files/a/"):
        assert door.ask("GET", f"/api/v1/cluster/repair?after={bad}").status == 400


def test_servers_are_listed(door: Door) -> None:
    """Every file server with its state, and whether it is drained."""
    door.directory.answers[CLUSTER.path] = ClusterReply("0", 0.0, 0.0, 2, 0, 0, 0, 0, 0, 0, 0, [SERVER], REPAIR)
    (listed,) = door.ask("GET", "/api/v1/cluster/servers").json["file_servers"]
    assert (listed["id"], listed["state"], listed["held_blobs"]) == ("3", "draining", 1)
