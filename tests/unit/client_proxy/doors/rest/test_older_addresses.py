"""The table of older addresses: what of a request is rewritten, and that every row leads to an operation of the API."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from client_proxy.doors.rest.file_ids import FileIds
from client_proxy.doors.rest.older_addresses import OLDER_ADDRESSES, OlderAddress, OlderAddresses
from tests import ROOT
from tests.fakes.wsgi import Answer, ask, request_environ
from tests.unit.client_proxy.doors.rest.test_file_ids import KeyHolder
from tests.unit.rest_door import make_door

IDS = FileIds(KeyHolder())  # type: ignore[arg-type]
ID = IDS.of("photos", "in/ä b%2F?.txt")
FILE = {"bucket": "photos", "path": "in/ä b%2F?.txt", "size": 1.5}
IN_FILES, IN_HITS, IN_VERSION = {"files": [FILE]}, {"hits": [{"match": "name", "file": FILE}]}, {"version": FILE}


class Seen:
    """In place of the API: notes the request, and answers with JSON."""

    def __init__(self, reply: Any = None, status: str = "200 -") -> None:
        self.reply, self.status = reply or {}, status
        self.requests: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        self.requests.append({**environ, "body": environ["wsgi.input"].read(length)})
        body = json.dumps(self.reply).encode()
        start_response(self.status, [("Content-Type", "application/json"), ("content-length", str(len(body)))])
        return [body]


def sent(method: str, target: str, body: bytes = b"", **headers: str) -> tuple[str, str, bytes]:
    """What reaches the API: method, address with its query, and body."""
    inner = Seen()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    assert ask(OlderAddresses(inner, IDS), method, target, body, headers=named).status == 200
    (found,) = inner.requests
    path = found["PATH_INFO"].encode("latin-1").decode()
    return found["REQUEST_METHOD"], f"{path}?{found['QUERY_STRING']}".rstrip("?"), found["body"]


PATH = "/photos/in/ä b%2F?.txt"
CASES: dict[tuple[str, str], tuple[str, str]] = {
    ("POST", "/api/auth/register"): ("POST", "/api/v1/auth/register"),
    ("POST", "/api/auth/login"): ("POST", "/api/v1/auth/login"),
    ("POST", "/api/files/upload"): ("POST", "/api/v1/files/files"),
    ("POST", "/api/files/upload?bucket=photos&path=in/"): ("POST", "/api/v1/files/photos?path=in%2F"),
    ("GET", "/api/files"): ("GET", "/api/v1/files/files"),
    ("GET", "/api/files?bucket=photos&prefix=in/&limit=2"): ("GET", "/api/v1/files/photos?prefix=in%2F&limit=2"),
    ("GET", "/api/files/search?query=roof+plan&type=image"): ("GET", "/api/v1/search?q=roof+plan&type=image"),
    ("GET", f"/api/files/{ID}/download"): ("GET", f"/api/v1/files{PATH}"),
    ("GET", f"/api/files/{ID}/download?version=7"): ("GET", f"/api/v1/files{PATH}?version=7"),
    ("HEAD", f"/api/files/{ID}/download"): ("HEAD", f"/api/v1/files{PATH}"),
    ("DELETE", f"/api/files/{ID}"): ("DELETE", f"/api/v1/files{PATH}"),
    ("PUT", f"/api/files/{ID}/access"): ("PUT", "/api/v1/access/photos"),
    ("PUT", f"/api/files/{ID}/metadata"): ("PATCH", f"/api/v1/facts{PATH}"),
    ("POST", f"/api/files/{ID}/version"): ("POST", "/api/v1/files/photos?path=in%2F%C3%A4+b%252F%3F.txt"),
    ("PUT", f"/api/files/{ID}/version/0000000000000004"): ("POST", f"/api/v1/versions{PATH}/restore"),
    ("POST", "/api/folders/create"): ("POST", "/api/v1/folders"),
    ("GET", "/api/analytics/storage?bucket=photos"): ("GET", "/api/v1/analytics/storage?bucket=photos"),
    ("GET", "/api/analytics/file-types"): ("GET", "/api/v1/analytics/file-types"),
    ("GET", "/api/buckets"): ("GET", "/api/v1/buckets"),
    ("POST", "/api/buckets"): ("POST", "/api/v1/buckets"),
    ("DELETE", "/api/buckets/photos"): ("DELETE", "/api/v1/buckets/photos"),
    ("GET", "/api/buckets/photos/objects?prefix=a"): ("GET", "/api/v1/files/photos?prefix=a"),
    ("PUT", "/api/buckets/photos/objects/a/b%20%C3%BC"): ("PUT", "/api/v1/files/photos/a/b ü"),
    ("GET", "/api/buckets/photos/objects/a/b"): ("GET", "/api/v1/files/photos/a/b"),
    ("HEAD", "/api/buckets/photos/objects/a"): ("HEAD", "/api/v1/files/photos/a"),
    ("DELETE", "/api/buckets/photos/objects/a?version=7"): ("DELETE", "/api/v1/files/photos/a?version=7"),
}


@pytest.mark.parametrize(("older", "newer"), CASES.items(), ids=lambda case: " ".join(case))
def test_each_address_is_that_of_an_operation(older: tuple[str, str], newer: tuple[str, str]) -> None:
    """With its arguments, and names as they are."""
    assert sent(*older)[:2] == newer


def test_every_row_has_a_case() -> None:
    """By its method and template."""

    def fits(row: OlderAddress, method: str, target: str) -> bool:
        pattern = re.sub(r"\{(\w+)\}", lambda found: ".+" if found[1] == "path" else "[^/]+", row.template)
        return row.method == method and re.fullmatch(f"/api{pattern}", target.partition("?")[0]) is not None

    missing = [row for row in OLDER_ADDRESSES if not any(fits(row, *case) for case in CASES)]
    assert missing == []


def test_every_row_leads_to_an_operation_of_the_document() -> None:
    """With the argument, or the member of the body, that the row gives it."""
    served = make_door().app.extensions["lockstep"].operations
    operations = {(one.method, one.template): one for one in served}
    for row in OLDER_ADDRESSES:
        operation = operations[row.to_method, row.to]
        assert operation.arguments >= {row.in_query, *dict(row.arguments).values()} - {""}
        if row.in_body:
            assert row.in_body in operation.bodies[0].shape.__struct_fields__


def test_every_row_is_in_the_document_for_people() -> None:
    """With the operation that it leads to."""
    lines = (ROOT / "docs" / "http-api.md").read_text("utf-8").splitlines()
    for row in OLDER_ADDRESSES:
        found = [line for line in lines if f"/api{row.template}`" in line and f"/api/v1{row.to}" in line]
        assert any(row.method in line and row.to_method in line for line in found), row


def test_the_rest_of_the_request_stays() -> None:
    """Credentials, conditions and bytes."""
    inner = Seen()
    headers = {"X-Api-Key": "lsk_1", "If-Match": '"d"', "Content_Type": "image/png"}
    ask(OlderAddresses(inner, IDS), "PUT", "/api/buckets/photos/objects/a", b"bytes", headers=headers)
    (found,) = inner.requests
    assert (found["HTTP_X_API_KEY"], found["HTTP_IF_MATCH"], found["CONTENT_TYPE"]) == ("lsk_1", '"d"', "image/png")
    assert found["body"] == b"bytes"


@pytest.mark.parametrize(
    "target",
    [
        *("/", "/api", "/api/", "/api/v1/files", "/api/v1/files/files/a", "/api/files/x", "/photos/api/files"),
        *("/apis/files", "/api/files/upload", "/api/buckets/photos", "/api/files/a/b/download"),
    ],
)
def test_other_addresses_are_not_touched(target: str) -> None:
    """They reach the API as they are, which says that there is nothing if there is nothing."""
    assert sent("GET", target) == ("GET", target, b"")


def test_the_address_says_which_file_the_body_is_about() -> None:
    """So the body must not say it, too; no body means that there is nothing more."""
    _, _, body = sent("PUT", f"/api/files/{ID}/access", b'{"public": true}')
    assert json.loads(body) == {"public": True, "path": "in/ä b%2F?.txt"}
    _, _, body = sent("PUT", f"/api/files/{ID}/version/7", b"")
    assert json.loads(body) == {"version": "7"}


def refused(method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    """The status and code of a request that must not reach the API."""
    inner = Seen()
    answer = ask(OlderAddresses(inner, IDS), method, target, body, headers=headers)
    assert inner.requests == []
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"]
    return answer.status, answer.json["code"] if method != "HEAD" else ""


def test_bad_requests_are_refused_before_the_api() -> None:
    """In its form."""
    assert refused("GET", "/api/files/nothing/download") == (404, "not_found")
    assert refused("HEAD", "/api/files//download") == (404, "")
    assert refused("GET", "/api/files?bucket=photos/secret.txt") == (400, "bad_name")
    assert refused("GET", "/api/files?bucket=") == (400, "bad_name")
    assert refused("GET", "/api/files?prefix=%FF") == (400, "bad_request")
    assert refused("PUT", "/api/buckets/photos/objects/%FF", b"x") == (400, "bad_name")
    access = f"/api/files/{ID}/access"
    assert refused("PUT", access, b'{"path": ""}') == (400, "bad_request")
    assert refused("PUT", access, b"[]") == (400, "bad_request")
    assert refused("PUT", access, b"{", CONTENT_TYPE="application/json") == (400, "bad_request")
    assert refused("PUT", access, b"{}", CONTENT_TYPE="text/plain") == (415, "unsupported_media_type")


def answered(target: str, reply: Any, method: str = "GET", status: str = "200 -") -> Answer:
    return ask(OlderAddresses(Seen(reply, status), IDS), method, target)


def test_files_in_replies_have_their_ids() -> None:
    """In listings, hits and replies to writes; everything else stays as it is, and the length fits."""
    for method, target, reply in (
        ("GET", "/api/files", IN_FILES),
        ("GET", "/api/buckets/photos/objects", IN_FILES),
        ("GET", "/api/files/search?query=a", IN_HITS),
        ("POST", "/api/files/upload", IN_VERSION),
        ("POST", f"/api/files/{ID}/version", IN_VERSION),
        ("PUT", f"/api/files/{ID}/version/7", IN_VERSION),
    ):
        answer = answered(target, {**reply, "cursor": 7}, method)
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        assert answer.body.decode().count(ID) == 1
        text = answer.body.decode().replace(f',"id":"{ID}"', "")
        assert json.loads(text) == {**reply, "cursor": 7}


def test_nothing_is_done_without_the_key_of_the_ids() -> None:
    """A write whose reply could not be given is refused before it is made; what needs no id is not."""
    holder, inner = KeyHolder(), Seen(IN_VERSION)
    holder.is_up = False
    app = OlderAddresses(inner, FileIds(holder))  # type: ignore[arg-type]
    assert ask(app, "POST", "/api/files/upload").status == 503
    assert inner.requests == []
    assert ask(app, "GET", "/api/buckets").status == 200
    holder.is_up = True
    assert ask(app, "POST", "/api/files/upload").status == 200


def test_the_layers_around_see_the_operation() -> None:
    """It is noted in the environment that they passed on, for traces."""

    def inner(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["seen"] = environ["PATH_INFO"]
        start_response("200 -", [])
        return []

    environ = request_environ("GET", f"/api/files/{ID}/download")
    list(OlderAddresses(inner, IDS)(environ, lambda *_: None))
    assert environ["seen"].startswith("/api/v1/files/photos/")


def test_refusals_have_none() -> None:
    """They pass as they are, also one that names a file."""
    answer = answered("/api/files", IN_FILES, status="403 -")
    assert (answer.status, answer.json) == (403, IN_FILES)
