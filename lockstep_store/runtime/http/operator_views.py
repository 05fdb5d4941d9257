"""Pages for operators: /health for people and probes, /metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from lockstep_store.wire.codec import encode
from lockstep_store.wire.messages.cluster import Health


def add_operator_views(app: Flask, health: Callable[[], Health]) -> None:
    """Serve both on `app`. /health replies 503 while `health()` reports that the program is unhealthy."""

    def health_view() -> Response:
        now = health()
        return Response(encode(now), 200 if now.healthy else 503, mimetype="application/json")

    def metrics_view() -> Response:
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)

    app.add_url_rule("/health", view_func=health_view, provide_automatic_options=False)
    app.add_url_rule("/metrics", view_func=metrics_view, provide_automatic_options=False)
