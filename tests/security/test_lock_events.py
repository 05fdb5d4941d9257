"""Who listens for locks hears what a listing would show, as long as their log-in lasts; the listeners are bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from client_proxy.doors.rest import lock_events
from client_proxy.doors.rest.app import LISTENING_PER_ACCOUNT
from tests.fakes.wsgi import request_environ
from tests.s3.rig import S3Rig
from tests.security.people import Person


class Listener:
    """A stream that is open; `heard` is all that came."""

    def __init__(self, rig: S3Rig, headers: dict[str, str]) -> None:
        begun: list[str] = []
        environ = request_environ("GET", "/api/v1/locks/events?seconds=60", headers=headers)
        self._body: Any = rig.cluster.proxies["1"].app.wsgi_app(environ, lambda status, *_: begun.append(status))
        self._pieces = iter(self._body)
        self.status = int(begun[0][:3])
        self.heard = b""

    def next(self) -> tuple[str, Any] | None:
        """The name and data of the next event; None when the stream has ended."""
        for piece in self._pieces:
            self.heard += piece
            if b"event: locks" in piece or b"event: end" in piece:
                fields = dict(line.split(": ", 1) for line in piece.decode().splitlines() if line)
                return fields["event"], json.loads(fields["data"])
        return None

    def close(self) -> None:
        self._body.close()


@contextmanager
def listening(rig: S3Rig, headers: dict[str, str]) -> Iterator[Listener]:
    listener = Listener(rig, headers)
    try:
        yield listener
    finally:
        listener.close()


def lock(person: Person, *names: str) -> str:
    answer = person.ask("POST", "/locks", json.dumps({"paths": [*names]}).encode(), Content_Type="application/json")
    assert answer.status == 200, answer.body
    return str(answer.json["lock"]["id"])


def names_in(event: tuple[str, Any] | None) -> set[str]:
    assert event is not None
    assert event[0] == "locks"
    entries = [*event[1]["locks"], *event[1]["waiters"]]
    return {f"{path['bucket']}/{path['path']}" for entry in entries for path in entry["paths"]}


def test_a_stranger_hears_nothing_of_private_buckets(rig: S3Rig, olga: Person, eve: Person) -> None:
    """Neither at the beginning nor later; the owner does. Each hears what a listing shows them."""
    private = olga.bucket()
    kept = [lock(olga, f"{private}/before")]
    with listening(rig, eve.headers) as stranger, listening(rig, olga.headers) as owner:
        assert f"{private}/before" in names_in(owner.next())
        assert stranger.next() is not None
        kept += [lock(olga, f"{private}/diary"), lock(olga, "files/shared", f"{private}/both")]
        while f"{private}/both" not in (names := names_in(owner.next())):
            pass
        assert {f"{private}/before", f"{private}/diary", "files/shared"} <= names
        while "files/shared" not in (names := names_in(stranger.next())):
            pass
        assert not {name for name in names if name.startswith(private)}
        assert private.encode() not in stranger.heard
        shown = eve.ask("GET", "/locks").json
        assert names_in(("locks", shown)) == names
    for id in kept:
        assert olga.ask("DELETE", f"/locks/{id}").status == 204


def test_a_stream_ends_with_its_log_in(rig: S3Rig, olga: Person) -> None:
    """The next change is not told any more: the last event says why."""
    leaving = rig.cluster.log_in("leaving")
    with listening(rig, leaving) as listener:
        assert names_in(listener.next()) == set()
        assert rig.cluster.ask_with(leaving, "POST", "/auth/logout").status == 204
        id = lock(olga, "files/after")
        name, problem = listener.next() or ("", {})
        assert (name, problem["code"]) == ("end", "not_logged_in")
        assert listener.next() is None
        assert b"files" not in listener.heard
    assert olga.ask("DELETE", f"/locks/{id}").status == 204


def test_a_stream_ends_with_its_log_in_when_nothing_changes(rig: S3Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it wait for a change: it looks again after a while."""
    monkeypatch.setattr(lock_events, "LIST_SECONDS", 0.1)
    monkeypatch.setattr(lock_events, "STEP_SECONDS", 0.05)
    leaving = rig.cluster.log_in("leaving")
    with listening(rig, leaving) as listener:
        assert listener.next() is not None
        assert rig.cluster.ask_with(leaving, "POST", "/auth/logout").status == 204
        assert (listener.next() or ("", {}))[0] == "end"


def test_one_account_cannot_take_all_places(rig: S3Rig, olga: Person, eve: Person) -> None:
    """Beyond its bound it is refused, others are not, and a listener that leaves makes room."""
    open_ones = [Listener(rig, eve.headers) for _ in range(LISTENING_PER_ACCOUNT)]
    try:
        assert [one.status for one in open_ones] == [200] * LISTENING_PER_ACCOUNT
        refused = eve.ask("GET", "/locks/events?seconds=0")
        assert (refused.status, refused.json["code"]) == (429, "too_many_requests")
        assert olga.ask("GET", "/locks/events?seconds=0").status == 200
        open_ones.pop().close()
        assert eve.ask("GET", "/locks/events?seconds=0").status == 200
    finally:
        for one in open_ones:
            one.close()
