"""Older addresses on a whole cluster: they work, and serve and refuse exactly the people of their operations."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from client_proxy.doors.rest.older_addresses import OLDER_ADDRESSES, OlderAddress
from tests.fakes.wsgi import Answer, ask
from tests.s3.post_forms import FILE, FORM_TYPE, form
from tests.s3.rig import S3Rig
from tests.security.identities import EVERYBODY, PASSWORD, Identities

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def everybody(rig: S3Rig) -> Identities:
    return Identities(rig)


class Older:
    """Requests of one identity to any address."""

    def __init__(self, rig: S3Rig, everybody: Identities, who: str) -> None:
        self._rig = rig
        self.headers = everybody.all[who].headers

    def __call__(self, method: str, target: str, body: Any = b"", **headers: str) -> Answer:
        if not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        return ask(self._rig.doors, method, target, body, headers=self.headers | headers)

    def upload(self, target: str, **more: Any) -> Answer:
        return self("POST", target, form([("file", FILE)], **more), **{"Content-Type": FORM_TYPE})


@pytest.fixture(scope="module")
def owner(rig: S3Rig, everybody: Identities) -> Older:
    return Older(rig, everybody, "owner")


def test_people_register_and_log_in(rig: S3Rig) -> None:
    """With the token that the reply has, they are themselves."""
    body = json.dumps({"username": "newcomer", "password": "a correct horse"}).encode()
    assert ask(rig.doors, "POST", "/api/auth/register", body).status == 201
    answer = ask(rig.doors, "POST", "/api/auth/login", body)
    token = {"Authorization": f"Bearer {answer.json['token']}"}
    assert ask(rig.doors, "GET", "/api/buckets", headers=token).status == 200


def test_a_files_life_by_its_id(owner: Older) -> None:
    """Uploaded, found, listed, read, described, shared, written again, restored and deleted."""
    assert owner("POST", "/api/buckets", {"name": "older", "versioning": "enabled"}).status == 201
    assert "older" in [bucket["name"] for bucket in owner("GET", "/api/buckets").json["buckets"]]
    made = owner.upload("/api/files/upload?bucket=older&path=plans/", filename="C:\\\\x\\\\roof.txt")
    assert made.status == 201, made.body
    file = made.json["version"]
    assert file["path"] == "plans/roof.txt"
    address = f"/api/files/{file['id']}"
    for target in ("/api/files?bucket=older", "/api/buckets/older/objects?prefix=plans/"):
        assert [each["id"] for each in owner("GET", target).json["files"]] == [file["id"]]
    hits = owner("GET", "/api/files/search?query=roof&bucket=older").json["hits"]
    assert [hit["file"]["id"] for hit in hits] == [file["id"]]
    read = owner("GET", f"{address}/download", Range="bytes=4-7")
    assert (read.status, read.body) == (206, b"file")
    assert owner("HEAD", f"{address}/download").headers["Content-Length"] == str(len(FILE))
    facts = owner("PUT", f"{address}/metadata", {"description": "the roof", "tags": {"a": "1"}})
    assert (facts.status, facts.json["description"]) == (200, "the roof")
    shared = owner("PUT", f"{address}/access", {"grants": [{"account": "stranger", "level": "read"}]})
    assert [(each["account"], each["path"]) for each in shared.json["grants"]] == [("stranger", "plans/roof.txt")]
    again = owner("POST", f"{address}/version", form([("file", b"newer")]), **{"Content-Type": FORM_TYPE})
    assert (again.status, again.json["version"]["id"]) == (200, file["id"])
    assert owner("GET", f"{address}/download").body == b"newer"
    restored = owner("PUT", f"{address}/version/{file['version']}")
    assert restored.status == 200, restored.body
    assert owner("GET", f"{address}/download").body == FILE
    assert owner("DELETE", address).status == 200
    assert owner("GET", f"{address}/download").status == 404


def test_objects_of_a_bucket(owner: Older) -> None:
    """Written, read and deleted by their names, which may have slashes; then the bucket is deleted."""
    owner("POST", "/api/buckets", {"name": "objects"})
    assert owner("PUT", "/api/buckets/objects/objects/a/b.txt", b"bytes").status == 201
    assert owner("GET", "/api/buckets/objects/objects/a/b.txt").body == b"bytes"
    assert owner("DELETE", "/api/buckets/objects").status == 409
    assert owner("DELETE", "/api/buckets/objects/objects/a/b.txt").status == 200
    assert owner("DELETE", "/api/buckets/objects").status == 204
    assert owner("GET", "/api/buckets/objects/objects").status == 404


def test_folders_and_analytics(owner: Older) -> None:
    owner("POST", "/api/buckets", {"name": "counted"})
    assert owner("POST", "/api/folders/create", {"bucket": "counted", "path": "empty"}).status == 201
    owner("PUT", "/api/buckets/counted/objects/a.txt", b"12345")
    assert owner("GET", "/api/analytics/storage?bucket=counted").json["total"]["file_bytes"] == 5
    types = owner("GET", "/api/analytics/file-types?bucket=counted").json["types"]
    assert "text/plain" in [each["name"] for each in types]


def test_an_id_gives_no_right(rig: S3Rig, everybody: Identities, owner: Older) -> None:
    """Whoever knows it is judged each time by their own rights, which may end."""
    bucket = everybody.bucket()
    id = owner("GET", f"/api/files?bucket={bucket}").json["files"][0]["id"]
    address = f"/api/files/{id}/download"
    stranger = Older(rig, everybody, "stranger")
    assert stranger("GET", address).status == 403
    grants = {"grants": [{"account": "stranger", "level": "read"}]}
    assert owner("PUT", f"/api/files/{id}/access", grants).status == 200
    assert stranger("GET", address).body == b"content"
    assert owner("PUT", f"/api/files/{id}/access", {"grants": []}).status == 200
    assert stranger("GET", address).status == 403
    assert ask(rig.doors, "GET", address).status == 401
    assert Older(rig, everybody, "outsider")("GET", address).status == 404


def test_refusals_do_not_tell_what_an_id_hides(rig: S3Rig, everybody: Identities, owner: Older) -> None:
    """Neither the bucket's name nor the file's, to strangers and to another tenant, about what is and what was."""
    bucket = everybody.bucket(["hidden-name"])
    owner("PATCH", f"/api/v1/buckets/{bucket}", {"versioning": "enabled"})
    id = owner("GET", f"/api/files?bucket={bucket}").json["files"][0]["id"]

    def refusals() -> None:
        for who in ("stranger", "outsider", "anonymous"):
            asks = Older(rig, everybody, who)
            for method, rest, body in (
                ("GET", "/download", b""),
                ("DELETE", "", b""),
                ("PUT", "/access", {"grants": []}),
                ("PUT", "/metadata", {"description": "mine"}),
                ("PUT", "/version/0000000000000001", b""),
            ):
                answer = asks(method, f"/api/files/{id}{rest}", body)
                assert answer.status in (401, 403, 404)
                told = f"{answer.body.decode()} {answer.headers}"
                assert bucket not in told, told
                assert "hidden-name" not in told, told
                assert int(answer.headers["Content-Length"]) == len(answer.body)
            answer = asks.upload(f"/api/files/{id}/version")
            assert (answer.status in (401, 403, 404), bucket in str(answer.body)) == (True, False)
            assert asks("HEAD", f"/api/files/{id}/download").body == b""

    refusals()
    assert owner("DELETE", f"/api/files/{id}").status == 200
    refusals()


def bodies(row: OlderAddress, to: bool, new: str, bucket: str) -> tuple[bytes, str]:
    """The body of a request to the address, or to its operation."""
    if row.to == "/files/{bucket}" and row.to_method == "POST":
        return form([("file", FILE)], filename="k"), FORM_TYPE
    if row.to_method == "PUT" and row.to == "/files/{bucket}/{path}":
        return b"new content", "text/plain"
    body: dict[str, Any] = {
        "/auth/register": {"username": new, "password": PASSWORD},
        "/auth/login": {"username": "stranger", "password": PASSWORD},
        "/access/{bucket}": {"grants": []},
        "/facts/{bucket}/{path}": {"description": "new"},
        "/folders": {"bucket": bucket, "path": new},
        "/buckets": {"name": new},
    }.get(row.to, {})
    if to and row.in_body:
        body[row.in_body] = "k" if row.in_body == "path" else "0000000000000001"
    has_body = bool(body) or bool(row.in_body)
    return (json.dumps(body).encode(), "application/json") if has_body and row.method != "GET" else (b"", "")


def statuses(rig: S3Rig, everybody: Identities, owner: Older, row: OlderAddress, *, to: bool) -> dict[str, int]:
    """What everybody gets in a new bucket of the owner's, at the address or at its operation."""
    found = {}
    for who in sorted({*EVERYBODY, "outsider"}):
        empty = (row.method, row.template) == ("DELETE", "/buckets/{bucket}")
        bucket, new = everybody.bucket([] if empty else ["k"]), f"older-{next(_numbers)}"
        target = f"/api/v1{row.to}" if to else f"/api{row.template}"
        if not to and "{id}" in target:
            listed = owner("GET", f"/api/files?bucket={bucket}").json["files"]
            target = target.replace("{id}", listed[0]["id"])
        target = target.replace("{bucket}", bucket).replace("{path}", "k").replace("{version}", "0000000000000001")
        query = []
        if to and row.in_query:
            query.append(f"{row.in_query}=k")
        if not to and "{bucket}" in row.to and bucket not in target and "{id}" not in row.template:
            query.append(f"bucket={bucket}")
        if row.to == "/search":
            query.append("q=k" if to else "query=k")
        body, kind = bodies(row, to, new, bucket)
        headers = {"Content-Type": kind} if kind else {}
        method = row.to_method if to else row.method
        answer = Older(rig, everybody, who)(method, f"{target}?{'&'.join(query)}".rstrip("?"), body, **headers)
        found[who] = answer.status
    return found


