"""The route that sends the locks as server-sent events: at once, and again whenever they have changed.

Each event has the whole list as the listener may see it, so a listener that missed some needs only the next. The
directory decides what that is, in the call that GET /locks makes; the feed only says when to ask. An event's id is a
hash of its content: it means the same at every proxy, and after every restart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import msgspec

from client_proxy.core.directory_calls import Directory
from client_proxy.core.lock_feed import LockFeed
from client_proxy.doors.callers import Callers
from client_proxy.doors.rest.listener_places import ListenerPlaces
from client_proxy.doors.rest.operation import TEXT, Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.tracing import request_id
from lockstep_store.wire import errors
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import LockstepError, to_problem
from lockstep_store.wire.messages.locks import LOCKS, MAX_LISTED_LOCKS, LocksReply, LocksRequest

LONGEST_SECONDS = 3600
STEP_SECONDS = 2.0
"""How soon a stopping proxy ends the streams, and a stream notices that its listener has gone."""
LIST_SECONDS = 10.0
"""The locks are listed at least this often: log-ins end, rights change, and leases are renewed without a change."""
LEAST_PAUSE_SECONDS = 0.2
PAUSE_SHARE = 20
"""After a listing, a stream waits this many times as long as it took: nobody's listening may cost others much."""
LONGEST_PAUSE_SECONDS = 5.0
RETRY_MILLISECONDS = 3000
_HEADERS = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Accel-Buffering", "no"),  # nginx would hold events back
)
_UNCHANGED = b"event: unchanged\ndata: {}\n\n"
"""Also shows a browser's page, to which comments are invisible, that the connection works."""
_EVENT = {
    "type": "object",
    "description": "One event: `data` is JSON, a `LocksReply` in `locks`, a `Problem` in `end`.",
    "properties": {"id": TEXT, "event": {"enum": ["locks", "unchanged", "end"]}, "data": TEXT},
    "required": ["event", "data"],
}


class _Listed(NamedTuple):
    id: str
    locks: LocksReply

    def event(self) -> bytes:
        return b"id: %b\nevent: locks\ndata: %b\n\n" % (self.id.encode(), encode(self.locks))


class _Stream:
    """The body of one reply. `end` is called when it is closed, whether or not it ever began."""

    def __init__(self, events: Iterator[bytes], end: Callable[[], None]) -> None:
        self._events = events
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return self._events

    def __next__(self) -> bytes:
        return next(self._events)

    def close(self) -> None:
        close = getattr(self._events, "close", None)
        if close is not None:
            close()
        self._end()


class LockEventRoutes:
    """The route /locks/events. Its listeners are bounded, because each occupies a thread."""

    def __init__(
        self,
        directory: Directory,
        callers: Callers,
        places: ListenerPlaces,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._callers = callers
        self._places = places
        self._monotonic = monotonic
        self._feed = LockFeed(directory)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End all streams within one step."""
        self._stopping.set()

    def operations(self) -> list[Operation]:
        return [
            Operation(
                id="watch_locks",
                method="GET",
                template="/locks/events",
                handler=self.watch,
                tag="Locks",
                summary="Follow the locks and who waits for them, as server-sent events",
                description=(
                    "Each event `locks` has everything that `GET /api/v1/locks` lists, up to "
                    f"{MAX_LISTED_LOCKS} locks and places: the first one at once, the others when that has changed. "
                    "An event `unchanged` comes every ten seconds otherwise. An event `end` is the last one and has an "
                    "error, such as `not_logged_in`. With the last event's id in `Last-Event-ID`, an unchanged list is "
                    "not repeated."
                ),
                parameters=(
                    Parameter("seconds", "query", "End the stream after this time.", between(0, LONGEST_SECONDS)),
                    Parameter("Last-Event-ID", "header", "The id of the last event that came."),
                ),
                answers={200: Answer("Until the stream ends.", Content(media="text/event-stream", schema=_EVENT))},
                refusals=(errors.Overloaded,),
            )
        ]

    def watch(self, request: RestRequest) -> RawReply:
        """GET /locks/events."""
        seconds = request.number_argument("seconds", LONGEST_SECONDS, 0, LONGEST_SECONDS)
        listing, known = partial(self._list, request.access()), request.bounded("Last-Event-ID")
        account, _ = self._callers.identify(request.credential())
        give_back = self._places.take(account)
        try:
            number, first = self._feed.number, listing()
        except BaseException:
            give_back()
            raise
        until = self._monotonic() + seconds
        events = self._events(listing, number, first, known, until)
        stream = _Stream(iter(()) if request.method == "HEAD" else events, give_back)
        return RawReply(200, list(_HEADERS), stream)

    def _events(
        self, listing: Callable[[], _Listed], seen: int, last: _Listed, known: str, until: float
    ) -> Iterator[bytes]:
        """Yield events, and nothing now and then, so that the runner can end the stream."""
        yield b"retry: %d\n\n" % RETRY_MILLISECONDS
        yield _UNCHANGED if known == last.id else last.event()
        listed_at, pause = self._monotonic(), LEAST_PAUSE_SECONDS
        with self._feed.listening():
            while (left := until - self._monotonic()) > 0 and not self._stopping.wait(min(pause, left)):
                pause = 0.0
                is_recent = self._monotonic() - listed_at < LIST_SECONDS
                if is_recent and self._feed.wait(seen, min(STEP_SECONDS, left)) == seen:
                    yield b""
                    continue
                seen, began = self._feed.number, self._monotonic()
                try:
                    found = listing()
                except LockstepError as error:
                    yield b"event: end\ndata: %b\n\n" % encode(to_problem(error, request_id()))
                    return
                listed_at = self._monotonic()
                pause = min(max(LEAST_PAUSE_SECONDS, PAUSE_SHARE * (listed_at - began)), LONGEST_PAUSE_SECONDS)
                yield _UNCHANGED if found.id == last.id else found.event()
                last = found

    def _list(self, access: str) -> _Listed:
        found = page = self._directory.call(LOCKS, LocksRequest(access))
        while page.next_after and len(found.locks) + len(found.waiters) < MAX_LISTED_LOCKS:
            page = self._directory.call(LOCKS, LocksRequest(access, page.next_after))
            found.locks += page.locks
            found.waiters += page.waiters
        found.next_after = page.next_after
        # Times are told to the second: made from two clocks, they differ a little each time.
        steady = [
            msgspec.structs.replace(lock, seconds_left=0.0, until_at=round(lock.until_at)) for lock in found.locks
        ]
        return _Listed(sha256(encode([steady, found.waiters])).hexdigest()[:32], found)
