"""Log-ins with HTTP Basic: passwords are asked for once, wrong ones count once, and keys take a password's place."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from client_proxy.doors.basic_log_ins import KEEP_SECONDS, WRONG_SECONDS, BasicLogIns
from client_proxy.doors.webdav.door import WebDavDoor
from client_proxy.rate_limits.counts import RequestCounts
from client_proxy.rate_limits.limiter import RateLimits
from client_proxy.rate_limits.rules import parse_rules
from lockstep_store.wire.errors import NotLoggedIn, TooManyRequests
from lockstep_store.wire.messages.people import LOGIN
from lockstep_store.wire.messages.s3 import CREATE_S3_KEY, REVOKE_S3_KEY, CreateS3KeyRequest, S3KeyRequest
from lockstep_store.wire.messages.s3_access import S3Access
from lockstep_store.wire.messages.shares import ShareProof
from tests.authenticator import Authenticator
from tests.fakes.clock import ManualClock
from tests.fakes.webdav import PASSWORD, DavPerson, DavRig, basic, header, message
from tests.fakes.wsgi import Answer, ask


class Counting:
    """A directory that counts the log-ins it is asked for."""

    def __init__(self, directory: Any) -> None:
        self._directory = directory
        self.log_ins = 0

    def call(self, call: Any, request: Any) -> Any:
        self.log_ins += call is LOGIN
        return self._directory.call(call, request)


@pytest.fixture
def directory(rig: DavRig, olga: DavPerson) -> Counting:
    return Counting(rig.directory)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log_ins(directory: Any, clock: ManualClock) -> BasicLogIns:
    return BasicLogIns(directory, monotonic=clock.monotonic)


def test_a_right_password_is_asked_for_once_an_hour(
    log_ins: BasicLogIns, directory: Counting, clock: ManualClock
) -> None:
    header = basic("olga", PASSWORD)
    first = log_ins.identify(header, "127.0.0.1")
    assert first.account == "olga"
    for _ in range(5):
        assert log_ins.identify(header, "127.0.0.1") == first
    assert directory.log_ins == 1
    clock.advance(KEEP_SECONDS)
    assert log_ins.identify(header, "127.0.0.1").account == "olga"
    assert directory.log_ins == 2


def test_a_wrong_password_counts_once_however_often_it_is_repeated(
    log_ins: BasicLogIns, directory: Counting, clock: ManualClock
) -> None:
    """So a client that repeats it does not lock its person out; who tries others soon has to wait."""
    for _ in range(20):
        with pytest.raises(NotLoggedIn, match="wrong"):
            log_ins.identify(basic("olga", "battery staple"), "10.0.0.1")
    assert directory.log_ins == 1
    assert log_ins.identify(basic("olga", PASSWORD), "10.0.0.1").account == "olga"
    clock.advance(WRONG_SECONDS)
    with pytest.raises(NotLoggedIn):
        log_ins.identify(basic("olga", "battery staple"), "10.0.0.1")
    assert directory.log_ins == 3
    with pytest.raises(TooManyRequests):
        for number in range(20):
            with pytest.raises(NotLoggedIn):
                log_ins.identify(basic("olga", f"guess {number}"), "10.0.0.2")


def test_a_log_in_that_ended_is_renewed_while_the_password_is_right(rig: DavRig, bucket: str, olga: DavPerson) -> None:
    """And ends for good with the password, also for what the proxy remembers."""
    ida = rig.person("ida")
    assert ida.names("/") is not None
    credential = rig.door.log_ins.identify(ida.authorization, "127.0.0.1").credential
    out = rig.cluster.ask_with({"Authorization": f"Bearer {credential}"}, "POST", "/auth/logout")
    assert out.status in (200, 204)
    assert ida.ask("PROPFIND", "/", '<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>', Depth="0").status == 207
    changed = b'{"username": "ida", "password": "correct horse", "new_password": "another staple 7"}'
    assert rig.cluster.ask_with({}, "POST", "/auth/password", changed).status == 200
    assert ida.ask("PROPFIND", "/", Depth="0").status == 401
    ida.authorization = basic("ida", "another staple 7")
    assert ida.ask("PROPFIND", "/", Depth="0").status == 207


def _status(rig: DavRig, authorization: str) -> Answer:
    return ask(rig.door, "PROPFIND", "/dav/", headers={"Authorization": authorization, "Depth": "0"})


def test_an_api_key_takes_the_password_s_place(rig: DavRig, olga: DavPerson, eve: DavPerson) -> None:
    key = olga.api_key()
    assert _status(rig, basic("olga", key)).status == 207
    assert _status(rig, basic("", key)).status == 207
    other = _status(rig, basic("eve", key))
    assert other.status == 401
    assert "another account" in message(other)
    assert _status(rig, basic("olga", "lsk_wrong")).status == 401
    assert _status(rig, olga.api_headers["Authorization"]).status == 207


def test_an_access_key_is_a_name_and_a_password(rig: DavRig, olga: DavPerson) -> None:
    credential = olga.api_headers["Authorization"].removeprefix("Bearer ")
    made = rig.directory.call(CREATE_S3_KEY, CreateS3KeyRequest(credential, "laptop"))
    assert _status(rig, basic(made.access_key_id, made.secret)).status == 207
    assert _status(rig, basic(made.access_key_id, "wrong")).status == 401
    rig.directory.call(REVOKE_S3_KEY, S3KeyRequest(credential, made.access_key_id))
    assert _status(rig, basic(made.access_key_id, made.secret)).status == 401


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic not-base64!",
        "Basic " + "b2xnYQ==",
        "Digest username=olga",
        "Bearer " + S3Access(credential="").encode(),
        "Bearer " + ShareProof("token", "").encode(),
        "Basic " + "x" * 3000,
        basic("olga", "x" * 1100),
        basic("", ""),
    ],
)
def test_what_is_no_credential_is_refused(rig: DavRig, header: str) -> None:
    assert _status(rig, header).status == 401


def test_an_account_with_a_second_factor_is_told_what_to_do(rig: DavRig) -> None:
    """Its password alone opens nothing, and an API key, which is made with the second factor, does."""
    mona = rig.person("mona")
    key = mona.api_key()
    named = {"username": "mona", "password": PASSWORD}

    def post(target: str, **more: str) -> Answer:
        return rig.cluster.ask_with(mona.api_headers, "POST", f"/auth/mfa{target}", json.dumps(named | more).encode())

    app = Authenticator(post("").json["secret"], rig.cluster.clock.wall)
    assert post("/confirm", code=app.code()).status == 200
    refused = _status(rig, basic("mona", PASSWORD))
    assert refused.status == 401
    assert "API key" in message(refused)
    assert _status(rig, basic("mona", key)).status == 207


def test_one_client_s_connections_log_in_once(directory: Counting) -> None:
    """All at the same moment, as a client opens them."""
    log_ins = BasicLogIns(directory)
    start = threading.Barrier(8)

    def identify() -> str:
        start.wait(30)
        return log_ins.identify(basic("olga", PASSWORD), "127.0.0.1").credential

    with ThreadPoolExecutor(8) as pool:
        found = {one.result(60) for one in [pool.submit(identify) for _ in range(8)]}
    assert len(found) == directory.log_ins == 1


def test_rate_limits_count_requests_and_log_ins(rig: DavRig, olga: DavPerson) -> None:
    """By address, account and key, with the classes of the other doors."""
    counts = RequestCounts("memory")
    rules = parse_rules(["login=3/day/address", "write=2/day/account", "list=5/day/address"])
    door = WebDavDoor(rig.files, rig.directory, limits=RateLimits(rules, counts.take))

    def status(method: str, authorization: str = olga.authorization) -> Answer:
        return ask(door, method, "/dav/", headers={"Authorization": authorization, "Depth": "0"})

    assert [status("PROPFIND").status for _ in range(6)] == [207] * 5 + [429]
    refused = [status("MKCOL") for _ in range(3)][-1]
    assert refused.status == 429
    assert int(header(refused, "Retry-After")) >= 1
    wrong = [status("GET", basic("olga", f"guess {number}")).status for number in range(4)]
    assert wrong == [401, 401, 429, 429]


def test_a_request_that_is_made_again_counts_once(rig: DavRig) -> None:
    uma = rig.person("uma")
    limits = RateLimits(parse_rules(["write=2/day/account"]), RequestCounts("memory").take)
    door = WebDavDoor(rig.files, rig.directory, limits=limits)
    credential = door.log_ins.identify(uma.authorization, "127.0.0.1").credential
    out = rig.cluster.ask_with({"Authorization": f"Bearer {credential}"}, "POST", "/auth/logout")
    assert out.status in (200, 204)
    headers = {"Authorization": uma.authorization}
    assert [ask(door, "MKCOL", f"/dav/uma-{name}", headers=headers).status for name in "abc"] == [201, 201, 429]
