"""Folders at the WebDAV door: created, listed, copied, moved and deleted."""

from __future__ import annotations

import json

import pytest

from client_proxy.doors.webdav import moving
from client_proxy.doors.webdav.changing import LONGEST_CHANGE_SECONDS, DavChanging
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire.errors import Conflict, Problem
from lockstep_store.wire.messages.folders import FolderChange, FolderProblem
from tests.fakes.webdav import DavPerson, header, hrefs, message, tree


@pytest.fixture
def filled(olga: DavPerson, bucket: str) -> str:
    """A bucket with a folder `d`, which has two files, one of them deeper."""
    for path in ("d", "d/e"):
        assert olga.ask("MKCOL", f"{bucket}/{path}").status == 201
    for path in ("d/1", "d/e/2"):
        assert olga.put(f"{bucket}/{path}", path.encode()).status == 201
    return bucket


def test_a_folder_is_one_at_every_door(olga: DavPerson, filled: str) -> None:
    listed = olga.api("GET", f"/files{filled}?delimiter=/").json
    assert listed["prefixes"] == ["d/"]
    assert olga.names(f"{filled}/d") == [f"/dav{filled}/d/e/", f"/dav{filled}/d/1"]
    assert olga.property(f"{filled}/d", "resourcetype") == ""
    assert b"<D:collection/>" in olga.ask("PROPFIND", f"{filled}/d", Depth="0").body


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/d", "", 405), ("/d/1", "", 405), ("/no/such", "", 409), ("/new", "<x/>", 415), ("", "", 405)],
)
def test_a_folder_is_not_created(olga: DavPerson, filled: str, path: str, body: str, status: int) -> None:
    assert olga.ask("MKCOL", f"{filled}{path}", body).status == status


def test_a_bucket_is_created_like_a_folder_and_not_deleted(olga: DavPerson, bucket: str) -> None:
    assert olga.ask("MKCOL", bucket).status == 405
    answer = olga.ask("DELETE", f"{bucket}/")
    assert answer.status == 403
    assert "console" in message(answer)
    assert olga.ask("DELETE", "/").status == 403


def test_a_whole_tree_is_not_listed_at_once(olga: DavPerson, filled: str) -> None:
    for headers in ({"Depth": "infinity"}, {}):
        answer = olga.ask("PROPFIND", f"{filled}/", **headers)
        assert answer.status == 403
        assert tree(answer)[0].tag == "{DAV:}propfind-finite-depth"


def test_delete_takes_everything(olga: DavPerson, filled: str) -> None:
    assert olga.ask("DELETE", f"{filled}/d", Depth="0").status == 400
    assert olga.ask("DELETE", f"{filled}/d").status == 204
    assert olga.names(f"{filled}/") == []
    assert olga.ask("DELETE", f"{filled}/d").status == 404


def test_a_folder_stays_when_its_last_file_goes(olga: DavPerson, bucket: str) -> None:
    """Also one that nobody created: for a desktop, a folder does not vanish with a file."""
    for name in ("a", "b"):
        olga.api("PUT", f"/files{bucket}/{name}/only", b"x")
    assert olga.ask("DELETE", f"{bucket}/a/only").status == 204
    assert olga.move(f"{bucket}/b/only", f"{bucket}/moved").status == 201
    assert olga.names(f"{bucket}/") == [f"/dav{bucket}/a/", f"/dav{bucket}/b/", f"/dav{bucket}/moved"]
    assert olga.put(f"{bucket}/a/again").status == 201


def test_a_file_is_copied_and_moved(olga: DavPerson, filled: str) -> None:
    assert olga.copy(f"{filled}/d/1", f"{filled}/copy").status == 201
    assert olga.copy(f"{filled}/d/1", f"{filled}/copy", Overwrite="F").status == 412
    assert olga.copy(f"{filled}/d/1", f"{filled}/copy").status == 204
    assert olga.move(f"{filled}/copy", f"{filled}/d/moved").status == 201
    assert olga.get(f"{filled}/d/moved").body == b"d/1"
    assert olga.get(f"{filled}/copy").status == 404
    assert olga.get(f"{filled}/d/1").body == b"d/1"


