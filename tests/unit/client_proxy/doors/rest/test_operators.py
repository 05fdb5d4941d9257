"""Who sees how much of a proxy's health and metrics."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep_store.runtime.http.proxy_protocol import RELAYED
from lockstep_store.wire.errors import NotLoggedIn, PeerUnreachable
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.cluster import Health
from lockstep_store.wire.messages.people import WHO_AM_I, AccountInfo
from tests.fakes.wsgi import Answer, ask
from tests.unit.rest_door import TOKEN, Door, clean_door

HEALTH = ("/health", "/api/v1/health")
ELSEWHERE = ["203.0.113.9:4711", "203.0.113.9", "2001:db8::1", "::ffff:203.0.113.9", "no address", ""]
HERE = ["127.0.0.1:4711", "127.8.9.1", "::1", "[::1]:4711", "::ffff:127.0.0.1"]


def _who(request: CredentialRequest) -> AccountInfo:
    if request.credential != TOKEN:
        raise NotLoggedIn("this token is wrong, expired or revoked: log in again")
    return AccountInfo("ann", False, 0.0)


@pytest.fixture
def door() -> Door:
    door = clean_door()
    door.directory.answers[WHO_AM_I.path] = _who
    door.health[0] = Health(True, "client_proxy", "1", "0.1.0", facts={"directory_url": "https://secret:5050"})
    return door


def _ask(door: Door, path: str, address: str, method: str = "GET", **headers: str) -> Answer:
    return ask(door.app, method, path, headers=headers, address=address)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_strangers_are_told_that_it_is_healthy_and_no_more(door: Door, address: str) -> None:
    """From another machine, without a credential; a load balancer still sees the status."""
    for path in HEALTH:
        answer = _ask(door, path, address)
        assert (answer.status, answer.json) == (200, {"healthy": True})
    assert _ask(door, "/health", address, "HEAD").status == 200
    refused = _ask(door, "/metrics", address)
    assert refused.status == 401
    assert b"lockstep_" not in refused.body
    door.health[0] = Health(False, "client_proxy", "1", "0.1.0", ["the directory at https://secret is away"])
    assert (_ask(door, "/health", address).status, _ask(door, "/health", address).json) == (503, {"healthy": False})
    assert _ask(door, "/api/v1/health", address).json == {"healthy": False}


@pytest.mark.parametrize("address", HERE)
def test_programs_on_its_machine_see_everything(door: Door, address: str) -> None:
    """They could read the log and the settings as well."""
    for path in HEALTH:
        assert _ask(door, path, address).json["facts"] == {"directory_url": "https://secret:5050"}
    assert b"lockstep_" in _ask(door, "/metrics", address).body
    assert door.directory.calls == [], "nobody is asked"


@pytest.mark.parametrize("header", ["Forwarded", "Via", "X_Forwarded_For", "X_Real_IP"])
def test_a_reverse_proxy_here_speaks_for_somebody_elsewhere(door: Door, header: str) -> None:
    """Whoever it passes on comes from its address, whether it is trusted to name the client or not."""
    for path in HEALTH:
        assert _ask(door, path, "127.0.0.1", **{header: "203.0.113.9"}).json == {"healthy": True}
    assert _ask(door, "/metrics", "127.0.0.1", **{header: "127.0.0.1"}).status == 401


def test_a_browser_here_speaks_for_a_page_from_elsewhere(door: Door) -> None:
    """With --api-origin, a page could read the reply."""
    for path in HEALTH:
        assert _ask(door, path, "127.0.0.1", Origin="https://app.example").json == {"healthy": True}
    assert _ask(door, "/metrics", "::1", Origin="null").status == 401


def test_a_load_balancer_here_speaks_for_somebody_elsewhere(door: Door) -> None:
    """Also if it says that its client is on loopback: that is another machine's."""

    def relayed(environ: dict[str, Any], start: Any) -> Any:
        return door.app(environ | {RELAYED: True}, start)

    assert ask(relayed, "GET", "/health", address="127.0.0.1").json == {"healthy": True}
    assert ask(relayed, "GET", "/metrics", address="127.0.0.1").status == 401


def test_people_of_the_cluster_see_everything(door: Door) -> None:
    """With a token or an API key of any account."""
    for headers in ({"Authorization": f"Bearer {TOKEN}"}, {"X_Api_Key": TOKEN}):
        for path in HEALTH:
            assert _ask(door, path, "203.0.113.9", **headers).json["version"] == "0.1.0"
        assert b"lockstep_" in _ask(door, "/metrics", "203.0.113.9", **headers).body


def test_a_refused_credential_is_none(door: Door) -> None:
    """The metrics say so; for the health it is as if there were none, since `lockstep status` sends what it has."""
    bad = {"Authorization": "Bearer lst_ended"}
    for path in HEALTH:
        assert (_ask(door, path, "203.0.113.9", **bad).json) == {"healthy": True}
    assert _ask(door, "/metrics", "203.0.113.9", **bad).status == 401


def test_without_a_directory_health_is_still_answered(door: Door) -> None:
    """Nobody can be recognised then, and load balancers must not wait for it."""
    door.directory.answers[WHO_AM_I.path] = PeerUnreachable("the directory is away")
    given = {"Authorization": f"Bearer {TOKEN}"}
    assert _ask(door, "/health", "203.0.113.9", **given).json == {"healthy": True}
    assert _ask(door, "/metrics", "203.0.113.9", **given).status == 503
