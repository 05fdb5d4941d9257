"""Following the locks over a proxy's server-sent events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from lockstep_store.client.api.locks import LockCalls
from lockstep_store.client.lock_watcher import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LockWatcher
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import NotLoggedIn, PeerUnreachable, Unavailable
from lockstep_store.wire.messages.locks import LockInfo, LockPath, LocksReply

FREE = LocksReply([], [])
HELD = LocksReply([LockInfo("lock-7", 7, [LockPath("files", "a\u2028b")], "bob", "", 1.0, 61.0, 60.0, 60.0)], [])


class Proxy:
    """A proxy whose replies are given: the lines of each, and the error after which the connection is lost."""

    url = "https://proxy"

    def __init__(self, *replies: list[bytes | Exception]) -> None:
        self.replies = list(replies)
        self.closed = 0

    def request(self, method: str, path: str, **_: Any) -> Proxy:
        assert (method, path) == ("GET", "/api/v1/locks/events")
        self.lines = self.replies.pop(0)
        if self.lines and isinstance(self.lines[0], Unavailable):
            raise self.lines[0]
        return self

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def iter_lines(self, chunk_size: int | None) -> Iterator[bytes]:
        for line in self.lines:
            if isinstance(line, Exception):
                raise line
            yield line


def event(state: LocksReply) -> list[bytes | Exception]:
    return [b"id: 1", b"event: locks", b"data: " + encode(state), b""]


UNCHANGED: list[bytes | Exception] = [b"event: unchanged", b"data: {}", b""]
GONE = requests.exceptions.ChunkedEncodingError("reset")


def watcher(proxy: Proxy, pauses: list[float], told: list[str]) -> Iterator[LocksReply]:
    calls = LockCalls(proxy)  # type: ignore[arg-type]
    return iter(LockWatcher(calls, on_trouble=told.append, sleep=pauses.append))


def test_states_come_as_they_are_sent() -> None:
    """What only keeps the connection open is none, and a stream that ends is opened again."""
    proxy = Proxy([b"retry: 3000", b"", *event(FREE), *UNCHANGED, *event(HELD)], event(HELD))
    pauses: list[float] = []
    told: list[str] = []
    states = watcher(proxy, pauses, told)
    assert [next(states) for _ in range(3)] == [FREE, HELD, HELD]
    assert (len(pauses), told, proxy.closed) == (1, [], 1)


def test_trouble_is_told_once_and_outlived() -> None:
    """A lost connection and a proxy that is away: the pauses grow, and the next state says that it is over."""
    proxy = Proxy([*event(FREE), GONE], [Unavailable("it is away")], [Unavailable("it is away")], event(HELD))
    pauses: list[float] = []
    told: list[str] = []
    states = watcher(proxy, pauses, told)
    assert [next(states), next(states)] == [FREE, HELD]
    assert len(told) == 2
    assert "was lost" in told[0]
    assert told[1] == ""
    assert FIRST_PAUSE_SECONDS / 2 <= pauses[0] < pauses[2] <= LONGEST_PAUSE_SECONDS


def test_the_first_failure_and_the_end_of_the_log_in_raise() -> None:
    """The caller learns at once that there is nothing to watch."""
    with pytest.raises(PeerUnreachable):
        next(watcher(Proxy([GONE]), [], []))
    problem = b'{"code": "not_logged_in", "status": 401, "detail": "log in again"}'
    states = watcher(Proxy([*event(FREE), b"event: end", b"data: " + problem, b""]), [], [])
    assert next(states) == FREE
    with pytest.raises(NotLoggedIn, match="log in again"):
        next(states)
