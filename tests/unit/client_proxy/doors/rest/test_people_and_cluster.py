"""People, buckets and the cluster over the API: each route makes its one call and answers in its shape."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import Forbidden, NotLoggedIn, TooManyRequests
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.buckets import (
    BUCKETS,
    CHANGE_BUCKET,
    CREATE_BUCKET,
    DELETE_BUCKET,
    GET_BUCKET,
    BucketInfo,
    BucketsReply,
)
from lockstep_store.wire.messages.cluster import (
    CLUSTER,
    ENROL,
    JOIN_SECRET,
    ClusterReply,
    EnrolReply,
    EnrolRequest,
    Health,
    JoinSecretReply,
    RepairInfo,
)
from lockstep_store.wire.messages.people import (
    API_KEYS,
    CREATE_API_KEY,
    LOGIN,
    LOGOUT,
    REVOKE_API_KEY,
    WHO_AM_I,
    AccountInfo,
    ApiKeyInfo,
    ApiKeysReply,
    LoginReply,
)
from tests.fakes.rest_core import ACCESS
from tests.fakes.wsgi import ask
from tests.unit.rest_door import TOKEN, Door, clean_door

BUCKET = BucketInfo("my-bucket", "ann", "off", False, 1.0)
KEY = ApiKeyInfo("k1", "laptop", 1.0, "lsk_secret")
CLUSTER_NOW = ClusterReply("0.1.0", 1.0, 2.0, 2, 3, 4, 5, 6, 7, 0, 0, [], RepairInfo(0, 0, 0, 0))
ENROL_BODY = EnrolRequest("secret", "file_server", "4", "csr")


@pytest.mark.parametrize(
    ("method", "target", "body", "call", "reply", "status", "sent"),
    [
        ("POST", "/auth/logout", {}, LOGOUT, Nothing(), 204, {"credential": TOKEN}),
        ("GET", "/auth/me", None, WHO_AM_I, AccountInfo("ann", False, 1.0), 200, {"credential": TOKEN}),
        ("GET", "/auth/keys", None, API_KEYS, ApiKeysReply([KEY]), 200, {"credential": TOKEN}),
        ("POST", "/auth/keys", {"name": "laptop"}, CREATE_API_KEY, KEY, 201, {"name": "laptop"}),
        ("DELETE", "/auth/keys/k%2F1", None, REVOKE_API_KEY, Nothing(), None, {}),
        ("DELETE", "/auth/keys/k1", None, REVOKE_API_KEY, Nothing(), 204, {"key_id": "k1"}),
        ("GET", "/buckets", None, BUCKETS, BucketsReply([BUCKET]), 200, {"credential": ACCESS}),
        (
            "POST",
            "/buckets",
            {"name": "my-bucket", "versioning": "enabled", "shared": True},
            CREATE_BUCKET,
            BUCKET,
            201,
            {"bucket": "my-bucket", "versioning": "enabled", "shared": True},
        ),
        ("GET", "/buckets/my-bucket", None, GET_BUCKET, BUCKET, 200, {"bucket": "my-bucket"}),
        (
            "PATCH",
            "/buckets/my-bucket",
            {"versioning": "suspended"},
            CHANGE_BUCKET,
            BUCKET,
            200,
            {"bucket": "my-bucket", "versioning": "suspended", "shared": None},
        ),
        ("DELETE", "/buckets/my-bucket", None, DELETE_BUCKET, Nothing(), 204, {"bucket": "my-bucket"}),
        ("GET", "/cluster", None, CLUSTER, CLUSTER_NOW, 200, {"credential": TOKEN}),
        (
            "POST",
            "/cluster/join-secret",
            {"valid_seconds": 60},
            JOIN_SECRET,
            JoinSecretReply("s", 1.0, "pem"),
            201,
            {"valid_seconds": 60},
        ),
    ],
)
def test_one_call_each(
    method: str, target: str, body: Any, call: Any, reply: Any, status: int | None, sent: dict[str, Any]
) -> None:
    """The route calls the directory with what was sent, and answers its reply as JSON."""
    door = clean_door()
    door.directory.answers[call.path] = reply
    target = "/api/v1" + target
    answer = door.ask(method, target) if body is None else door.post(target, body, method)
    if status is None:
        assert answer.status == 404
        return
    assert answer.status == status
    assert answer.body == (b"" if status == 204 else encode(reply))
    path, request = door.directory.calls[-1]
    assert path == call.path
    assert {name: getattr(request, name) for name in sent} == sent
    assert request.credential in (TOKEN, ACCESS)
    refused = ask(door.app, method, target, encode(body) if body is not None else b"")
    assert refused.status == 401


@pytest.mark.parametrize(
    ("address", "body", "register", "status"),
    [
        ("login", {}, "if_new", 200),
        ("login", {"create": False}, "never", 200),
        ("register", {}, "must", 201),
    ],
)
def test_logging_in(address: str, body: dict[str, Any], register: str, status: int) -> None:
    """Login creates a new name unless told not to, register insists on one; neither needs a credential."""
    door = clean_door()
    door.directory.answers[LOGIN.path] = LoginReply("lst_new", "ann", created=True)
    message = encode({"username": "ann", "password": "pw", **body})
    answer = ask(door.app, "POST", f"/api/v1/auth/{address}", message, headers={"User-Agent": "shell " * 100})
    assert (answer.status, answer.json["token"]) == (status, "lst_new")
    assert answer.headers["Cache-Control"] == "no-store"
    request = door.directory.calls[-1][1]
    assert (request.name, request.password, request.register) == ("ann", "pw", register)
    assert len(request.client) == 256


@pytest.mark.parametrize("name", ["", " ann", "a/b", "a:b", "a\nb", "x" * 65])
def test_account_names_are_checked(name: str) -> None:
    """A user name outside the rules is refused before the directory is asked."""
    door = clean_door()
    answer = door.post("/api/v1/auth/login", {"username": name, "password": "pw"})
    assert (answer.status, answer.json["code"]) == (400, "bad_name")
    assert door.directory.calls == []


def test_what_the_directory_refuses_is_passed_on() -> None:
    """A wrong password, a closed registration and too many attempts come through as themselves."""
    door = clean_door()
    refusals = (NotLoggedIn("wrong password"), Forbidden("closed"), TooManyRequests("wait", retry_after=30))
    for refusal in refusals:
        door.directory.answers[LOGIN.path] = refusal
        answer = door.post("/api/v1/auth/login", {"username": "ann", "password": "pw"})
        assert (answer.status, answer.json["code"]) == (refusal.status, refusal.code)
    assert answer.headers["Retry-After"] == "30"


def test_enrolling_needs_no_log_in() -> None:
    """A new program has only its secret; its request is passed on as it is, within its bounds."""
    door = clean_door()
    door.directory.answers[ENROL.path] = EnrolReply("ca", "cert", "token")
    answer = ask(door.app, "POST", "/api/v1/enrol", encode(ENROL_BODY))
    assert (answer.status, answer.json["cert_pem"]) == (200, "cert")
    assert door.directory.calls[-1][1] == ENROL_BODY
    bad = encode({**{name: getattr(ENROL_BODY, name) for name in ENROL_BODY.__struct_fields__}, "id": "../x"})
    assert ask(door.app, "POST", "/api/v1/enrol", bad).status == 400


def test_health_is_open_and_says_when_it_is_not_well() -> None:
    """/api/v1/health describes with 200; /health tells load balancers with 503."""
    door: Door = clean_door()
    for target in ("/api/v1/health", "/health"):
        assert ask(door.app, "GET", target).status == 200
    door.health[0] = Health(False, "client_proxy", "1", "0.1.0", ["the directory does not answer"])
    answer = ask(door.app, "GET", "/api/v1/health")
    assert (answer.status, answer.json["healthy"]) == (200, False)
    assert answer.json["problems"] == ["the directory does not answer"]
    assert ask(door.app, "GET", "/health").status == 503
