"""The API's metrics, labelled by the route's template, never by the name of a bucket or file."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

REQUESTS = Counter(
    "lockstep_client_proxy_requests_total", "Requests to the API, by route and status", ["route", "method", "status"]
)
REQUEST_SECONDS = Histogram(
    "lockstep_client_proxy_request_seconds",
    "Seconds until the reply is ready, or for a large file until its first bytes are",
    ["route", "method"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
