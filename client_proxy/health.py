"""Checks whether a proxy can do its work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.metadata import version
from threading import Lock
from typing import Any

from client_proxy.core.cache import Cache
from lockstep_store.runtime.peers.protocols import Opener
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.errors import LockstepError, PeerUnreachable
from lockstep_store.wire.messages.base import Message
from lockstep_store.wire.messages.cluster import Health


class _DirectoryHealth(Message):
    """What matters here in the directory's health."""

    facts: dict[str, Any] = {}


_healths = decoder(_DirectoryHealth)
ASK_SECONDS = 2.0
HEALTHY_SECONDS = 1.0
FAILED_SECONDS = 0.2
"""How long a result is reused. A failure is reused for less time, so a start is noticed soon."""


class HealthCheck:
    """A proxy is healthy if the directory replies. A full cache disk is reported but no failure: reads still work."""

    def __init__(
        self,
        id: str,
        peer: Opener,
        directory_url: str,
        cache: Cache,
        limits: Callable[[], dict[str, Any]] = dict,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limits` are the facts about rate limits."""
        self._id = id
        self._peer = peer
        self._directory_url = directory_url
        self._cache = cache
        self._limits = limits
        self._monotonic = monotonic
        self._started = monotonic()
        self._asked_at = float("-inf")
        self._problem = ""
        self._guard = Lock()
        self.incompatibility: Callable[[], str] = str
        """Why the directory's release and this one cannot work together; empty if they can."""

    def __call__(self) -> Health:
        problem = self.incompatibility() or self._directory_problem()
        return Health(
            program="client_proxy",
            id=self._id,
            version=version("lockstep-store"),
            healthy=not problem,
            problems=[problem] if problem else [],
            uptime_seconds=self._monotonic() - self._started,
            pid=os.getpid(),
            facts={
                "directory_url": self._directory_url,
                "cache_bytes": self._cache.stored_bytes,
                "cache_entries": len(self._cache),
                "cache_writable": self._cache.writable,
                **self._limits(),
            },
        )

    def _directory_problem(self) -> str:
        with self._guard:  # concurrent monitors cause one call to the directory
            remembered = FAILED_SECONDS if self._problem else HEALTHY_SECONDS
            if self._monotonic() - self._asked_at > remembered:
                self._problem = self._ask()
                self._asked_at = self._monotonic()
            return self._problem

    def _ask(self) -> str:
        try:
            with self._peer.open(self._directory_url, "GET", "/health", timeout=ASK_SECONDS) as answer:
                health = _healths.decode(answer.read_all(64 * 1024))
        except PeerUnreachable as error:
            return f"the directory server is unreachable: {error}"
        except LockstepError:
            return ""  # it replied; its own health shows its problems
        return "no directory server is active yet" if health.facts.get("standing_by") else ""
