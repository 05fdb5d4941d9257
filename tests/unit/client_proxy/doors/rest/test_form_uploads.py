"""Files that are sent in forms: where they are stored, and which forms store nothing."""

from __future__ import annotations

from typing import Any

import pytest

from client_proxy.core.requests import Write
from client_proxy.doors.rest import form_uploads
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.messages.files import Preconditions
from tests.fakes.rest_core import ACCESS
from tests.fakes.wsgi import Answer
from tests.s3.post_forms import FILE, FORM_TYPE, Field, form
from tests.unit.rest_door import Door


def upload(door: Door, fields: list[Field], query: str = "", *, content_type: str = FORM_TYPE, **more: Any) -> Answer:
    body = form(fields, **more) if isinstance(fields, list) else fields
    return door.ask("POST", f"/api/v1/files/files{query}", body, headers={"Content-Type": content_type})


@pytest.mark.parametrize(
    ("fields", "query", "filename", "path"),
    [
        ([], "", "roof.txt", "roof.txt"),
        ([], "", "C:\\\\plans\\\\roof.txt", "roof.txt"),
        ([], "", "../roof.txt", "roof.txt"),
        ([("path", "plans/")], "", "roof.txt", "plans/roof.txt"),
        ([("path", "plans/new.txt")], "", "roof.txt", "plans/new.txt"),
        ([("path", "plans/new.txt"), ("bucket", "files")], "", "", "plans/new.txt"),
        ([], "?path=plans/", "roof.txt", "plans/roof.txt"),
        ([], "?path=plans/new.txt", "roof.txt", "plans/new.txt"),
    ],
)
def test_the_path_or_the_files_own_name_says_where(
    door: Door, fields: list[Field], query: str, filename: str, path: str
) -> None:
    answer = upload(door, [*fields, ("file", FILE)], query, filename=filename)
    assert answer.status == 201, answer.body
    assert answer.headers["X-Lockstep-Digest"] == chunk_digest(FILE).hex()
    assert door.files.contents["files", path][1] == FILE
    assert upload(door, [*fields, ("file", FILE)], query, filename=filename).status == 200


def test_locks_and_conditions_reach_the_store(door: Door) -> None:
    """As those of a PUT, and refusals come before the file is read."""
    headers = {
        "Content-Type": FORM_TYPE,
        "X-Lockstep-Lock": "17",
        "X-Lockstep-Release-Lock": "true",
        "If-None-Match": "*",
    }
    door.ask("POST", "/api/v1/files/files", form([("file", FILE)], filename="a"), headers=headers)
    assert door.files.calls[-1] == Write(
        ACCESS,
        "files",
        "a",
        size=None,
        lock_number=17,
        release_lock=True,
        preconditions=Preconditions(if_none_match=["*"]),
        ask_first=True,
    )


WHOLE = form([("file", FILE)])
BAD: dict[str, tuple[Any, dict[str, Any], int]] = {
    "no file": ([("path", "a")], {}, 400),
    "no name": ([("file", FILE)], {"filename": ""}, 400),
    "a folder and no name": ([("path", "plans/"), ("file", FILE)], {"filename": ""}, 400),
    "another bucket": ([("bucket", "photos"), ("file", FILE)], {}, 400),
    "an unknown field": ([("pat", "a"), ("file", FILE)], {}, 400),
    "two paths": ([("path", "a"), ("file", FILE)], {"query": "?path=b"}, 400),
    "a path twice": ([("path", "a"), ("file", FILE)], {"query": "?path=a"}, 400),
    "a bucket beside a path": ([("bucket", "files"), ("file", FILE)], {"query": "?path=a"}, 400),
    "a path outside": ([("path", "../a"), ("file", FILE)], {}, 400),
    "an absolute path": ([("path", "/a"), ("file", FILE)], {}, 400),
    "two files": ([("file", FILE), ("file", FILE)], {}, 400),
    "a field after the file": ([("file", FILE), ("path", "a")], {}, 400),
    "cut in the file": (WHOLE[:-40], {}, 400),
    "cut before the end": (WHOLE[:-6], {}, 400),
    "no form": (FILE, {}, 400),
    "nothing": (b"", {}, 400),
    "no boundary": (WHOLE, {"content_type": "multipart/form-data"}, 400),
    "another type": (WHOLE, {"content_type": "application/octet-stream"}, 415),
    "an argument it does not take": (WHOLE, {"query": "?folder=a"}, 400),
}


@pytest.mark.parametrize(("body", "more", "status"), BAD.values(), ids=BAD)
def test_a_bad_form_stores_nothing(door: Door, body: Any, more: dict[str, Any], status: int) -> None:
    """The refusal is a problem that says what is wrong."""
    answer = upload(door, body, **more)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json["detail"]
    assert not door.files.contents


def test_a_file_beyond_the_bound_stores_nothing(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its end tells how long it is, so it is counted on the way."""
    monkeypatch.setattr(form_uploads, "MAX_FILE_BYTES", len(FILE) - 1)
    assert upload(door, [("file", FILE)]).status == 413
    assert not door.files.contents
    monkeypatch.setattr(form_uploads, "MAX_FILE_BYTES", len(FILE))
    assert upload(door, [("file", FILE)]).status == 201


def test_without_a_log_in_nothing_is_read(door: Door) -> None:
    """A form can come from any page; only a header says who sends it."""
    headers = {"Content-Type": FORM_TYPE, "Authorization": ""}
    assert door.ask("POST", "/api/v1/files/files", WHOLE, headers=headers).status == 401
    assert not door.files.contents