@pytest.mark.parametrize("row", OLDER_ADDRESSES, ids=lambda row: f"{row.method} {row.template}")
def test_everybody_gets_what_the_operation_gives_them(
    rig: S3Rig, everybody: Identities, owner: Older, row: OlderAddress
) -> None:
    """Each identity, in a world of its own each time."""
    older = statuses(rig, everybody, owner, row, to=False)
    assert older == statuses(rig, everybody, owner, row, to=True)
    assert len(set(older.values())) > 1 or row.to.startswith("/auth/")


@pytest.mark.parametrize("who", ["stranger", "outsider"])
def test_bad_requests_do_not_tell_what_an_id_hides(rig: S3Rig, everybody: Identities, owner: Older, who: str) -> None:
    """Neither by an error's text, nor by another answer to a right guess than to a wrong one."""
    bucket = everybody.bucket(["hidden/../name"])
    (file,) = owner("GET", f"/api/files?bucket={bucket}").json["files"]
    asks = Older(rig, everybody, who)
    for method, rest, body in (("GET", "/download", b""), ("PUT", "/access", {"grants": []}), ("DELETE", "", b"")):
        answer = asks(method, f"/api/files/{file['id']}{rest}", body)
        assert (answer.status, bucket in str(answer.body), "hidden" in str(answer.body)) == (400, False, False)
    (plain,) = owner("GET", f"/api/files?bucket={everybody.bucket(['plain'])}").json["files"]
    for field, right, wrong in (("bucket", plain["bucket"], "photos"), ("path", "plain", "plane")):
        answers = [
            asks(
                "POST",
                f"/api/files/{plain['id']}/version",
                form([(field, guess), ("file", FILE)]),
                **{"Content-Type": FORM_TYPE},
            )
            for guess in (right, wrong)
        ]
        told = [answer.json | {"request_id": ""} for answer in answers]
        assert told[0] == told[1]
        assert plain["bucket"] not in str(told)
