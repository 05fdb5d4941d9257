"""The thin layer's own replies: the pages for operators, and addresses that it does not know."""

from __future__ import annotations

import pytest

from lockstep_store.runtime.http.api import Api
from lockstep_store.wire.messages.cluster import CLUSTER, Health
from tests.fakes.wsgi import ask


@pytest.fixture
def api() -> Api:
    made = Api("file_server", "1")
    made.serve(CLUSTER, lambda request, peer: pytest.fail("must not be called"))
    return made


def test_health_is_a_page_for_people_and_probes(api: Api) -> None:
    """Its status is all that a probe looks at; HEAD has the same headers and no body."""
    answer = ask(api, "GET", "/health")
    assert (answer.status, answer.json["program"], answer.json["healthy"]) == (200, "file_server", True)
    assert answer.headers["Content-Type"] == "application/json"
    head = ask(api, "HEAD", "/health")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(answer.body))
    api.health = lambda: Health(False, "file_server", "1", "", problems=["the disk is full"])
    answer = ask(api, "GET", "/health")
    assert (answer.status, answer.json["problems"]) == (503, ["the disk is full"])


def test_metrics_are_in_the_format_of_prometheus(api: Api) -> None:
    """Every metric of the process has its kind beside it."""
    answer = ask(api, "GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert b"# TYPE lockstep_request_seconds histogram" in answer.body


def test_a_failing_page_is_a_problem_like_any_other(api: Api) -> None:
    """What failed is in the log, and not in the reply."""

    def fail() -> Health:
        raise RuntimeError("secret")

    api.health = fail
    answer = ask(api, "GET", "/health")
    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert b"secret" not in answer.body


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/health/", 404, "not_found"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("OPTIONS", "/metrics", 405, "method_not_allowed"),
        ("GET", CLUSTER.path, 405, "method_not_allowed"),
    ],
)
def test_an_unknown_address_or_method_is_a_problem(api: Api, method: str, path: str, status: int, code: str) -> None:
    """With an id to find it in the log, and not counted by an address that anybody can make up."""
    answer = ask(api, method, path)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"]
    page = ask(api, "GET", "/metrics").body.decode()
    assert f'code="{code}",route="{path}"' not in page
