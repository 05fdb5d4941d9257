"""Counts of requests in sliding windows, by the library `limits`: in memory, or in a storage that proxies share.

While a shared storage fails, the proxy counts by itself: people can work, and each proxy still limits what passes it.
A sliding window counter takes two numbers for each address, however high the limit is, and every storage has it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from limits import RateLimitItemPerSecond
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from client_proxy.rate_limits.rules import IN_MEMORY, RateRule
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import SetupError

STORAGE_SECONDS = 0.5
"""How long a request waits for a shared storage."""
RETRY_SECONDS = 5.0
"""How long a storage that failed is left alone."""

_OPTIONS: dict[str, dict[str, float]] = {
    "redis": {"socket_timeout": STORAGE_SECONDS, "socket_connect_timeout": STORAGE_SECONDS},
    "memcached": {"timeout": STORAGE_SECONDS, "connect_timeout": STORAGE_SECONDS},
}
_SCHEMES = {"redis": "redis", "rediss": "redis", "redis+unix": "redis", "memcached": "memcached"}


class RequestCounts:
    """Thread-safe. `storage` is `memory` or a URI. SetupError when it cannot be used."""

    def __init__(self, storage: str = IN_MEMORY, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared: SlidingWindowCounterRateLimiter | None = None
        self._retry_at = float("-inf")
        self._errors: tuple[type[Exception], ...] = (StorageError, OSError)
        if storage != IN_MEMORY:
            shared = _open(storage)
            found = shared.base_exceptions
            self._errors += found if isinstance(found, tuple) else (found,)
            self._shared = SlidingWindowCounterRateLimiter(shared)

    @property
    def problem(self) -> str:
        """Why the proxy counts by itself, though a shared storage is set; empty when it does not."""
        if self._monotonic() < self._retry_at:
            return "the shared storage of rate limits does not answer, so each proxy counts by itself"
        return ""

    def take(self, rule: RateRule, whose: str) -> tuple[bool, int, int]:
        """Count a request. Returns whether it is allowed, how many more are, and the seconds until that changes."""
        if self._shared is not None and self._monotonic() >= self._retry_at:
            try:
                return _take(self._shared, rule, whose)
            except self._errors as error:
                self._retry_at = self._monotonic() + RETRY_SECONDS
                log.warning("the shared storage of rate limits failed, so this proxy counts by itself: %s", error)
        return _take(self._own, rule, whose)


def _take(limiter: SlidingWindowCounterRateLimiter, rule: RateRule, whose: str) -> tuple[bool, int, int]:
    item = RateLimitItemPerSecond(rule.count, rule.seconds, namespace="lockstep")
    allowed = limiter.hit(item, rule.name, whose)
    stats = limiter.get_window_stats(item, rule.name, whose)
    left = max(0, stats.remaining) if allowed else 0
    return allowed, left, max(1, math.ceil(stats.reset_time - time.time()))


def _open(uri: str) -> Storage:
    kind = _SCHEMES.get(uri.partition("://")[0])
    if kind is None:
        raise SetupError(
            f"--rate-limit-storage takes {IN_MEMORY}, redis://HOST:PORT or memcached://HOST:PORT, not {_shown(uri)}"
        )
    try:
        storage = storage_from_string(uri, wrap_exceptions=True, **_OPTIONS[kind])
    except ConfigurationError as error:
        raise SetupError(
            f"--rate-limit-storage {_shown(uri)} needs a library that is not installed: "
            f"pip install 'lockstep-store[{kind}]'"
        ) from error
    except ValueError as error:
        raise SetupError(f"--rate-limit-storage {_shown(uri)} cannot be used: {error}") from error
    if not isinstance(storage, Storage):
        raise TypeError(type(storage).__name__)
    return storage


def _shown(uri: str) -> str:
    """The URI without its password."""
    before, at, after = uri.rpartition("@")
    return f"{before.partition('://')[0]}://…@{after}" if at else uri
