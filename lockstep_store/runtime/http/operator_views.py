"""Pages for operators: /health for people and probes, /metrics for Prometheus."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from lockstep_store.wire.codec import encode
from lockstep_store.wire.messages.cluster import Health


class OperatorPage(NamedTuple):
    """A page as any server can send it."""

    status: int
    content_type: str
    body: bytes


def health_page(health: Health) -> OperatorPage:
    """The program's state; 503 while it is unhealthy."""
    return OperatorPage(200 if health.healthy else 503, "application/json", encode(health))


def metrics_page() -> OperatorPage:
    """All metrics of this process."""
    return OperatorPage(200, CONTENT_TYPE_LATEST, generate_latest())
