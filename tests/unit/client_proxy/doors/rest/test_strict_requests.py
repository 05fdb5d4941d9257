"""What the API refuses instead of guessing: empty arguments, unknown members, cut bodies, other content types."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Operation
from lockstep_store.wire.messages.cluster import EnrolRequest
from tests.unit.rest_door import Door, make_door

FILE = "/api/v1/files/files/a"
JSON = {"Content-Type": "application/json"}
VALUES = {"{bucket}": "some-bucket", "{path}": "a/b", "{id}": "x1", "{provider}": "x1", "{file}": "page.css"}


OPERATIONS: list[Operation] = make_door().app.extensions["lockstep"].operations


def _target(operation: Operation) -> str:
    target = operation.address
    for name, value in VALUES.items():
        target = target.replace(name, value)
    return target


ARGUMENTS = [(op, name) for op in OPERATIONS for name in sorted(op.arguments)]
WITH_JSON = [op for op in OPERATIONS if any(body.shape for body in op.bodies)]
FROM_PEOPLE = [op for op in WITH_JSON if op.bodies[0].shape is not EnrolRequest]


@pytest.mark.parametrize("form", ["{}=", "{}", "{}=1&{}=1"])
def test_an_argument_that_is_empty_or_repeated_is_refused(door: Door, form: str) -> None:
    """An argument that lost its value is 400 and names it, and nothing is asked of the cluster."""
    for operation, name in ARGUMENTS:
        answer = door.ask(operation.method, _target(operation) + "?" + form.replace("{}", name), b"")
        assert answer.status == 400, (operation.id, name)
        if operation.method != "HEAD":
            assert f"argument {name}" in answer.json["detail"]
    assert (door.files.calls, door.directory.calls) == ([], [])
    assert len(ARGUMENTS) > 10


def test_an_empty_version_does_not_delete_the_current_file(door: Door) -> None:
    """DELETE with `?version=`, from a script whose variable was empty, deletes nothing."""
    door.files.put("files", "a", b"precious")
    assert door.ask("DELETE", FILE + "?version=").status == 400
    assert door.ask("GET", FILE).body == b"precious"


@pytest.mark.parametrize("name", ["X-Lockstep-Digest", "X-Lockstep-Release-Lock", "X-Lockstep-Lock"])
def test_a_header_that_is_there_and_empty_is_refused(door: Door, name: str) -> None:
    """The same for headers; the runner also shows one that is not ASCII as an empty one."""
    stream = {"Content-Type": "application/vnd.lockstep.chunk-stream"} if name.endswith("Digest") else {}
    answer = door.ask("PUT", FILE, b"data", headers={name: "", **stream})
    assert (answer.status, name in answer.json["detail"]) == (400, True)
    assert door.files.calls == []


def test_an_unknown_member_is_refused_by_name(door: Door) -> None:
    """A misspelled member of a JSON body is 400 and named, and nothing is asked of the cluster."""
    for operation in FROM_PEOPLE:
        answer = door.post(_target(operation), {"verzioning": "enabled"}, operation.method)
        assert (answer.status, "verzioning" in answer.json["detail"]) == (400, True), operation.id
    assert door.directory.calls == []


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/api/v1/locks", {"paths": [{"bucket": "files", "path": "a", "laese": 1}]}),
        ("/api/v1/copy", {"source": {"bucket": "files", "path": "a", "vers": "v1"}, "bucket": "files", "path": "b"}),
    ],
)
def test_unknown_members_of_inner_objects_are_refused_too(door: Door, target: str, body: dict[str, Any]) -> None:
    """Also inside a lock's paths and a copy's source."""
    answer = door.post(target, body)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert "laese" in answer.json["detail"] or "vers" in answer.json["detail"]
    assert (door.files.calls, door.directory.calls) == ([], [])


def test_every_body_from_people_is_declared_strict() -> None:
    """Each shape that people send, and each shape within it, refuses unknown members; a joining program's does not."""
    for operation in FROM_PEOPLE:
        assert issubclass(operation.bodies[0].shape, JsonBody), operation.id
        for shape in _structs(msgspec.inspect.type_info(operation.bodies[0].shape)):
            assert shape.__struct_config__.forbid_unknown_fields, f"{operation.id}: {shape.__name__}"
    assert len(WITH_JSON) == len(FROM_PEOPLE) + 1


def _structs(info: Any) -> list[Any]:
    if isinstance(info, msgspec.inspect.StructType):
        return [info.cls, *(found for field in info.fields for found in _structs(field.type))]
    inner = [getattr(info, name) for name in ("item_type", "key_type", "value_type", "type") if hasattr(info, name)]
    return [found for one in [*inner, *getattr(info, "types", ())] for found in _structs(one)]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"stop": true}'])
def test_json_without_a_length_is_411(door: Door, body: bytes) -> None:
    """Broken chunked framing looks like the body's end, so JSON needs its length, also where a body is optional."""
    for operation in WITH_JSON:
        answer = door.ask(operation.method, _target(operation), body, chunked=True, headers=JSON)
        assert (answer.status, answer.json["code"]) == (411, "length_required"), operation.id
    assert door.directory.calls == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"st'])
def test_json_cut_short_is_refused(door: Door, body: bytes) -> None:
    """A body shorter than its Content-Length is 400, even when nothing of it came, or what came is whole JSON."""
    for operation in WITH_JSON:
        answer = door.ask(operation.method, _target(operation), body, length=100, headers=JSON)
        assert (answer.status, answer.json["code"]) == (400, "incomplete_body"), operation.id
    assert door.directory.calls == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonx"])
def test_json_under_another_content_type_is_415(door: Door, kind: str) -> None:
    """Any page can make a browser send these types here without being asked; JSON is taken only as JSON."""
    for operation in WITH_JSON:
        answer = door.ask(operation.method, _target(operation), b"{}", headers={"Content-Type": kind})
        assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type"), operation.id
        assert "application/json" in answer.json["detail"]
        assert answer.headers["Accept"] == "application/json"
    assert door.directory.calls == []


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", None])
def test_json_with_its_own_type_or_none_is_taken(door: Door, kind: str | None) -> None:
    """application/json in any case and with parameters is accepted, and so is a body of no stated type."""
    door.directory.answers["/v1/buckets/create"] = {"name": "new-bucket"}
    answer = door.ask(
        "POST", "/api/v1/buckets", b'{"name": "new-bucket"}', headers={"Content-Type": kind} if kind else {}
    )
    assert answer.status == 201
