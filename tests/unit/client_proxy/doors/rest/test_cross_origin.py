"""CORS for the API: allowed origins read replies, others do not, and nobody does with a cookie."""

from __future__ import annotations

from typing import Any

import pytest

from client_proxy.doors.console import SessionCookies
from client_proxy.doors.console.sessions import COOKIE
from client_proxy.doors.rest.cross_origin import CrossOrigin
from tests.fakes.wsgi import Answer, ask
from tests.unit.rest_door import TOKEN, Door, clean_door

APP, EVIL = "https://app.example", "https://evil.example"
ALLOW = "Access-Control-Allow-Origin"


@pytest.fixture
def door() -> Door:
    door = clean_door()
    assert door.ask("PUT", "/api/v1/files/files/a", b"content").status == 201
    return door


def asked(
    door: Door, method: str, origin: str, *origins: str, target: str = "/api/v1/files/files/a", **headers: str
) -> Answer:
    sent = {"Origin": origin, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return ask(CrossOrigin(SessionCookies(door.app), origins or (APP,)), method, target, headers=sent)


def preflight(door: Door, origin: str, *origins: str, **more: Any) -> Answer:
    asks = {
        "Access_Control_Request_Method": "PUT",
        "Access_Control_Request_Headers": "x-api-key, Content-Type, b\u00e4d",
    }
    return asked(door, "OPTIONS", origin, *origins, **asks, **more)


@pytest.mark.parametrize(("origins", "allowed"), [((APP,), APP), ((EVIL, APP), APP), (("*",), "*")])
def test_an_allowed_origin_may_call_and_read(door: Door, origins: tuple[str, ...], allowed: str) -> None:
    """The preflight says which methods and headers; the reply which headers the page may read."""
    answer = preflight(door, APP, *origins)
    assert (answer.status, answer.body, answer.headers[ALLOW]) == (204, b"", allowed)
    assert answer.headers["Access-Control-Allow-Headers"] == "x-api-key, content-type"
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    answer = asked(door, "GET", APP, *origins, Authorization=f"Bearer {TOKEN}")
    assert (answer.status, answer.headers[ALLOW]) == (200, allowed)
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert ("Vary" in answer.headers) is (allowed != "*")
    assert asked(door, "GET", APP, *origins).headers[ALLOW] == allowed, "a page must see why it is refused"


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "https://app.example.evil.example", "http://app.example", "app.example"]
)
def test_another_origin_may_not(door: Door, origin: str) -> None:
    """Neither its preflight nor its request gets a header of CORS."""
    for answer in (preflight(door, origin), asked(door, "GET", origin, Authorization=f"Bearer {TOKEN}")):
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert answer.headers["Vary"] == "Origin"


def test_no_origin_may_use_a_session(door: Door) -> None:
    """Credentials that the browser adds by itself are not allowed, and the session refuses other sites' requests."""
    cookie = {"Cookie": f"{COOKIE}={TOKEN}", "Sec_Fetch_Site": "cross-site"}
    for origins in ((APP,), ("*",)):
        for answer in (preflight(door, APP, *origins), asked(door, "GET", APP, *origins, **cookie)):
            assert "Access-Control-Allow-Credentials" not in answer.headers
        assert asked(door, "GET", APP, *origins, **cookie).status == 403


def test_other_doors_and_other_requests_are_not_touched(door: Door) -> None:
    """OPTIONS that is no preflight, requests without an origin, and addresses outside of /api/."""
    assert asked(door, "OPTIONS", APP).status == 405
    for answer in (asked(door, "GET", ""), asked(door, "GET", APP, target="/health")):
        assert not [name for name in answer.headers if name.startswith(("Access-Control", "Vary"))]
