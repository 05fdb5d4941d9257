"""The API's description: valid, complete in both directions, and shown by a page that needs nothing from elsewhere."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from client_proxy.doors.rest.examples import EXAMPLES
from client_proxy.doors.rest.links import LINKS
from client_proxy.doors.rest.locks import QueuedReply
from client_proxy.doors.rest.openapi import PAGE_FOLDER, PAGE_TYPES
from client_proxy.doors.rest.schemas import schemas
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.errors import BucketNotEmpty, Unavailable
from lockstep_store.wire.messages.cluster import EnrolRequest
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.single_sign_on import SSO_OFFERS, START_SIGN_ON, SignOnOffersReply
from tests.fakes.documented import UndocumentedStatus
from tests.fakes.wsgi import ask
from tests.unit.rest_door import Door, clean_door, make_door

METHODS = {"get", "head", "put", "post", "patch", "delete"}


@pytest.fixture(scope="module")
def door() -> Door:
    return clean_door()


@pytest.fixture(scope="module")
def document(door: Door) -> dict[str, Any]:
    answer = ask(door.app, "GET", "/api/v1/openapi.json")
    assert answer.status == 200
    described: dict[str, Any] = answer.json
    return described


def _documented(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def _routed(door: Door) -> set[tuple[str, str]]:
    routed = set()
    for rule in door.app.url_map.iter_rules():
        path = re.sub(r"<[a-z_]+:(\w+)>", r"{\1}", rule.rule)
        if path.startswith("/api/"):
            methods = set(rule.methods or ())
            # A route that answers GET answers HEAD by HTTP's own rules; that is not described again.
            routed |= {(method, path) for method in methods - ({"HEAD"} if "GET" in methods else set())}
    return routed


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    """openapi.json is a valid OpenAPI 3.1 document."""
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_document_and_routes_agree_in_both_directions(door: Door, document: dict[str, Any]) -> None:
    """Every route below /api is described with its methods, and everything described is routed."""
    assert _routed(door) == _documented(document)


def test_every_described_operation_is_answered(door: Door, document: dict[str, Any]) -> None:
    """No described address answers 404 for want of a route, nor 405."""
    # Nobody needs a log-in for these.
    door.directory.answers[SSO_OFFERS.path] = SignOnOffersReply([])
    door.directory.answers[START_SIGN_ON.path] = Unavailable("no keys yet")
    for method, path in _documented(document):
        target = (
            path.replace("{bucket}", "some-bucket")
            .replace("{path}", "a/b")
            .replace("{id}", "x1")
            .replace("{provider}", "x1")
        )
        target = target.replace("{file}", "page.css")
        answer = ask(door.app, method, target, b"{}" if method in ("POST", "PATCH", "PUT") else b"")
        assert answer.status not in (404, 405, 500), (method, path)


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    """Each operation has its own id, a summary, a known section, its refusals, and its path values."""
    tags = {tag["name"] for tag in document["tags"]}
    ids = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            ids.append(operation["operationId"])
            assert operation["summary"]
            assert set(operation["tags"]) <= tags
            named = {given["name"] for given in operation.get("parameters", []) if given["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            assert "default" not in operation["responses"], "it would hide the statuses that are not listed"
            needs_login = operation.get("security", document["security"]) != []
            if needs_login:
                assert "401" in operation["responses"], operation["operationId"]
    assert len(ids) == len(set(ids))


def test_answers_without_a_log_in_are_the_documented_ones(door: Door, document: dict[str, Any]) -> None:
    """What the document says is open is open, and everything else is 401 without a credential."""
    for method, path in _documented(document):
        target = (
            path.replace("{bucket}", "some-bucket")
            .replace("{path}", "a/b")
            .replace("{id}", "x1")
            .replace("{provider}", "x1")
        )
        target = target.replace("{file}", "page.css")
        open_to_all = document["paths"][path][method.lower()].get("security") == []
        body = b"{}" if method in ("POST", "PATCH", "PUT") else b""
        assert (ask(door.app, method, target, body).status != 401) is open_to_all, (method, path)


def test_described_shapes_are_the_real_ones(door: Door, document: dict[str, Any]) -> None:
    """A real answer has exactly the fields that the document describes for it."""
    answer = ask(door.app, "GET", "/api/v1/health")
    schema = document["paths"]["/api/v1/health"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    described = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    assert set(msgspec.json.decode(answer.body)) <= set(described["properties"])
    assert set(described["required"]) <= set(msgspec.json.decode(answer.body))


def test_no_credential_is_described_in_a_body(document: dict[str, Any]) -> None:
    """Credentials travel in headers only: no described shape has a field for one."""
    for name, schema in document["components"]["schemas"].items():
        assert "credential" not in schema.get("properties", {}), name


def test_the_page_needs_nothing_from_elsewhere(door: Door) -> None:
    """The page and its files are served with a strict policy, and name no other site and no inline code."""
    for name, kind in PAGE_TYPES.items():
        target = "/api/v1/docs" if name == "page.html" else f"/api/v1/docs/{name}"
        answer = ask(door.app, "GET", target)
        assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.body == (PAGE_FOLDER / name).read_bytes()
        text = answer.body.decode()
        assert "://" not in text
        assert "innerHTML" not in text
        assert "eval(" not in text
    page = ask(door.app, "GET", "/api/v1/docs").body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)
    assert ask(door.app, "GET", "/api/v1/docs/../request.py").status == 404
    assert ask(door.app, "GET", "/api/v1/docs/request.py").status == 404


def test_the_page_loads_its_own_files(door: Door) -> None:
    """Every file that the page refers to is answered."""
    page = ask(door.app, "GET", "/api/v1/docs").body.decode()
    for reference in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert ask(door.app, "GET", f"/api/v1/{reference}").status == 200, reference


def test_an_answer_that_is_not_documented_fails_its_test(door: Door) -> None:
    """The check that runs behind every other test of the API finds a status that no declaration lists."""
    made = make_door()

    def refuse(_: object) -> None:
        raise BucketNotEmpty("not expected here")

    made.directory.answers["/v1/buckets"] = refuse
    with pytest.raises(UndocumentedStatus, match="list_buckets answered 409"):
        made.ask("GET", "/api/v1/buckets")


def test_tools_can_read_every_schema(document: dict[str, Any]) -> None:
    """No tuples, no default in an answer, and raw content is declared as binary."""
    assert "prefixItems" not in str(document)
    assert "'items': False" not in str(document)
    for name, schema in document["components"]["schemas"].items():
        if schema.get("additionalProperties") is not False:
            assert not [member for member, kind in schema["properties"].items() if "default" in kind], name
    for method, path in _documented(document):
        operation = document["paths"][path][method.lower()]
        contents = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media, said in [pair for content in contents for pair in content.get("content", {}).items()]:
            assert said["schema"], (path, media)
    read = document["paths"]["/api/v1/files/{bucket}/{path}"]["get"]["responses"]["200"]["content"]
    assert read["application/octet-stream"]["schema"] == {"type": "string", "format": "binary"}


def test_members_that_an_answer_may_leave_out_are_the_optional_ones() -> None:
    """A shape that leaves out defaults requires only the rest; one that writes them requires all."""
    _, components = schemas([FileVersion, QueuedReply])
    assert {"bucket", "digest", "size"} <= set(components["FileVersion"]["required"])
    assert "metadata" not in components["FileVersion"]["required"]
    assert set(components["QueuedReply"]["required"]) == set(components["QueuedReply"]["properties"])


def test_every_json_body_has_an_example_that_is_accepted(door: Door) -> None:
    """Each example decodes as its shape."""
    shapes = {body.shape for op in door.app.extensions["lockstep"].operations for body in op.bodies if body.shape}
    assert shapes - {EnrolRequest} == set(EXAMPLES)
    for shape, example in EXAMPLES.items():
        decoder(shape).decode(msgspec.json.encode(example))


def test_every_operation_says_more_than_its_summary(document: dict[str, Any]) -> None:
    """Each has a description, and so does each of its parameters and answers."""
    for method, path in _documented(document):
        operation = document["paths"][path][method.lower()]
        assert operation.get("description", "").endswith("."), operation["operationId"]
        assert all(given["description"] for given in operation.get("parameters", []))
        assert all(answer["description"] for answer in operation["responses"].values())
    assert document["servers"]


def test_every_link_leads_somewhere(document: dict[str, Any]) -> None:
    """To an operation with parameters of these names, and with something that its address needs."""
    operations = {
        described["operationId"]: described for methods in document["paths"].values() for described in methods.values()
    }
    found = set()
    for described in operations.values():
        for status, answer in described["responses"].items():
            for link in answer.get("links", {}).values():
                found.add((described["operationId"], int(status)))
                target = operations[link["operationId"]].get("parameters", [])
                given = set(link.get("parameters", {}))
                assert given <= {parameter["name"] for parameter in target}
                needed = {parameter["name"] for parameter in target if parameter["in"] == "path"}
                assert given & needed or (not needed and link["requestBody"])
    assert found == set(LINKS)
