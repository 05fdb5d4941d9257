"""The route for changes: those after a cursor, waiting for the first one.

The directory decides what a person may see, and the order. A long wait takes several calls to the directory. Clients
keep the cursor, so after a lost reply they repeat the request and lose nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.long_polls import LongPolls
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from client_proxy.doors.rest.schemas import BUCKET
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.errors import Overloaded
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.journal import CHANGES, ChangesReply, ChangesRequest
from lockstep_store.wire.messages.locks import MAX_WAIT_SECONDS

PAUSE_SECONDS = 0.2
"""The pause after an early reply without changes, which a stopping directory sends."""
LARGEST_CURSOR = 10**18 - 1


class ChangeRoutes:
    """The route /changes. `max_waiting` bounds the waiting requests, because each occupies a thread."""

    def __init__(
        self, directory: Directory, *, max_waiting: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._polls = LongPolls(max_waiting)
        self._monotonic = monotonic

    def stop_waiting(self) -> None:
        """Answer all waiting requests within one step."""
        self._polls.stop()

    def operations(self) -> list[Operation]:
        return [
            Operation(
                id="changes",
                method="GET",
                template="/changes",
                handler=self.changes,
                tag="Changes",
                summary="List the changes after a cursor, each once and in order",
                description=(
                    "Start without a cursor (from now on) or with 0 (from the first change ever), then send each "
                    "reply's `cursor` with the next request. The cursor may advance without changes, past those that "
                    "you may not see, such as changes in other people's private buckets."
                ),
                parameters=(
                    Parameter("bucket", "query", "Only changes in this bucket, not in all that you may use.", BUCKET),
                    Parameter("cursor", "query", "Only changes after this cursor.", between(0, LARGEST_CURSOR)),
                    Parameter("limit", "query", "Maximum number of changes in a reply.", between(1, MAX_LISTING)),
                    Parameter(
                        "wait", "query", "Seconds to wait for the first change.", between(0, int(MAX_WAIT_SECONDS))
                    ),
                ),
                answers={200: Answer("The changes, and the cursor for the next request.", Content(ChangesReply))},
                refusals=(
                    errors.BadName,
                    errors.BadRequest,
                    errors.Forbidden,
                    errors.NotFound,
                    errors.Conflict,
                    errors.Overloaded,
                    errors.QuotaExceeded,
                ),
            )
        ]

    def changes(self, request: RestRequest) -> RawReply:
        """GET /changes."""
        cursor = request.number_argument("cursor", -1, 0, LARGEST_CURSOR)
        wanted = ChangesRequest(
            credential=request.access(),
            bucket=request.bucket_argument() or None,
            cursor=None if cursor < 0 else cursor,
            limit=request.number_argument("limit", MAX_LISTING, 1, MAX_LISTING),
        )
        return json_reply(self._changes(wanted, request.number_argument("wait", 0, 0, int(MAX_WAIT_SECONDS))))

    def _changes(self, request: ChangesRequest, wait_seconds: float) -> ChangesReply:
        if not wait_seconds:
            return self._ask(request)
        with self._polls.place() as found:
            if not found:
                raise Overloaded("too many people wait for changes at this proxy; use another one, or try again soon")
            return self._wait(request, wait_seconds)

    def _wait(self, request: ChangesRequest, wait_seconds: float) -> ChangesReply:
        until = self._monotonic() + wait_seconds
        while True:
            began = self._monotonic()
            step = self._polls.step(until - began)
            reply = self._ask(msgspec.structs.replace(request, wait_seconds=step))
            now = self._monotonic()
            if reply.changes or now >= until or not step:
                return reply
            if reply.cursor == request.cursor and now - began < step / 2:
                self._polls.pause(PAUSE_SECONDS)
            request = msgspec.structs.replace(request, cursor=reply.cursor)

    def _ask(self, request: ChangesRequest) -> ChangesReply:
        reply: ChangesReply = self._directory.call(CHANGES, request)
        return reply
