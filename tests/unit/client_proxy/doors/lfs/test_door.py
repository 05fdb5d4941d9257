"""The door for Git LFS: objects are checked by their names, and locks are the cluster's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from client_proxy.doors.lfs.door import LfsDoor
from client_proxy.doors.lfs.objects import LfsFiles
from client_proxy.rate_limits.counts import RequestCounts
from client_proxy.rate_limits.limiter import RateLimits
from client_proxy.rate_limits.rules import parse_rules
from lockstep_store.wire.errors import Unavailable
from lockstep_store.wire.messages.locks import LONGEST_LEASE_SECONDS
from tests.fakes.webdav import PASSWORD, DavPerson, DavRig, basic, header
from tests.fakes.wsgi import Answer, ask, request_environ

CONTENT = b"the bytes of a level" * 1000
OID = hashlib.sha256(CONTENT).hexdigest()
DAY = 86400.0
JSON = "application/vnd.git-lfs+json; charset=utf-8"


class LfsRepo:
    """Git LFS of a repository, as a person's git-lfs uses it."""

    def __init__(self, person: DavPerson, door: LfsDoor, bucket: str, repo: str = "game") -> None:
        self._person = person
        self._door = door
        self.home = f"/lfs/{bucket}/{repo}"

    def send(self, method: str, what: str, body: Any = b"", **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {"Authorization": self._person.authorization, "Content-Type": JSON, **named}
        return ask(self._door, method, f"{self.home}/{what}", raw, headers=named)

    def put(self, oid: str = OID, content: bytes = CONTENT) -> Answer:
        return self.send("PUT", f"objects/{oid}", content)

    def batch(self, operation: str, *objects: tuple[str, int], **more: Any) -> Any:
        wanted = [{"oid": oid, "size": size} for oid, size in objects]
        answer = self.send("POST", "objects/batch", {"operation": operation, "objects": wanted, **more})
        assert answer.status == 200, answer.body
        return answer.json

    def lock(self, path: str) -> Answer:
        return self.send("POST", "locks", {"path": path, "ref": {"name": "refs/heads/main"}})

    def unlock(self, id: str, **more: bool) -> Answer:
        return self.send("POST", f"locks/{id}/unlock", more)

    def locks(self, arguments: str = "") -> list[Any]:
        found: list[Any] = self.send("GET", f"locks{arguments}").json["locks"]
        return found


@pytest.fixture(scope="module")
def door(rig: DavRig) -> LfsDoor:
    return LfsDoor(rig.files, rig.directory)


@pytest.fixture
def bucket(olga: DavPerson) -> str:
    """A new bucket of olga's that eve may use, too."""
    name = olga.bucket()
    assert olga.api("PATCH", f"/buckets/{name}", b'{"shared": true}').status == 200
    return name


@pytest.fixture
def ours(olga: DavPerson, door: LfsDoor, bucket: str) -> LfsRepo:
    return LfsRepo(olga, door, bucket)


@pytest.fixture
def theirs(eve: DavPerson, door: LfsDoor, bucket: str) -> LfsRepo:
    return LfsRepo(eve, door, bucket)


# ---------------------------------------------------------------- objects


def test_an_object_is_sent_once_and_read_back(ours: LfsRepo, theirs: LfsRepo) -> None:
    (wanted,) = ours.batch("upload", (OID, len(CONTENT)), transfers=["basic", "ssh"])["objects"]
    assert wanted["actions"]["upload"]["href"] == f"https://127.0.0.1:5000{ours.home}/objects/{OID}"
    assert wanted["actions"]["verify"]["href"] == f"https://127.0.0.1:5000{ours.home}/objects/verify"
    assert ours.send("POST", "objects/verify", {"oid": OID, "size": len(CONTENT)}).status == 404
    assert ours.put().status == 200
    assert ours.send("POST", "objects/verify", {"oid": OID, "size": len(CONTENT)}).status == 200
    assert "actions" not in ours.batch("upload", (OID, len(CONTENT)))["objects"][0]
    (found,) = theirs.batch("download", (OID, len(CONTENT)))["objects"]
    assert found["actions"]["download"]["href"].endswith(f"{ours.home}/objects/{OID}")
    assert theirs.send("GET", f"objects/{OID}").body == CONTENT
    rest = theirs.send("GET", f"objects/{OID}", Range="bytes=19990-")
    assert (rest.status, rest.body, header(rest, "Content-Range")) == (206, CONTENT[19990:], "bytes 19990-19999/20000")


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"", CONTENT[:-1] + b"X"])
def test_bytes_with_another_name_are_not_stored(olga: DavPerson, ours: LfsRepo, bucket: str, content: bytes) -> None:
    answer = ours.put(content=content)
    assert answer.status == 422
    assert "nothing was stored" in answer.json["message"]
    assert olga.api("GET", f"/files/{bucket}").json["files"] == []