def test_a_folder_is_copied_and_moved_with_everything(olga: DavPerson, filled: str) -> None:
    assert olga.copy(f"{filled}/d/", f"{filled}/copy/").status == 201
    assert olga.copy(f"{filled}/d/", f"{filled}/alone/", Depth="0").status == 201
    assert olga.names(f"{filled}/alone/") == []
    assert olga.move(f"{filled}/d/", f"{filled}/copy/", Overwrite="F").status == 412
    assert olga.move(f"{filled}/d/", f"{filled}/copy/").status == 204
    assert olga.get(f"{filled}/copy/e/2").body == b"d/e/2"
    assert olga.names(f"{filled}/") == [f"/dav{filled}/alone/", f"/dav{filled}/copy/"]


@pytest.mark.parametrize(
    ("source", "target", "status"),
    [
        ("/d", "/d", 403),
        ("/d/", "/d/e/inside/", 403),
        ("/d/1", "/no/such/folder", 409),
        ("/none", "/new", 404),
        ("/d/e/2", "/d", 403),
        ("", "/d/whole", 403),
        ("/d/", "", 403),
    ],
)
@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_what_cannot_be_copied_or_moved(
    olga: DavPerson, filled: str, method: str, source: str, target: str, status: int
) -> None:
    assert olga.copy(f"{filled}{source}", f"{filled}{target}", method).status == status
    assert olga.get(f"{filled}/d/e/2").body == b"d/e/2"


@pytest.mark.parametrize("target", ["https://elsewhere.example/dav/x/y", "https://127.0.0.1:5000/api/v1/files/x"])
def test_nothing_goes_to_another_server_or_door(olga: DavPerson, filled: str, target: str) -> None:
    assert olga.ask("COPY", f"{filled}/d/1", Destination=target).status == 502
    assert olga.ask("COPY", f"{filled}/d/1").status == 400


