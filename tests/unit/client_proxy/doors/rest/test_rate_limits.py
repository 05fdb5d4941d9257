"""Rate limits at the API's door: which requests count for whom, and what a refusal says."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from client_proxy.doors.rest import create_app
from client_proxy.doors.rest.limited import rate_class_of
from lockstep_store.wire.errors import NotLoggedIn
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.cluster import Health
from lockstep_store.wire.messages.people import LOGIN, WHO_AM_I, AccountInfo, LoginReply
from tests.fakes.documented import check_statuses
from tests.fakes.rate_counts import lasting_limits
from tests.fakes.rest_core import FakeDirectory, FakeFiles
from tests.fakes.wsgi import Answer, ask

LOG_IN = b'{"username": "ann", "password": "correct horse"}'


class LimitedDoor:
    """A door with rate limits. `ask` comes from `address` with the API key `key`."""

    def __init__(self, *rules: str) -> None:
        self.limits, self.counts = lasting_limits(*rules)
        self.directory = FakeDirectory()
        self.directory.answers[LOGIN.path] = LoginReply("t", "ann")
        self.directory.answers[WHO_AM_I.path] = AccountInfo("ann", False, 1.0)
        healthy = Health(True, "client_proxy", "1", "0.1.0")
        self.app = create_app(
            FakeFiles(), self.directory, program_id="1", version="0", health=lambda: healthy, limits=self.limits
        )
        check_statuses(self.app)

    def ask(self, method: str, target: str, body: bytes = b"", address: str = "203.0.113.9", key: str = "k") -> Answer:
        def from_address(environ: dict[str, Any], start: Any) -> Any:
            environ["REMOTE_ADDR"] = address
            return self.app.wsgi_app(environ, start)

        headers = {"X-Api-Key": key} | ({"Content-Type": "application/json"} if method == "POST" else {})
        return ask(SimpleNamespace(wsgi_app=from_address), method, "/api/v1" + target, body, headers=headers)


def test_the_101st_log_in_of_an_address_is_refused() -> None:
    """By default an address may log in a hundred times a minute, registration included; another address may go on."""
    door = LimitedDoor()
    answers = [door.ask("POST", "/auth/login", LOG_IN).status for _ in range(60)]
    answers += [door.ask("POST", "/auth/register", LOG_IN).status for _ in range(60)]
    assert Counter(answers) == {200: 60, 201: 40, 429: 20}
    assert door.ask("POST", "/auth/login", LOG_IN, address="203.0.113.10").status == 200


def test_a_refusal_says_what_is_allowed_and_when_to_try_again() -> None:
    """429 as problem details, with Retry-After and the headers of the IETF draft; the directory is not asked."""
    door = LimitedDoor("login=1/minute/address")
    allowed = door.ask("POST", "/auth/login", LOG_IN)
    asked = len(door.directory.calls)
    refused = door.ask("POST", "/auth/login", LOG_IN)
    assert len(door.directory.calls) == asked
    assert allowed.headers["RateLimit-Policy"] == '"login-address-minute";q=1;w=60'
    assert allowed.headers["RateLimit"] == '"login-address-minute";r=0;t=7'
    assert refused.status == 429
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Retry-After"] == "7"
    assert refused.headers["RateLimit-Policy"] == '"login-address-minute";q=1;w=60'
    assert refused.headers["RateLimit"] == '"login-address-minute";r=0;t=7'
    assert refused.json["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert refused.json["code"] == "rate_limited"
    assert refused.json["violated-policies"] == ["login-address-minute"]
    assert refused.json["detail"] == "too many log-ins: one address may make 1 a minute; try again in 7 s"


def test_one_network_of_64_bits_is_one_address() -> None:
    """Changing the lower half of an IPv6 address gives nobody more log-ins."""
    door = LimitedDoor("login=2/minute/address")
    ends = ["::1", ":9::1", ":ffff::1"]
    answers = [door.ask("POST", "/auth/login", LOG_IN, address=f"2001:db8:1:2{end}").status for end in ends]
    assert answers == [200, 200, 429]


@pytest.mark.parametrize(
    ("rule", "same", "other"),
    [
        ("read=1/minute/address", {"key": "k2"}, {"address": "203.0.113.10"}),
        ("read=1/minute/key", {"address": "203.0.113.10"}, {"key": "k2"}),
        ("read=1/minute/account", {"key": "k2"}, None),
        ("read=1/minute/bucket", {"key": "k2", "address": "203.0.113.10"}, {"target": "/files/other/a"}),
    ],
)
def test_a_rule_counts_by_what_it_names(rule: str, same: dict[str, str], other: dict[str, str] | None) -> None:
    """A second request is refused whatever else is different about it, and is allowed from another."""
    door = LimitedDoor(rule, "login=off")
    first = {"target": "/files/files/a"}
    assert door.ask("GET", **first).status != 429
    assert door.ask("GET", **(first | same)).status == 429
    if other is not None:
        assert door.ask("GET", **(first | other)).status != 429


def test_a_credential_that_the_directory_refuses_takes_nothing_from_a_bucket() -> None:
    """A stranger with an invented key cannot use up what the people of a bucket share."""
    door = LimitedDoor("read=1/minute/bucket", "login=off")
    door.directory.answers[WHO_AM_I.path] = NotLoggedIn("unknown")
    assert [door.ask("GET", "/files/files/a", key=f"invented{n}").status for n in range(5)] == [401] * 5
    assert not door.counts.taken


def test_an_account_is_asked_for_once_in_a_while_and_only_where_a_rule_needs_it() -> None:
    """A rule by account costs one call of the directory for each key, and a rule by address none."""
    door = LimitedDoor("read=100/minute/account", "login=off")
    for _ in range(3):
        door.ask("GET", "/files/files/a")
        door.ask("PUT", "/files/files/a", b"x")
    assert [path for path, _ in door.directory.calls].count(WHO_AM_I.path) == 1
    assert isinstance(door.directory.calls[0][1], CredentialRequest)


def test_without_a_rule_an_operation_has_no_limiter() -> None:
    """The operations of a class without a rule run exactly the handlers that they run without rate limits."""
    limited = {each.id: each.handler for each in LimitedDoor().app.extensions["lockstep"].operations}
    counted = {id for id, handler in limited.items() if type(handler).__name__ == "_LimitedHandler"}
    assert counted == {
        *("login", "register", "change_password", "enrol", "start_sign_on", "continue_sign_on"),
        *("begin_second_factor", "confirm_second_factor", "disable_second_factor", "new_recovery_codes"),
    }


def test_every_operation_has_its_class() -> None:
    """What people read, write and list is told apart from what administers the cluster."""
    operations = LimitedDoor().app.extensions["lockstep"].operations
    classes = {each.id: rate_class_of(each) for each in operations}
    assert {id for id, found in classes.items() if found is None} == {"health"}
    examples = {
        "read_file": "read",
        "stat_file": "read",
        "write_file": "write",
        "delete_file": "write",
        "acquire_lock": "write",
        "list_files": "list",
        "list_locks": "list",
        "list_versions": "list",
        "changes": "list",
        "create_bucket": "admin",
        "list_users": "admin",
        "remove_server": "admin",
        "cluster": "admin",
        "who_am_i": "read",
    }
    assert {id: classes[id] for id in examples} == examples