def test_an_object_that_is_refused_while_it_is_sent_is_read_to_its_end(rig: DavRig, ours: LfsRepo) -> None:
    """Also from a client that waited for 100 Continue: else its rest would be read as the next request."""

    def write(_: Any, blocks: Iterator[bytes]) -> None:
        next(blocks)
        raise Unavailable("no file server is left")

    door = LfsDoor(cast(LfsFiles, SimpleNamespace(write=write)), rig.directory)
    headers = {"Authorization": basic("olga", PASSWORD), "Expect": "100-continue"}
    environ = request_environ("PUT", f"{ours.home}/objects/{OID}", b"x" * 1_000_000, headers=headers)
    begun: list[str] = []
    door(environ, lambda status, *_: begun.append(status))
    assert begun == ["503 -"]
    assert environ["wsgi.input"].read() == b""


def test_missing_objects_and_stale_pointers_are_named(ours: LfsRepo) -> None:
    ours.put()
    other = "0" * 64
    missing, stale = ours.batch("download", (other, 5), (OID, 5))["objects"]
    assert (missing["error"]["code"], missing["error"]["message"]) == (404, "the object was never uploaded")
    assert (stale["error"]["code"], "20000 bytes" in stale["error"]["message"]) == (422, True)
    assert "actions" in ours.batch("upload", (OID, 5))["objects"][0]
    assert ours.send("POST", "objects/verify", {"oid": OID, "size": 5}).status == 422


@pytest.mark.parametrize(
    ("method", "what", "body", "status"),
    [
        ("POST", "objects/batch", b"not json", 422),
        ("POST", "objects/batch", {"operation": "delete", "objects": []}, 422),
        ("POST", "objects/batch", {"operation": "upload", "objects": [{"oid": "../x", "size": 1}]}, 422),
        ("POST", "objects/batch", {"operation": "upload", "objects": [{"oid": OID, "size": -1}]}, 422),
        ("POST", "objects/batch", {"operation": "upload", "objects": [], "hash_algo": "md5"}, 422),
        ("POST", "objects/batch", {"operation": "upload", "objects": [], "transfers": ["tus"]}, 422),
        ("POST", "objects/batch", {"operation": "upload", "objects": [{"oid": OID, "size": 1}] * 1001}, 422),
        ("GET", "objects/batch", b"", 405),
        ("GET", f"objects/{'0' * 63}", b"", 404),
        ("GET", f"objects/{'0' * 64}", b"", 404),
        ("POST", "locks", {"path": ""}, 422),
        ("POST", "locks", {"path": "../other/level"}, 422),
        ("POST", "locks/lock-999999/unlock", {}, 404),
        ("POST", "elsewhere", {}, 404),
    ],
)
def test_bad_requests_say_what_is_wrong(ours: LfsRepo, method: str, what: str, body: Any, status: int) -> None:
    answer = ours.send(method, what, body)
    assert answer.status == status
    assert answer.json["message"]
    assert header(answer, "Content-Type") == "application/vnd.git-lfs+json"


