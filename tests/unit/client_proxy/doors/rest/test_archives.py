"""The route that downloads a selection as a zip file."""

from __future__ import annotations

import io
import zipfile

import pytest

from tests.fakes.rest_core import ACCESS
from tests.unit.rest_door import Door

ARCHIVES = "/api/v1/archives/files"


@pytest.fixture
def stored(door: Door) -> Door:
    for path in ("in/ä.txt", "in/b/c.txt", "in/b/d.txt", "in/e.txt", "f.txt"):
        door.files.put("files", path, path.encode())
    return door


@pytest.mark.parametrize(
    ("query", "name", "entries"),
    [
        ("", "files", ["f.txt", "in/b/c.txt", "in/b/d.txt", "in/e.txt", "in/ä.txt"]),
        ("?folder=in", "in", ["b/c.txt", "b/d.txt", "e.txt", "ä.txt"]),
        ("?folder=in/&name=b/", "b", ["b/c.txt", "b/d.txt"]),
        ("?folder=in/&name=%C3%A4.txt&name=b/", "in", ["b/c.txt", "b/d.txt", "ä.txt"]),
        ("?name=in/e.txt&name=f.txt", "files", ["f.txt", "in/e.txt"]),
    ],
)
def test_a_selection_is_one_zip_file(stored: Door, query: str, name: str, entries: list[str]) -> None:
    """Named after what was chosen, and never shown by a browser; every call carries the caller's credential."""
    answer = stored.ask("GET", ARCHIVES + query)
    assert (answer.status, answer.error) == (200, None)
    with zipfile.ZipFile(io.BytesIO(answer.body)) as found:
        assert sorted(found.namelist()) == entries
        assert found.testzip() is None
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"].startswith(f'attachment; filename="{name}.zip"')
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Length" not in answer.headers
    assert {call.credential for call in stored.files.calls} == {ACCESS}
    head = stored.ask("HEAD", ARCHIVES + query)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Disposition"] == answer.headers["Content-Disposition"]
    assert "Content-Length" not in head.headers


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?folder=none", 404),
        ("?name=in/none.txt", 404),
        ("?folder=in/&name=../f.txt", 400),
        ("?folder=../in", 400),
        ("?folder=/in", 400),
        ("?folder=in&folder=b", 400),
        ("?name=f.txt&name=f.txt", 400),
        ("?name=f.txt&name=", 400),
        ("?" + "&".join(f"name={number}" for number in range(600)), 400),
    ],
)
def test_what_cannot_be_packed_is_refused(stored: Door, query: str, status: int) -> None:
    """With the reason, before the first byte."""
    answer = stored.ask("GET", ARCHIVES + query)
    assert answer.status == status
    assert answer.json["detail"]
