"""The locks as server-sent events: what is sent and when, whom it ends for, and how many may listen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from client_proxy.doors.callers import Callers
from client_proxy.doors.rest.listener_places import ListenerPlaces
from client_proxy.doors.rest.lock_events import LIST_SECONDS, LockEventRoutes
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.wire.errors import BadRequest, LockstepError, NotLoggedIn, Overloaded, TooManyRequests, Unavailable
from lockstep_store.wire.messages.locks import (
    LOCK_CHANGES,
    LOCKS,
    LockChangesReply,
    LockInfo,
    LockPath,
    LocksReply,
    WaiterInfo,
)
from lockstep_store.wire.messages.people import WHO_AM_I, AccountInfo
from tests.fakes.clock import ManualClock
from tests.fakes.rest_core import ACCESS, TOKEN, FakeDirectory
from tests.fakes.wsgi import request_environ
from tests.unit.rest_door import Door

PATHS = [LockPath("files", "a")]
LOCK = LockInfo("lock-7", 7, PATHS, "bob", "menu", 1.0, 61.0, 42.5, 60.0)
WAITER = WaiterInfo("r" * 32, PATHS, "ann", "", 1, 1.0)
FREE, HELD, WANTED = LocksReply([], []), LocksReply([LOCK], []), LocksReply([LOCK], [WAITER])


class Rig:
    """A route whose time passes only in waits for the feed. `told`: the number that the feed has at each wait."""

    def __init__(self, *lists: LocksReply | LockstepError, at_most: int = 9, per_account: int = 9) -> None:
        self.clock, self.directory = ManualClock(), FakeDirectory()
        self.lists = list(lists)
        self.directory.answers[LOCKS.path] = self._listing
        self.directory.answers[LOCK_CHANGES.path] = lambda request: LockChangesReply(1)
        self.directory.answers[WHO_AM_I.path] = lambda request: AccountInfo(request.credential[4:], False, 0.0)
        places = ListenerPlaces(at_most, per_account)
        self.routes = LockEventRoutes(self.directory, Callers(self.directory), places, self.clock.monotonic)
        self.routes._feed = self  # type: ignore[assignment]
        self.routes._stopping.wait = self._pause  # type: ignore[method-assign, assignment]
        self.number = 0
        self.told: list[int] = []
        self.listeners = 0

    def _listing(self, request: Any) -> LocksReply:
        found = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(found, LockstepError):
            raise found
        return msgspec.json.decode(msgspec.json.encode(found), type=LocksReply)

    def _pause(self, seconds: float | None = None) -> bool:
        self.clock.advance(seconds or 0.0)
        return self.routes._stopping.is_set()

    def listening(self) -> Rig:
        return self

    def __enter__(self) -> None:
        self.listeners += 1

    def __exit__(self, *_: object) -> None:
        self.listeners -= 1

    def wait(self, seen: int, seconds: float) -> int:
        if self.told:
            self.number = self.told.pop(0)
        if self.number == seen:
            self.clock.advance(seconds)
        return self.number

    def open(self, query: str = "", token: str = TOKEN, method: str = "GET", **headers: str) -> Iterator[bytes]:
        given = {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        environ = request_environ(method, f"/api/v1/locks/events{query}", headers=given)
        reply = self.routes.watch(RestRequest(environ, {}))
        assert reply.status == 200
        assert dict(reply.headers)["Content-Type"] == "text/event-stream"
        return reply.body  # type: ignore[return-value]


def events(body: Iterator[bytes]) -> list[tuple[str, Any]]:
    """The name and data of each event with news."""
    found = []
    for block in b"".join(body).decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields.get("event", "unchanged") != "unchanged":
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def id_of(body: Iterator[bytes]) -> str:
    return next(line[4:] for line in b"".join(body).decode().splitlines() if line.startswith("id: "))


def test_the_locks_come_at_once_and_when_they_change() -> None:
    """Each event has everything; what is as before is not sent again."""
    rig = Rig(FREE, HELD, HELD, WANTED)
    rig.told = [1, 2, 3]
    found = events(rig.open("?seconds=5"))
    assert [name for name, _ in found] == ["locks"] * 3
    lists = [msgspec.convert(data, LocksReply) for _, data in found]
    assert lists == [FREE, HELD, WANTED]
    assert {request.credential for path, request in rig.directory.calls if path == LOCKS.path} == {ACCESS}
    assert rig.listeners == 0


def test_nothing_is_asked_while_nothing_changes() -> None:
    """Until it is time to look whether log-in and rights are still the same; the listener hears that nothing did."""
    rig = Rig(HELD)
    stream = rig.open(f"?seconds={int(LIST_SECONDS * 3) - 1}")
    text = b"".join(stream)
    assert text.count(b"event: locks") == 1
    assert text.count(b"event: unchanged") == 2
    assert len(rig.directory.calls) == 1 + 3  # who it is, and three lists


def test_what_only_passes_is_no_change() -> None:
    """The seconds that a lease has left, and an expiry that differs by a blink; a renewal is one."""
    later = msgspec.structs.replace(LOCK, seconds_left=10.0, until_at=61.0003)
    renewed = msgspec.structs.replace(LOCK, until_at=101.0)
    rig = Rig(HELD, LocksReply([later], []), LocksReply([renewed], []))
    rig.told = [1, 2]
    assert len(events(rig.open("?seconds=5"))) == 2


def test_an_id_means_the_same_everywhere() -> None:
    """A listener that has the last event is not sent it again, by another proxy either."""
    id = id_of(Rig(HELD).open("?seconds=0"))
    assert events(Rig(HELD).open("?seconds=0", Last_Event_ID=id)) == []
    assert len(events(Rig(WANTED).open("?seconds=0", Last_Event_ID=id))) == 1
    assert len(events(Rig(HELD).open("?seconds=0"))) == 1


def test_many_changes_at_once_are_one_event() -> None:
    """After a list a stream pauses, so the directory is not asked for each of many changes."""
    rig = Rig(FREE, HELD)
    rig.told = list(range(1, 1000))
    events(rig.open("?seconds=5"))
    lists = sum(path == LOCKS.path for path, _ in rig.directory.calls)
    assert lists <= 1 + 5 / 0.2


def test_a_slow_list_is_asked_for_less_often() -> None:
    """The pause grows with what a list costs."""
    rig = Rig(FREE)
    answer = rig._listing

    def slow(request: Any) -> LocksReply:
        rig.clock.advance(0.1)
        return answer(request)

    rig.directory.answers[LOCKS.path] = slow
    rig.told = list(range(1, 1000))
    events(rig.open("?seconds=30"))
    lists = sum(path == LOCKS.path for path, _ in rig.directory.calls)
    assert lists <= 3 + 30 / 2.1


def test_long_lists_come_whole() -> None:
    """Pages of the directory are put together."""
    rig = Rig(LocksReply([LOCK], [], "L7"), LocksReply([], [WAITER]))
    ((_, data),) = events(rig.open("?seconds=0"))
    assert msgspec.convert(data, LocksReply) == WANTED
    assert [request.after for path, request in rig.directory.calls if path == LOCKS.path] == ["", "L7"]


@pytest.mark.parametrize("failure", [NotLoggedIn("the log-in has ended"), Unavailable("the directory is away")])
def test_a_stream_ends_with_its_reason(failure: LockstepError) -> None:
    """With the log-in, or when nobody can say what changes: a listener then tries again and gets the refusal itself."""
    rig = Rig(HELD, failure)
    rig.told = [1]
    ((first, _), (last, problem)) = events(rig.open())
    assert (first, last, problem["code"]) == ("locks", "end", failure.code)
    assert rig.listeners == 0


@pytest.mark.parametrize(
    ("failure", "status"), [(NotLoggedIn("who are you?"), 401), (Unavailable("the directory is away"), 503)]
)
def test_refusals_come_before_the_stream(door: Door, failure: LockstepError, status: int) -> None:
    """As a status with a problem, as everywhere; so do wrong arguments."""
    door.directory.answers[WHO_AM_I.path] = AccountInfo("ann", False, 0.0)
    door.directory.answers[LOCKS.path] = failure
    answer = door.ask("GET", "/api/v1/locks/events")
    assert (answer.status, answer.json["code"]) == (status, failure.code)
    for query in ("seconds=-1", "seconds=3601", "seconds=x", "after=L1"):
        assert door.ask("GET", f"/api/v1/locks/events?{query}").status == 400


def test_the_route_answers(door: Door) -> None:
    """Through the whole application, once and to its end; HEAD has no body and leaves no place taken."""
    door.directory.answers[WHO_AM_I.path] = AccountInfo("ann", False, 0.0)
    door.directory.answers[LOCKS.path] = HELD
    answer = door.ask("GET", "/api/v1/locks/events?seconds=0")
    assert (answer.status, answer.error) == (200, None)
    assert msgspec.convert(events(iter([answer.body]))[0][1], LocksReply) == HELD
    for _ in range(20):
        head = door.ask("HEAD", "/api/v1/locks/events")
        assert (head.status, head.body) == (200, b"")


def test_listeners_are_bounded() -> None:
    """Those of one account, and all; who goes gives the place back, also one who never read."""
    rig = Rig(HELD, at_most=3, per_account=2)
    ann = [rig.open(token="lst_ann") for _ in range(2)]
    with pytest.raises(TooManyRequests, match="ann already listens 2 times"):
        rig.open(token="lst_ann")
    next(ann[0])
    bob = rig.open(token="lst_bob")
    with pytest.raises(Overloaded, match="too many people listen"):
        rig.open(token="lst_bob")
    for one in (*ann, *ann):
        one.close()  # type: ignore[attr-defined]
    rig.open(token="lst_bob")
    rig.open(token="lst_ann")
    with pytest.raises(Overloaded):
        rig.open(token="lst_carl")
    bob.close()  # type: ignore[attr-defined]
    rig.open(token="lst_carl")


def test_a_refused_listener_takes_no_place() -> None:
    """However often it tries."""
    rig = Rig(NotLoggedIn("who are you?"), HELD, at_most=1)
    with pytest.raises(NotLoggedIn):
        rig.open()
    for _ in range(2):
        with pytest.raises(BadRequest):
            rig.open(Last_Event_ID="x" * 10_000)
    assert len(events(rig.open("?seconds=0"))) == 1


def test_a_proxy_that_stops_ends_its_streams() -> None:
    """After the step under way."""
    rig = Rig(HELD)
    stream = rig.open()
    parts = [next(stream) for _ in range(3)]
    assert b"event: locks" in parts[1]
    rig.routes.stop()
    assert list(stream) == []
    assert rig.listeners == 0