def test_a_large_folder_is_not_copied_by_one_request(
    olga: DavPerson, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MAX_COPIED", 2)
    answer = olga.copy(f"{filled}/d/", f"{filled}/copy/")
    assert answer.status == 507
    assert "nothing was copied" in message(answer)
    assert olga.names(f"{filled}/") == [f"/dav{filled}/d/"]


def test_a_locked_file_keeps_its_folder(olga: DavPerson, filled: str) -> None:
    """Nothing of the folder is deleted or moved, and the refusal names the holder."""
    assert olga.api("POST", "/locks", b'{"paths": ["%s/d/e/2"]}' % filled[1:].encode()).status == 200
    for answer in (olga.ask("DELETE", f"{filled}/d/"), olga.move(f"{filled}/d/", f"{filled}/x/")):
        assert answer.status == 423
        assert "olga" in message(answer)
        assert header(answer, "X-Lockstep-Lock-Holder") == "olga"
    assert olga.get(f"{filled}/d/1").body == b"d/1"


def test_a_listing_of_many_pages_is_whole(olga: DavPerson, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:03}" for number in range(25)]
    for name in names:
        olga.put(f"{bucket}/{name}")
    resources = olga.rig.files
    whole = resources.list

    def small(request: object) -> object:
        from msgspec.structs import replace

        return whole(replace(request, limit=min(request.limit, 10)))  # type: ignore[type-var, attr-defined]

    monkeypatch.setattr(resources, "list", small)
    assert olga.names(f"{bucket}/") == [f"/dav{bucket}/{name}" for name in names]


def test_what_a_copy_leaves_out_is_named(olga: DavPerson, filled: str) -> None:
    """Here a name in the copy that somebody has locked already."""
    assert olga.api("POST", "/locks", b'{"paths": ["%s/copy/1"]}' % filled[1:].encode()).status == 200
    answer = olga.copy(f"{filled}/d/", f"{filled}/copy/")
    assert answer.status == 207
    assert hrefs(answer) == [f"/dav{filled}/copy/1"]
    assert b"423 Locked" in answer.body
    assert olga.get(f"{filled}/copy/e/2").body == b"d/e/2"
    assert olga.get(f"{filled}/copy/1").status == 404


class _Job:
    """A directory in which a large folder's change is as far as the test says. Sleeping takes no time."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.now = 0.0

    def change(self, state: str) -> FolderChange:
        problem = FolderProblem("d/kept", Problem("locked", 423, "olga has it"))
        problems = [problem] if state == "incomplete" else []
        counts = {"total": 900, "done": 0, "failed": len(problems), "began_at": 0.0}
        return FolderChange("id", "delete", "team", "d/", "olga", state, **counts, problems=problems)  # type: ignore[arg-type]

    def call(self, *_: object) -> FolderChange:
        return self.change(self.states.pop(0) if self.states else "running")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def finish(self) -> RawReply | None:
        changing = DavChanging(None, self, None, None, self.sleep, lambda: self.now)  # type: ignore[arg-type]
        return changing.finish("", self.change("running"))


def test_a_large_folder_s_change_is_waited_for() -> None:
    assert _Job("running", "running", "done").finish() is None


def test_a_change_that_takes_long_goes_on_by_itself() -> None:
    job = _Job()
    reply = job.finish()
    assert reply is not None
    assert reply.status == 202
    assert LONGEST_CHANGE_SECONDS < job.now < LONGEST_CHANGE_SECONDS + 1


def test_what_a_large_change_leaves_is_named() -> None:
    reply = _Job("incomplete").finish()
    assert reply is not None
    assert reply.status == 207
    body = b"".join(reply.body)
    assert b"/dav/team/d/kept" in body
    assert b"423 Locked" in body
    with pytest.raises(Conflict):
        _Job("stopped").finish()


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
@pytest.mark.parametrize("source", ["d/file", "d/"])
@pytest.mark.parametrize("level", ["read", None])
def test_what_is_refused_destroys_nothing_at_the_destination(
    olga: DavPerson, eve: DavPerson, bucket: str, method: str, source: str, level: str | None
) -> None:
    """The folder at the destination is deleted when nothing else is in the way."""
    olga.ask("MKCOL", f"{bucket}/d")
    olga.put(f"{bucket}/d/file")
    if level is not None:
        grant = json.dumps({"path": "d/", "grants": [{"account": "eve", "level": level}]})
        assert olga.api("PATCH", f"/access{bucket}", grant.encode()).status == 200
    mine = f"/{eve.bucket()}/mine"
    eve.ask("MKCOL", mine)
    eve.put(f"{mine}/precious")
    allowed = method == "COPY" and level == "read"
    to = f"{mine}/" if source == "d/" else mine
    assert eve.copy(f"{bucket}/{source}", to, method).status == (204 if allowed else 403)
    assert eve.get(f"{mine}/precious").status == (404 if allowed else 200)
    assert olga.get(f"{bucket}/d/file").status == 200
    if allowed:
        assert eve.get(f"{mine}/file" if source == "d/" else mine).status == 200


def test_a_folder_moved_over_another_replaces_it(olga: DavPerson, bucket: str) -> None:
    for name in ("a", "b"):
        olga.ask("MKCOL", f"{bucket}/{name}")
        olga.put(f"{bucket}/{name}/{name}")
    assert olga.move(f"{bucket}/a/", f"{bucket}/b/").status == 204
    assert olga.names(f"{bucket}/b/") == [f"/dav{bucket}/b/a"]
    olga.put(f"{bucket}/file")
    assert olga.move(f"{bucket}/file", f"{bucket}/b").status == 204
    assert olga.names(f"{bucket}/") == [f"/dav{bucket}/b"]
    olga.ask("MKCOL", f"{bucket}/c")
    olga.put(f"{bucket}/c/c")
    assert olga.move(f"{bucket}/c/", f"{bucket}/b").status == 204
    assert olga.names(f"{bucket}/") == [f"/dav{bucket}/b/"]


def test_copies_and_moves_obey_if_match(olga: DavPerson, bucket: str) -> None:
    """Of what they copy or move, as every method that changes something."""
    olga.put(f"{bucket}/a", b"1")
    first = header(olga.get(f"{bucket}/a"), "ETag")
    olga.put(f"{bucket}/a", b"2")
    for method in ("COPY", "MOVE"):
        assert olga.copy(f"{bucket}/a", f"{bucket}/b", method, If_Match=first).status == 412
    assert olga.set_property(f"{bucket}/a", "color", "red", If_Match=first).status == 412
    assert olga.names(f"{bucket}/") == [f"/dav{bucket}/a"]
    second = header(olga.get(f"{bucket}/a"), "ETag")
    assert olga.set_property(f"{bucket}/a", "color", "red", If_Match=second).status == 207
    assert olga.move(f"{bucket}/a", f"{bucket}/b", If_Match=second).status == 201