def test_a_repository_s_name_goes_both_ways(olga: DavPerson, door: LfsDoor, bucket: str) -> None:
    """Also one that is deeper, ends with .git, or has letters that addresses encode."""
    for repo in ("studio/game.git", "Spi%C3%A9l%20one"):
        named = LfsRepo(olga, door, bucket, repo)
        (wanted,) = named.batch("upload", (OID, len(CONTENT)))["objects"]
        assert wanted["actions"]["upload"]["href"] == f"https://127.0.0.1:5000{named.home}/objects/{OID}"
        assert named.put().status == 200
    paths = [one["path"].partition("/.lfs/")[0] for one in olga.api("GET", f"/files/{bucket}").json["files"]]
    assert paths == ["Spiél one", "studio/game"]


# ---------------------------------------------------------------- locks


def test_a_lock_is_the_cluster_s(olga: DavPerson, eve: DavPerson, ours: LfsRepo, theirs: LfsRepo, bucket: str) -> None:
    """It refuses a second person and a write at another door, by name, and is shown everywhere."""
    olga.api("PUT", f"/files/{bucket}/game/level.umap", b"v1")
    made = ours.lock("level.umap")
    assert made.status == 201
    lock = made.json["lock"]
    assert (lock["path"], lock["owner"]) == ("level.umap", {"name": "olga"})
    refused = theirs.lock("level.umap")
    assert refused.status == 409
    assert refused.json["lock"] == lock
    assert "olga" in refused.json["message"]
    for answer in (
        eve.put(f"/{bucket}/game/level.umap", b"x"),
        eve.lock(f"/{bucket}/game/level.umap"),
        eve.api("PUT", f"/files/{bucket}/game/level.umap", b"x"),
    ):
        assert (answer.status, header(answer, "X-Lockstep-Lock-Holder")) == (423, "olga")
    (listed,) = (one for one in eve.api("GET", "/locks").json["locks"] if one["id"] == lock["id"])
    assert (listed["client"], listed["lease_seconds"]) == ("Git LFS", LONGEST_LEASE_SECONDS)
    assert ours.unlock(lock["id"]).json["lock"] == lock
    assert eve.put(f"/{bucket}/game/level.umap", b"v2").status == 204


def test_locks_of_other_doors_are_shown_and_obeyed(eve: DavPerson, ours: LfsRepo, bucket: str) -> None:
    taken = eve.api("POST", "/locks", json.dumps({"paths": [f"{bucket}/game/level.umap", f"{bucket}/other"]}).encode())
    assert taken.status == 200
    (shown,) = ours.locks()
    assert (shown["path"], shown["owner"]["name"]) == ("level.umap", "eve")
    assert ours.lock("level.umap").status == 409
    reply = ours.send("POST", "locks/verify", {}).json
    assert ([one["path"] for one in reply["ours"]], [one["path"] for one in reply["theirs"]]) == ([], ["level.umap"])


def test_locks_are_found_by_path_and_id_and_in_pages(ours: LfsRepo, theirs: LfsRepo, bucket: str) -> None:
    made = [ours.lock(f"{number}.umap").json["lock"] for number in range(5)]
    assert ours.locks() == made
    assert ours.locks("?path=3.umap") == [made[3]]
    assert ours.locks(f"?id={made[4]['id']}") == [made[4]]
    assert ours.locks("?path=none") == []
    pages, cursor = [], ""
    while True:
        page = ours.send("GET", f"locks?limit=2&cursor={cursor}").json
        pages += page["locks"]
        cursor = page.get("next_cursor", "")
        if not cursor:
            break
    assert pages == made
    assert ours.send("GET", "locks?limit=x").status == 422
    assert ours.send("GET", "locks?" + "&".join(["path=a"] * 30)).status == 422
    reply = theirs.send("POST", "locks/verify", {"ref": {"name": "refs/heads/main"}}).json
    assert (reply["ours"], reply["theirs"]) == ([], made)


