"""People have a life cycle: passwords change, accounts are disabled and deleted, roles bind, and events are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from directory_server.metadata.schema import join_secret
from directory_server.metadata.statement import Statement
from tests.fakes.whole_cluster import WholeCluster
from tests.fakes.wsgi import Answer

OLD, NEW = "correct horse", "battery staple"


@pytest.fixture
def cluster(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCluster]:
    certs = tmp_path_factory.getbasetemp() / "people-certs"
    with WholeCluster(tmp_path, certs, registration="open") as cluster:
        yield cluster


def post(cluster: WholeCluster, target: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
    return cluster.ask_with(headers or {}, "POST", target, json.dumps(body).encode())


def as_admin(cluster: WholeCluster, method: str, target: str, body: Any = None) -> Answer:
    return cluster.ask(method, target, b"" if body is None else json.dumps(body).encode())


def log_in(cluster: WholeCluster, name: str, password: str = OLD) -> Answer:
    return post(cluster, "/auth/login", {"username": name, "password": password, "create": False})


def change(cluster: WholeCluster, name: str, old: str, new: str) -> Answer:
    return post(cluster, "/auth/password", {"username": name, "password": old, "new_password": new})


def status(cluster: WholeCluster, headers: dict[str, str], method: str = "GET", target: str = "/auth/me") -> int:
    return cluster.ask_with(headers, method, target).status


def api_key(cluster: WholeCluster, headers: dict[str, str]) -> dict[str, str]:
    return {"X-Api-Key": post(cluster, "/auth/keys", {"name": "laptop"}, headers).json["key"]}


def test_changing_a_password_ends_other_log_ins(cluster: WholeCluster) -> None:
    """The old password and every earlier token are void at once; the reply is a log-in; keys go on."""
    first, second = cluster.log_in("ann"), cluster.log_in("ann")
    key = api_key(cluster, first)
    assert change(cluster, "ann", "wrong guess", NEW).status == 401
    changed = change(cluster, "ann", OLD, NEW)
    assert changed.status == 200
    assert [status(cluster, headers) for headers in (first, second, key)] == [401, 401, 200]
    assert status(cluster, {"Authorization": f"Bearer {changed.json['token']}"}) == 200
    assert [log_in(cluster, "ann", word).status for word in (OLD, NEW)] == [401, 200]


@pytest.mark.parametrize("password", ["short", "seven77", "annabella", "AnnaBella"])
def test_weak_passwords_are_refused(cluster: WholeCluster, password: str) -> None:
    """Fewer than 8 characters, and the user name: when registering, changing and creating."""
    assert post(cluster, "/auth/register", {"username": "annabella", "password": password}).status == 400
    cluster.log_in("annabella")
    assert change(cluster, "annabella", OLD, password).status == 400
    body = {"name": "annabella", "password": password}
    assert as_admin(cluster, "POST", "/users", body).status == 400


def test_an_administrator_makes_accounts_with_one_time_passwords(cluster: WholeCluster) -> None:
    """Which log nobody in, but let a password be set, once."""
    made = as_admin(cluster, "POST", "/users", {"name": "ben"}).json
    assert log_in(cluster, "ben", made["password"]).status == 401
    assert change(cluster, "ben", made["password"], NEW).status == 200
    assert change(cluster, "ben", made["password"], OLD).status == 401
    assert log_in(cluster, "ben", NEW).status == 200
    assert as_admin(cluster, "POST", "/users", {"name": "ben"}).status == 409


def test_a_reset_ends_log_ins_and_the_password(cluster: WholeCluster) -> None:
    """The new one-time password is the only way in."""
    ann = cluster.log_in("ann")
    made = as_admin(cluster, "POST", "/users/ann/reset").json
    assert (made["user"]["must_change"], status(cluster, ann)) == (True, 401)
    assert log_in(cluster, "ann").status == 401
    assert change(cluster, "ann", made["password"], NEW).status == 200


def test_a_disabled_account_is_out_at_once(cluster: WholeCluster) -> None:
    """Its tokens, keys and password are refused; enabled again, its keys and password work."""
    ann = cluster.log_in("ann")
    key = api_key(cluster, ann)
    assert status(cluster, key) == 200
    assert as_admin(cluster, "PATCH", "/users/ann", {"disabled": True}).json["disabled"]
    assert [status(cluster, headers) for headers in (ann, key)] == [401, 401]
    assert log_in(cluster, "ann").status == 401
    as_admin(cluster, "PATCH", "/users/ann", {"disabled": False})
    assert [status(cluster, headers) for headers in (ann, key)] == [401, 200]
    assert log_in(cluster, "ann").status == 200


def test_deleting_an_account_asks_for_an_heir(cluster: WholeCluster) -> None:
    """Its buckets and files stay and belong to the heir; its log-ins and keys are gone."""
    ann, ben = cluster.log_in("ann"), cluster.log_in("ben")
    key = api_key(cluster, ann)
    assert post(cluster, "/buckets", {"name": "annas"}, ann).status == 201
    assert cluster.ask_with(ann, "PUT", "/files/annas/a.txt", b"content").status == 201
    listed = {user["name"]: user for user in as_admin(cluster, "GET", "/users").json["users"]}
    assert (listed["ann"]["buckets"], listed["ann"]["api_keys"], listed["ben"].get("buckets", [])) == (["annas"], 1, [])
    refused = as_admin(cluster, "DELETE", "/users/ann")
    assert (refused.status, "annas" in refused.json["detail"]) == (409, True)
    assert as_admin(cluster, "DELETE", "/users/ann?buckets_to=ann").status == 409
    assert as_admin(cluster, "DELETE", "/users/ann?buckets_to=nobody").status == 404
    assert as_admin(cluster, "DELETE", "/users/ann?buckets_to=ben").status == 204
    assert [status(cluster, headers) for headers in (ann, key)] == [401, 401]
    assert log_in(cluster, "ann").status == 401
    assert cluster.ask_with(ben, "GET", "/files/annas/a.txt").body == b"content"
    assert cluster.ask_with(ben, "DELETE", "/files/annas/a.txt").status == 200


def test_there_is_always_an_administrator(cluster: WholeCluster) -> None:
    """The last one is not disabled, demoted or deleted; with another one it can be."""
    for body in ({"disabled": True}, {"role": "member"}, {"role": "read-only"}):
        assert as_admin(cluster, "PATCH", "/users/admin", body).status == 409
    assert as_admin(cluster, "DELETE", "/users/admin?buckets_to=admin").status == 409
    ann = cluster.log_in("ann")
    assert as_admin(cluster, "PATCH", "/users/ann", {"role": "administrator"}).status == 200
    assert status(cluster, ann, "GET", "/users") == 200
    assert as_admin(cluster, "PATCH", "/users/admin", {"role": "member"}).status == 200
    assert as_admin(cluster, "GET", "/users").status == 403


def test_a_read_only_account_reads(cluster: WholeCluster) -> None:
    """It changes nothing: not in a shared bucket, not in its own, neither files nor locks nor buckets."""
    ann = cluster.log_in("ann")
    post(cluster, "/buckets", {"name": "annas"}, ann)
    for bucket in ("files", "annas"):
        assert cluster.ask_with(ann, "PUT", f"/files/{bucket}/a.txt", b"content").status == 201
    as_admin(cluster, "PATCH", "/users/ann", {"role": "read-only"})
    for bucket in ("files", "annas"):
        assert cluster.ask_with(ann, "GET", f"/files/{bucket}/a.txt").body == b"content"
        assert cluster.ask_with(ann, "GET", f"/files/{bucket}").status == 200
        refused = cluster.ask_with(ann, "PUT", f"/files/{bucket}/b.txt", b"content")
        assert (refused.status, "read-only" in refused.json["detail"]) == (403, True)
        assert cluster.ask_with(ann, "DELETE", f"/files/{bucket}/a.txt").status == 403
    assert post(cluster, "/locks", {"paths": ["annas/a.txt"]}, ann).status == 403
    assert post(cluster, "/buckets", {"name": "more"}, ann).status == 403
    assert cluster.ask_with(ann, "DELETE", "/buckets/annas").status == 403


def test_log_ins_and_keys_are_seen_and_ended(cluster: WholeCluster) -> None:
    """One by its id, or all; the list has no secret."""
    ann = cluster.log_in("ann")
    key = api_key(cluster, ann)
    found = as_admin(cluster, "GET", "/users/ann/access")
    assert key["X-Api-Key"].encode() not in found.body
    assert ann["Authorization"].removeprefix("Bearer ").encode() not in found.body
    (session,), (listed,) = found.json["sessions"], found.json["api_keys"]
    assert as_admin(cluster, "DELETE", f"/users/ann/access/{session['id']}").json["ended"] == 1
    assert [status(cluster, headers) for headers in (ann, key)] == [401, 200]
    assert as_admin(cluster, "DELETE", f"/users/ann/access/{session['id']}").status == 404
    assert as_admin(cluster, "DELETE", f"/users/ann/access/{listed['id']}").json["ended"] == 1
    assert status(cluster, key) == 401
    cluster.log_in("ann")
    assert as_admin(cluster, "DELETE", "/users/ann/access").json["ended"] == 1


@pytest.mark.parametrize("way", ["disabled", "no administrator any more", "deleted", "access revoked"])
def test_an_administrator_who_goes_leaves_no_invitation(cluster: WholeCluster, way: str) -> None:
    """A program that joins gets the storage keys, so an invitation must not outlive who could make it."""
    cluster.log_in("ann")
    as_admin(cluster, "PATCH", "/users/ann", {"role": "administrator"})
    ann = cluster.log_in("ann")
    body = json.dumps({"id": "7"}).encode()
    asked = {**ann, "Content-Type": "application/json"}
    assert cluster.ask_with(asked, "POST", "/cluster/join-secret", body).status == 201
    assert invitations(cluster) == 1
    if way == "deleted":
        as_admin(cluster, "DELETE", "/users/ann")
    elif way == "access revoked":
        as_admin(cluster, "DELETE", "/users/ann/access")
    else:
        as_admin(cluster, "PATCH", "/users/ann", {"disabled": True} if way == "disabled" else {"role": "member"})
    assert invitations(cluster) == 0


def invitations(cluster: WholeCluster) -> int:
    with cluster.directory.store.read() as reader:
        return len(reader.all(Statement(select(join_secret.c.expires))))


def test_security_events_are_kept(cluster: WholeCluster) -> None:
    """Who did what, in order, in pages, and without a password; a restart keeps them."""
    ann = cluster.log_in("ann")
    key = api_key(cluster, ann)
    log_in(cluster, "ann", "a wrong guess")
    change(cluster, "ann", OLD, NEW)
    as_admin(cluster, "PATCH", "/users/ann", {"disabled": True})
    as_admin(cluster, "POST", "/cluster/join-secret", {"id": "7"})
    cluster.stop_directory()
    cluster.start_directory()
    answer = as_admin(cluster, "GET", "/audit")
    kinds = [event["kind"] for event in answer.json["events"]]
    wanted = ["account made", "log-in", "key made", "log-in refused", "password changed", "log-in", "account changed"]
    wanted.append("program invited")
    assert [kind for kind in kinds if kind in wanted] == wanted
    for secret in (OLD, NEW, "a wrong guess", key["X-Api-Key"]):
        assert secret.encode() not in answer.body
    second = answer.json["events"][1]["id"]
    page = as_admin(cluster, "GET", f"/audit?after={second}&limit=1").json["events"]
    assert [event["kind"] for event in page] == [kinds[2]]


def test_registration_is_closed_beyond_loopback(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without a setting, where the directory can be reached from other machines; `open` opens it."""
    certs = tmp_path_factory.getbasetemp() / "people-certs"
    for number, (host, registration, expected) in enumerate(
        [("0.0.0.0", "auto", 403), ("127.0.0.1", "auto", 201), ("0.0.0.0", "open", 201), ("127.0.0.1", "closed", 403)]
    ):
        with WholeCluster(tmp_path / str(number), certs, host=host, registration=registration) as cluster:
            answer = post(cluster, "/auth/register", {"username": "ann", "password": OLD})
            assert answer.status == expected, (host, registration)
