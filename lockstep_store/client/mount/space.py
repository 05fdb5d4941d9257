"""How much space a mounted folder has: the least of what quotas and the file servers' disks allow."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.mount.timed_calls import TimedCalls
from lockstep_store.wire.errors import Forbidden, NotFound
from lockstep_store.wire.messages.quotas import QuotaReply

KEPT_SECONDS = 10.0


class Space:
    """The space in a bucket, asked for again after some seconds."""

    def __init__(
        self, api: ApiCalls, bucket: str, calls: TimedCalls, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._bucket = bucket
        self._calls = calls
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._kept: tuple[float, tuple[int, int]] | None = None

    def look(self) -> tuple[int, int]:
        """Return the bytes in all, and the free ones."""
        with self._guard:
            if self._kept is not None and self._monotonic() - self._kept[0] < KEPT_SECONDS:
                return self._kept[1]
        found = self._calls.run(self._ask)
        with self._guard:
            self._kept = (self._monotonic(), found)
        return found

    def _ask(self) -> tuple[int, int]:
        cluster = self._api.status()
        copies = max(1, cluster.copies)
        total = sum(server.capacity_bytes for server in cluster.file_servers) // copies
        free = sum(server.free_bytes for server in cluster.file_servers) // copies
        with contextlib.suppress(Forbidden, NotFound):  # only the bucket's owner may see its quota
            total, free = _within(self._api.quota("bucket", self._bucket), total, free)
        return _within(self._api.quota("account", self._api.me().name), total, free)


def _within(quota: QuotaReply, total: int, free: int) -> tuple[int, int]:
    for one in quota.quotas:
        if one.resource == "bytes" and one.allowed is not None:
            total = min(total, one.allowed)
            free = min(free, max(0, one.allowed - (one.used or 0)))
    return total, free
