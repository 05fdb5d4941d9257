"""LOCK and UNLOCK are the cluster's locks: seen, obeyed, broken and fenced at every door."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lockstep_store.wire.messages.locks import LOCKS, LockPath, LocksRequest
from tests.fakes.webdav import DavPerson, DavRig, header, message, token, tree

OWNERS_HEADER = "X-Lockstep-Lock-Holder"


@pytest.fixture
def shared(olga: DavPerson) -> str:
    """A bucket that eve may use, too, with the file `plan`."""
    name = olga.bucket()
    assert olga.api("PATCH", f"/buckets/{name}", b'{"shared": true}').status == 200
    assert olga.put(f"/{name}/plan", b"first").status == 201
    return f"/{name}"


def _lock_of_api(person: DavPerson, path: str) -> Any:
    answer = person.api("POST", "/locks", json.dumps({"paths": [path[1:]], "wait_seconds": 0}).encode())
    assert answer.status == 200, answer.body
    return answer.json["lock"]


def _listed(person: DavPerson) -> list[Any]:
    locks: list[Any] = person.api("GET", "/locks").json["locks"]
    return locks


def test_a_lock_of_a_desktop_is_seen_and_obeyed_everywhere(olga: DavPerson, eve: DavPerson, shared: str) -> None:
    held = token(olga.lock(f"{shared}/plan", owner="Olga's laptop", Timeout="Second-1800"))
    (lock,) = (one for one in _listed(eve) if one["paths"][0]["bucket"] == shared[1:])
    assert (lock["account"], lock["client"], lock["lease_seconds"]) == ("olga", "Olga's laptop (WebDAV)", 1800.0)
    for refused in (eve.put(f"{shared}/plan", b"x"), olga.put(f"{shared}/plan", b"x"), eve.lock(f"{shared}/plan")):
        assert refused.status == 423
        assert "olga" in message(refused)
        assert header(refused, OWNERS_HEADER) == "olga"
        assert tree(refused)[0].tag == "{DAV:}lock-token-submitted"
    assert eve.api("PUT", f"/files{shared}/plan", b"x").status == 423
    assert olga.put(f"{shared}/plan", b"second", If=f"({held})").status == 204
    assert olga.unlock(f"{shared}/plan", held).status == 204
    assert eve.put(f"{shared}/plan", b"third").status == 204


def test_a_lock_of_another_door_is_obeyed_here(olga: DavPerson, eve: DavPerson, shared: str) -> None:
    lock = _lock_of_api(olga, f"{shared}/plan")
    for method, headers in (
        ("PUT", {}),
        ("DELETE", {}),
        ("MOVE", {"Destination": f"/dav{shared}/moved"}),
        ("PROPPATCH", {}),
    ):
        refused = eve.set_property(f"{shared}/plan", "a", "b") if method == "PROPPATCH" else None
        refused = refused or eve.ask(method, f"{shared}/plan", b"", **headers)
        assert (refused.status, header(refused, OWNERS_HEADER)) == (423, "olga"), method
    assert olga.api("DELETE", f"/locks/{lock['id']}").status == 204
    assert eve.put(f"{shared}/plan", b"free again").status == 204


def test_a_lock_that_was_broken_or_ran_out_writes_nothing(
    rig: DavRig, olga: DavPerson, eve: DavPerson, shared: str
) -> None:
    held = token(eve.lock(f"{shared}/plan", Timeout="Second-10"))
    (lock,) = (one for one in _listed(olga) if one["account"] == "eve")
    assert olga.api("DELETE", f"/locks/{lock['id']}?break=true").status == 204
    assert eve.put(f"{shared}/plan", b"late", If=f"({held})").status == 412
    late = token(eve.lock(f"{shared}/plan", Timeout="Second-10"))
    rig.cluster.pass_time(11)
    assert eve.put(f"{shared}/plan", b"late", If=f"({late})").status == 412
    assert eve.unlock(f"{shared}/plan", late).status == 409
    mine = token(olga.lock(f"{shared}/plan"))
    assert eve.put(f"{shared}/plan", b"late", If=f"({late})").status == 412
    assert eve.put(f"{shared}/plan", b"late", If=f"({mine})").status == 423
    assert olga.get(f"{shared}/plan").body == b"first"
    olga.unlock(f"{shared}/plan", mine)


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("Second-1800", 1800),
        ("Second-1", 1),
        ("Infinite, Second-4100000000", 3600),
        ("Second-99999", 3600),
        ("Second-0", 1),
        ("", 60),
        ("nonsense", 60),
    ],
)
def test_the_lease_is_what_was_asked_for(olga: DavPerson, bucket: str, asked: str, granted: int) -> None:
    olga.put(f"{bucket}/a")
    answer = olga.lock(f"{bucket}/a", Timeout=asked) if asked else olga.lock(f"{bucket}/a")
    assert tree(answer).findtext(".//{DAV:}timeout") == f"Second-{granted}"
    olga.unlock(f"{bucket}/a", token(answer))


def test_a_lock_is_renewed(rig: DavRig, olga: DavPerson, bucket: str) -> None:
    olga.put(f"{bucket}/a")
    held = token(olga.lock(f"{bucket}/a", Timeout="Second-100"))
    for _ in range(3):
        rig.cluster.pass_time(80)
        renewed = olga.ask("LOCK", f"{bucket}/a", If=f"({held})", Timeout="Second-100")
        assert (renewed.status, header(renewed, "Lock-Token")) == (200, held)
    assert olga.ask("LOCK", f"{bucket}/a").status == 400
    olga.unlock(f"{bucket}/a", held)
    assert olga.ask("LOCK", f"{bucket}/a", If=f"({held})").status == 412


def test_a_token_is_good_for_its_own_resource(olga: DavPerson, bucket: str) -> None:
    for name in ("a", "b"):
        olga.put(f"{bucket}/{name}", b"first")
    of_a, of_b = token(olga.lock(f"{bucket}/a")), token(olga.lock(f"{bucket}/b"))
    assert olga.put(f"{bucket}/a", b"x", If=f"({of_b})").status == 412
    tagged = olga.put(f"{bucket}/a", b"x", If=f"</dav{bucket}/b> ({of_b})")
    assert tagged.status == 423
    assert olga.unlock(f"{bucket}/a", of_b).status == 409
    assert olga.unlock(f"{bucket}/a", "<opaquelocktoken:foobar>").status == 409
    assert olga.unlock(f"{bucket}/a", "nonsense").status == 400
    assert olga.get(f"{bucket}/a").body == b"first"
    assert olga.unlock(f"{bucket}/a", of_a).status == olga.unlock(f"{bucket}/b", of_b).status == 204


def test_a_locked_name_is_an_empty_file_here_and_nothing_elsewhere(rig: DavRig, olga: DavPerson, bucket: str) -> None:
    """Clients lock a name before they write its first version. A client that forgets it leaves nothing behind."""
    locked = olga.lock(f"{bucket}/new", Timeout="Second-30")
    assert locked.status == 201
    assert olga.get(f"{bucket}/new").body == b""
    assert olga.property(f"{bucket}/new", "getcontentlength") == "0"
    assert olga.api("GET", f"/files{bucket}/new").status == 404
    assert olga.api("GET", f"/files{bucket}").json["files"] == []
    assert olga.put(f"{bucket}/new", b"x").status == 423
    assert olga.ask("MKCOL", f"{bucket}/new").status in (405, 423)
    rig.cluster.pass_time(31)
    assert olga.get(f"{bucket}/new").status == 404
    held = token(olga.lock(f"{bucket}/new"))
    assert olga.put(f"{bucket}/new", b"content", If=f"({held})").status == 201
    assert olga.api("GET", f"/files{bucket}/new").body == b"content"
    assert olga.unlock(f"{bucket}/new", held).status == 204
    assert olga.lock(f"{bucket}/no/such").status == 409


def test_a_locked_name_moves_as_an_empty_file(olga: DavPerson, bucket: str) -> None:
    held = token(olga.lock(f"{bucket}/new"))
    assert olga.move(f"{bucket}/new", f"{bucket}/moved").status == 423
    assert olga.move(f"{bucket}/new", f"{bucket}/moved", If=f"({held})").status == 201
    assert olga.api("GET", f"/files{bucket}/moved").body == b""
    assert olga.get(f"{bucket}/new").status == 404
    again = token(olga.lock(f"{bucket}/new"))
    assert olga.ask("DELETE", f"{bucket}/new", If=f"({again})").status == 204
    assert not [one for one in _listed(olga) if one["paths"][0]["bucket"] == bucket[1:]]


def test_deleting_or_moving_a_file_ends_its_lock(olga: DavPerson, bucket: str) -> None:
    for name in ("a", "b"):
        olga.put(f"{bucket}/{name}")
    of_a, of_b = token(olga.lock(f"{bucket}/a")), token(olga.lock(f"{bucket}/b"))
    assert olga.ask("DELETE", f"{bucket}/a", If=f"({of_a})").status == 204
    assert olga.move(f"{bucket}/b", f"{bucket}/c", If=f"({of_b})").status == 201
    assert not [one for one in _listed(olga) if one["paths"][0]["bucket"] == bucket[1:]]
    assert olga.put(f"{bucket}/c", b"free").status == 204


def test_a_folder_s_lock_covers_what_is_in_it(olga: DavPerson, eve: DavPerson, shared: str) -> None:
    """The files that it had at every door; new names in it at this one."""
    olga.ask("MKCOL", f"{shared}/d")
    olga.put(f"{shared}/d/a")
    held = token(olga.lock(f"{shared}/d/"))
    assert eve.api("PUT", f"/files{shared}/d/a", b"x").status == 423
    for refused in (
        eve.put(f"{shared}/d/a"),
        eve.put(f"{shared}/d/new"),
        eve.ask("MKCOL", f"{shared}/d/sub"),
        eve.ask("DELETE", f"{shared}/d/a"),
        eve.copy(f"{shared}/plan", f"{shared}/d/copy"),
        eve.lock(f"{shared}/d/a"),
    ):
        assert (refused.status, header(refused, OWNERS_HEADER)) == (423, "olga")
    assert olga.put(f"{shared}/d/a", b"2", If=f"({held})").status == 204
    assert olga.put(f"{shared}/d/new", b"2", If=f"</dav{shared}/d/> ({held})").status == 201
    assert tree(olga.ask("PROPFIND", f"{shared}/d/new", Depth="0")).find(".//{DAV:}activelock") is not None
    assert olga.move(f"{shared}/d/", f"{shared}/e/", If=f"({held})").status == 423
    renewed = olga.ask("LOCK", f"{shared}/d/a", If=f"({held})")
    assert (renewed.status, header(renewed, "Lock-Token")) == (200, held)
    assert olga.ask("DELETE", f"{shared}/d/", If=f"({held})").status == 204
    assert olga.names(f"{shared}/") == [f"/dav{shared}/plan"]


def test_a_folder_that_one_lock_cannot_name_is_not_locked(olga: DavPerson, bucket: str) -> None:
    for number in range(101):
        olga.api("PUT", f"/files{bucket}/d/{number}", b"")
    answer = olga.lock(f"{bucket}/d/")
    assert answer.status == 403
    assert "at most 100" in message(answer)
    assert olga.unlock(f"{bucket}/d/", token(olga.lock(f"{bucket}/d/", Depth="0"))).status == 204
    assert olga.lock(f"{bucket}/").status == 403


def test_programs_of_one_account_share_a_lock(olga: DavPerson, eve: DavPerson, shared: str) -> None:
    first = token(olga.lock(f"{shared}/plan", scope="shared"))
    second = token(olga.lock(f"{shared}/plan", scope="shared"))
    assert first != second
    assert eve.lock(f"{shared}/plan", scope="shared").status == 423
    assert olga.lock(f"{shared}/plan").status == 423
    for held in (first, second):
        assert olga.put(f"{shared}/plan", held.encode(), If=f"({held})").status == 204
    assert olga.unlock(f"{shared}/plan", second).status == 204
    assert eve.put(f"{shared}/plan").status == 423
    assert olga.unlock(f"{shared}/plan", first).status == 204
    assert olga.put(f"{shared}/plan", b"late", If=f"({second})").status == 412


def test_an_owner_cannot_disturb_other_people_s_terminals(olga: DavPerson, bucket: str) -> None:
    olga.put(f"{bucket}/a")
    held = token(olga.lock(f"{bucket}/a", owner="line one\n\tline two \u202e and " + "x" * 500))
    (lock,) = (one for one in _listed(olga) if one["paths"][0]["bucket"] == bucket[1:])
    assert lock["client"].startswith("line one line two and xxx")
    assert len(lock["client"]) < 256
    olga.unlock(f"{bucket}/a", held)


def test_somebody_who_may_not_write_gets_no_lock(olga: DavPerson, eve: DavPerson, bucket: str) -> None:
    olga.put(f"{bucket}/a")
    assert eve.lock(f"{bucket}/a").status in (403, 404)
    assert eve.lock(f"{bucket}/new").status in (403, 404)


def test_somebody_with_rights_to_a_folder_alone_can_lock_and_write_there(
    olga: DavPerson, eve: DavPerson, bucket: str
) -> None:
    """Nothing of the rest of the bucket is shown."""
    for name in ("d", "e"):
        olga.ask("MKCOL", f"{bucket}/{name}")
        olga.put(f"{bucket}/{name}/file")
    grant = json.dumps({"path": "d/", "grants": [{"account": "eve", "level": "write"}]})
    assert olga.api("PATCH", f"/access{bucket}", grant.encode()).status == 200
    for path in (f"{bucket}/d/", f"{bucket}/d"):
        assert eve.names(path) == [f"/dav{bucket}/d/file"]
        assert eve.get(path).status == 200
    for path in (f"{bucket}/e/", f"{bucket}/e", f"{bucket}/none", f"{bucket}/e/file", f"{bucket}/"):
        assert eve.ask("PROPFIND", path, Depth="1").status == 403
    held = token(eve.lock(f"{bucket}/d/file"))
    assert eve.put(f"{bucket}/d/file", b"by eve", If=f"({held})").status == 204
    assert eve.unlock(f"{bucket}/d/file", held).status == 204
    assert eve.put(f"{bucket}/d/new", b"by eve").status == 201


def test_renewing_keeps_the_lease_unless_another_is_asked_for(olga: DavPerson, bucket: str) -> None:
    olga.put(f"{bucket}/a")
    held = token(olga.lock(f"{bucket}/a", Timeout="Second-1800"))
    renewed = olga.ask("LOCK", f"{bucket}/a", If=f"({held})")
    assert tree(renewed).findtext(".//{DAV:}timeout") == "Second-1800"
    renewed = olga.ask("LOCK", f"{bucket}/a", If=f"({held})", Timeout="Second-20")
    assert tree(renewed).findtext(".//{DAV:}timeout") == "Second-20"
    olga.unlock(f"{bucket}/a", held)


def test_a_listing_shows_the_locks_of_what_is_in_the_folder(olga: DavPerson, eve: DavPerson, shared: str) -> None:
    """Whoever took them, and through which door."""
    olga.ask("MKCOL", f"{shared}/d")
    _lock_of_api(eve, f"{shared}/plan")
    token(olga.lock(f"{shared}/d/", owner="Olga"))
    found = tree(olga.ask("PROPFIND", f"{shared}/", Depth="1")).findall("{DAV:}response")
    owners = {one.findtext("{DAV:}href"): one.findtext(".//{DAV:}activelock/{DAV:}owner") for one in found}
    assert owners == {f"/dav{shared}/": None, f"/dav{shared}/d/": "Olga", f"/dav{shared}/plan": "eve"}


def test_somebody_elses_token_opens_no_folder(olga: DavPerson, eve: DavPerson, shared: str) -> None:
    """Everybody who may use the bucket sees the tokens of its locks."""
    olga.ask("MKCOL", f"{shared}/d")
    olga.put(f"{shared}/d/file")
    held = token(olga.lock(f"{shared}/d/"))
    assert eve.put(f"{shared}/d/new", If=f"({held})").status == 423
    assert eve.ask("MKCOL", f"{shared}/d/sub", If=f"({held})").status == 423
    assert (
        eve.copy(f"{shared}/plan", f"{shared}/d/copy", If=f"<https://127.0.0.1:5000/dav{shared}/d/> ({held})").status
        == 423
    )
    assert eve.put(f"{shared}/d/file", If=f"({held})").status == 423
    assert eve.set_property(f"{shared}/d/file", "color", "red", If=f"({held})").status == 423
    assert eve.ask("LOCK", f"{shared}/d/", If=f"({held})").status == 403
    assert olga.names(f"{shared}/d/") == [f"/dav{shared}/d/file"]
    assert olga.put(f"{shared}/d/new", If=f"({held})").status == 201
    olga.unlock(f"{shared}/d/", held)


def test_somebody_with_rights_to_a_folder_alone_obeys_its_locks(olga: DavPerson, eve: DavPerson, bucket: str) -> None:
    """The bucket is not in their list, and its locks were not either: they wrote into locked folders."""
    olga.ask("MKCOL", f"{bucket}/d")
    for name in ("d/file", "secret"):
        olga.put(f"{bucket}/{name}")
    grant = json.dumps({"path": "d/", "grants": [{"account": "eve", "level": "write"}]})
    assert olga.api("PATCH", f"/access{bucket}", grant.encode()).status == 200
    for locked in ("d/", "d/file"):
        held = token(olga.lock(f"{bucket}/{locked}"))
        refused = eve.set_property(f"{bucket}/d/file", "color", "red")
        assert (refused.status, header(refused, OWNERS_HEADER)) == (423, "olga")
        assert eve.put(f"{bucket}/d/file").status == 423
        if locked == "d/":
            assert eve.put(f"{bucket}/d/new").status == 423
            assert eve.ask("MKCOL", f"{bucket}/d/sub").status == 423
        olga.unlock(f"{bucket}/{locked}", held)
    assert eve.put(f"{bucket}/d/new").status == 201


def test_locks_elsewhere_in_the_bucket_stay_unseen(olga: DavPerson, eve: DavPerson, bucket: str) -> None:
    """One lock on a path that eve may write, and on one that she may not know of."""
    grant = json.dumps({"path": "d/", "grants": [{"account": "eve", "level": "write"}]})
    assert olga.api("PATCH", f"/access{bucket}", grant.encode()).status == 200
    wanted = {"paths": [f"{bucket[1:]}/d/file", f"{bucket[1:]}/secret"], "wait_seconds": 0}
    lock = olga.api("POST", "/locks", json.dumps(wanted).encode()).json["lock"]
    credential = eve.api_headers["Authorization"].removeprefix("Bearer ")
    on = [LockPath(bucket[1:], "d/file"), LockPath(bucket[1:], "secret")]
    (seen,) = eve.rig.directory.call(LOCKS, LocksRequest(credential, on=on)).locks
    assert seen.paths == [LockPath(bucket[1:], "d/file")]
    assert eve.rig.directory.call(LOCKS, LocksRequest(credential, on=on[1:])).locks == []
    assert olga.api("DELETE", f"/locks/{lock['id']}").status in (200, 204)