def test_a_lock_lasts_while_its_person_pushes(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In a cluster of its own, because log-ins end in that time."""
    rig = DavRig(tmp_path, tmp_path_factory.getbasetemp() / "webdav-certs")
    try:
        olga, door = rig.person("olga"), LfsDoor(rig.files, rig.directory)
        repo = LfsRepo(olga, door, olga.bucket())
        assert repo.lock("level.umap").status == 201
        for _ in range(3):
            rig.cluster.pass_time(20 * DAY)
            assert len(repo.send("POST", "locks/verify", {}).json["ours"]) == 1
        rig.cluster.pass_time(31 * DAY)
        assert repo.locks() == []
    finally:
        rig.close()


def test_only_the_owner_of_the_bucket_breaks_a_lock(ours: LfsRepo, theirs: LfsRepo) -> None:
    by_olga, by_eve = ours.lock("a").json["lock"]["id"], theirs.lock("b").json["lock"]["id"]
    assert theirs.unlock(by_olga).status == 403
    assert theirs.unlock(by_olga, force=True).status == 403
    assert ours.unlock(by_eve).status == 403
    assert ours.unlock(by_eve, force=True).status == 200
    assert [one["path"] for one in ours.locks()] == ["a"]
    assert ours.unlock(by_olga, force=True).status == 200


def test_a_lock_of_another_repository_is_not_ended(olga: DavPerson, ours: LfsRepo, door: LfsDoor, bucket: str) -> None:
    id = ours.lock("level").json["lock"]["id"]
    for repo in ("gam", "game2", "game/sub"):
        other = LfsRepo(olga, door, bucket, repo)
        assert other.locks() == []
        assert other.unlock(id).status == 404
    assert len(ours.locks()) == 1


# ---------------------------------------------------------------- rights


def test_without_rights_nothing_is_shown(rig: DavRig, olga: DavPerson, eve: DavPerson, door: LfsDoor) -> None:
    bucket = olga.bucket()
    private, stranger = LfsRepo(olga, door, bucket), LfsRepo(eve, door, bucket)
    assert private.put().status == 200
    assert private.lock("level").status == 201
    assert stranger.send("GET", f"objects/{OID}").status == stranger.send("GET", f"objects/{'0' * 64}").status == 403
    assert [one["error"]["code"] for one in stranger.batch("download", (OID, 5), ("0" * 64, 5))["objects"]] == [403] * 2
    assert stranger.put(hashlib.sha256(b"x").hexdigest(), b"x").status == 403
    assert stranger.locks() == []
    assert stranger.lock("other").status == 403
    nobody = ask(door, "GET", f"/lfs/{bucket}/game/locks")
    assert (nobody.status, header(nobody, "LFS-Authenticate")) == (401, 'Basic realm="lockstep"')


def test_rate_limits_count_requests(rig: DavRig, olga: DavPerson, bucket: str) -> None:
    rules = parse_rules(["write=2/day/account", "list=1/day/address"])
    limited = LfsRepo(
        olga, LfsDoor(rig.files, rig.directory, limits=RateLimits(rules, RequestCounts("memory").take)), bucket
    )
    assert [limited.lock(f"{number}").status for number in range(3)] == [201, 201, 429]
    assert [limited.send("GET", "locks").status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_on_another_sites_page_does_nothing(ours: LfsRepo, kind: str) -> None:
    """A browser that remembers a log-in sends it along, and needs no preflight for these types."""
    assert ours.send("POST", "locks", {"path": "level.umap"}, Content_Type=kind).status == 415
    assert ours.locks() == []
    held = ours.lock("level.umap").json["lock"]
    for what, body in ((f"locks/{held['id']}/unlock", {"force": True}), ("locks/verify", {}), ("objects/verify", {})):
        answer = ours.send("POST", what, body, Content_Type=kind)
        assert (answer.status, "Content-Type" in answer.json["message"]) == (415, True)
    assert [one["id"] for one in ours.locks()] == [held["id"]]
    ours.unlock(held["id"])


def test_other_repositories_locks_do_not_cost_a_call_each(
    olga: DavPerson, door: LfsDoor, rig: DavRig, bucket: str, ours: LfsRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = LfsRepo(olga, door, bucket, "other")
    ids = [other.lock(f"level-{number}").json["lock"]["id"] for number in range(20)]
    last = ours.lock("level").json["lock"]["id"]
    asked = []
    call = rig.directory.call
    monkeypatch.setattr(rig.directory, "call", lambda *given: asked.append(given[0]) or call(*given))
    assert [one["id"] for one in ours.locks("?limit=1")] == [last]
    assert len(asked) <= 3
    for id in ids:
        other.unlock(id)
    ours.unlock(last)
