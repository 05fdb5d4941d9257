"""The storage keys rotate while people work: nothing becomes unreadable, and an old key goes when nothing needs it."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lockstep_store.runtime.storage.sealing import KeyRing, key_id_of
from lockstep_store.wire.messages.servers import HEARTBEAT, HeartbeatRequest
from tests.fakes.whole_cluster import DIRECTORY_URL, WholeCluster, server_url

KEYS = "/cluster/storage-keys"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[WholeCluster]:
    with WholeCluster(tmp_path / "data", tmp_path / "certs", file_servers=3) as cluster:
        cluster.pass_time(1.0)
        yield cluster


def keys(cluster: WholeCluster) -> list[dict[str, Any]]:
    answer = cluster.ask("GET", KEYS)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["keys"]
    return found


def post(cluster: WholeCluster, target: str, body: dict[str, Any] | None = None) -> Any:
    return cluster.ask("POST", target, json.dumps(body or {}).encode(), Content_Type="application/json")


def reseal(cluster: WholeCluster) -> None:
    """Take the background steps until the old keys are free, and let the heartbeats say so."""
    cluster.pass_time(1.0)
    for _ in range(20):
        cluster.directory.storage_keys.step()
        for server in cluster.servers.values():
            server.storage_keys.step()
    cluster.pass_time(1.0)
    cluster.directory.storage_keys.step()


def put(cluster: WholeCluster, path: str, content: bytes) -> None:
    assert cluster.ask("PUT", f"/files/files/{path}", content).status in (200, 201)


def named_on_disk(cluster: WholeCluster) -> set[bytes]:
    """The storage keys that anything sealed names, on all disks."""
    found = set()
    for id in cluster.servers:
        folder = cluster.server_folder(id)
        with closing(sqlite3.connect(folder / "index.db")) as db:
            found |= {key_id_of(row[0]) for row in db.execute("SELECT sealed FROM inline")}
        found |= {key_id_of(path.read_bytes()) for path in (folder / "chunks").glob("??/*")}
    with closing(sqlite3.connect(cluster.settings.metadata_file)) as db:
        found |= {key_id_of(row[0]) for row in db.execute("SELECT sealed FROM kms_key_version")}
        found |= {key_id_of(row[0]) for row in db.execute("SELECT sealed FROM target")}
        secrets = [row[0].removeprefix("sealed:") for row in db.execute("SELECT secret FROM s3_key")]
    return found | {key_id_of(base64.b64decode(one)) for one in secrets}


def test_a_rotation_from_end_to_end(cluster: WholeCluster) -> None:
    """What is new is under the new key at once; the rest follows; then the old key is deleted, and all can be read."""
    files = {f"f{number}": bytes([number]) * size for number, size in enumerate((10, 5_000, 300_000))}
    for path, content in files.items():
        put(cluster, path, content)
    assert post(cluster, "/kms/keys", {"name": "plans"}).status == 201
    webhook = {"url": "http://hooks.example/lockstep", "token": "secret"}
    answer = cluster.ask("PUT", "/cluster/targets/hook", json.dumps(webhook).encode(), Content_Type="application/json")
    assert answer.status == 200, answer.body
    cluster.pass_time(1.0)
    (first,) = keys(cluster)
    assert first["current"] is True
    assert {one["program"] for one in first["holders"]} == {"directory server", *_servers_with(cluster)}

    answer = post(cluster, f"{KEYS}/rotate")
    assert answer.status == 200, answer.body
    new, old = answer.json["keys"]
    assert (new["current"], old["current"], old["id"]) == (True, False, first["id"])
    cluster.pass_time(1.0)
    put(cluster, "new", b"written after the rotation")
    cluster.pass_time(1.0)
    new, old = keys(cluster)
    assert [one["program"] for one in new["holders"] if one["program"] != "directory server"]
    refused = post(cluster, f"{KEYS}/{old['id']}/retire")
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert "still needed by directory server" in refused.json["detail"]

    reseal(cluster)
    new, old = keys(cluster)
    assert (old.get("holders", []), old.get("waiting_for", [])) == ([], [])
    assert named_on_disk(cluster) == {bytes.fromhex(new["id"])}
    refused = post(cluster, f"{KEYS}/{old['id']}/retire")
    assert refused.status == 409
    assert "backups made before" in refused.json["detail"]
    assert refused.json["backups_before"] == old["backups_before"]
    answer = post(cluster, f"{KEYS}/{old['id']}/retire", {"forget_backups": True})
    assert answer.status == 200, answer.body
    assert [key["id"] for key in answer.json["keys"]] == [new["id"]]

    cluster.stop_directory()
    for id in list(cluster.servers):
        cluster.stop_server(id)
    assert {key.hex() for key in KeyRing.load(cluster.settings.certs / "storage-keys.json").key_ids} == {new["id"]}
    cluster._sealer.ring.reload()
    cluster.start_directory()
    for id in ("1", "2", "3"):
        cluster.start_server(id)
    cluster.pass_time(1.0)
    for path, content in files.items():
        assert cluster.ask("GET", f"/files/files/{path}").body == content
    assert [key["name"] for key in cluster.ask("GET", "/kms/keys").json["keys"]] == ["plans"]
    audit = cluster.ask("GET", "/audit").body
    assert b"storage key rotated" in audit
    assert b"storage key retired" in audit


def _servers_with(cluster: WholeCluster) -> set[str]:
    return {f"file server {id}" for id, server in cluster.servers.items() if server.store.totals.chunks}


def test_a_file_server_that_is_away_holds_up_the_retirement(cluster: WholeCluster) -> None:
    """What it last said counts; if it has said nothing since the directory's start, nobody knows what it needs."""
    put(cluster, "f", b"content")
    old = keys(cluster)[0]["id"]
    cluster.stop_server("3")
    post(cluster, f"{KEYS}/rotate")
    reseal(cluster)
    refused = post(cluster, f"{KEYS}/{old}/retire", {"forget_backups": True})
    assert refused.status == 409
    assert "file server 3" in refused.json["detail"]
    cluster.start_server("3")
    reseal(cluster)
    cluster.stop_directory()
    cluster.start_directory()
    for id in ("1", "2"):
        cluster.servers[id].link.step()
    cluster.directory.storage_keys.step()
    refused = post(cluster, f"{KEYS}/{old}/retire", {"forget_backups": True})
    assert "file server 3 has not said what it needs" in refused.json["detail"]
    cluster.pass_time(1.0)
    assert post(cluster, f"{KEYS}/{old}/retire", {"forget_backups": True}).status == 200


def test_a_new_key_reaches_a_file_server_with_a_ring_of_its_own(cluster: WholeCluster, tmp_path: Path) -> None:
    """It gets the ring with a heartbeat that names an older number, and only then; a proxy never gets it."""
    ring_file = tmp_path / "elsewhere.json"
    ring_file.write_text((cluster.settings.certs / "storage-keys.json").read_text())
    elsewhere = KeyRing.load(ring_file)
    post(cluster, f"{KEYS}/rotate")
    server = cluster.servers["1"]
    server.storage_keys._ring = elsewhere
    beat = server.link._state()
    reply = cluster.peers("file_server", "1").call(DIRECTORY_URL, HEARTBEAT, beat)
    server.storage_keys.learn(reply.storage_keys_json)
    assert elsewhere.current.hex() == keys(cluster)[0]["id"]
    assert KeyRing.load(ring_file).current == elsewhere.current
    reply = cluster.peers("file_server", "1").call(DIRECTORY_URL, HEARTBEAT, server.link._state())
    assert reply.storage_keys_json == ""
    refused = cluster.peers("client_proxy", "1")
    with pytest.raises(Exception, match=r"may not|not allowed|only"):
        refused.call(DIRECTORY_URL, HEARTBEAT, beat)


def test_no_rotation_while_a_file_server_is_too_old_for_it(cluster: WholeCluster) -> None:
    """A file server of an earlier version would go on sealing with the old key."""
    old = cluster.servers["2"].link._state()
    without = HeartbeatRequest(**{name: getattr(old, name) for name in old.__struct_fields__ if name != "storage_keys"})
    cluster.peers("file_server", "2").call(DIRECTORY_URL, HEARTBEAT, without)
    refused = post(cluster, f"{KEYS}/rotate")
    assert refused.status == 409
    assert "file server 2 runs a version" in refused.json["detail"]
    assert len(keys(cluster)) == 1


def test_a_secret_sealed_again_still_works(cluster: WholeCluster) -> None:
    """S3 keys, named keys and targets open after the old key is gone."""
    made = post(cluster, "/auth/s3-keys", {"name": "mine"})
    assert made.status == 201, made.body
    old = keys(cluster)[0]["id"]
    post(cluster, f"{KEYS}/rotate")
    reseal(cluster)
    assert post(cluster, f"{KEYS}/{old}/retire", {"forget_backups": True}).status == 200
    cluster.stop_directory()
    cluster.start_directory()
    key = cluster.directory.s3_keys._key(made.json["access_key_id"])
    assert key.secret == made.json["secret"]


def test_only_administrators_rotate(cluster: WholeCluster) -> None:
    """A member sees no key, and rotates and retires none; wrong ids are refused in words."""
    eve = cluster.log_in("eve") | {"Content-Type": "application/json"}
    current = keys(cluster)[0]["id"]
    assert cluster.ask_with(eve, "GET", KEYS).status == 403
    assert cluster.ask_with(eve, "POST", f"{KEYS}/rotate", b"{}").status == 403
    assert cluster.ask_with(eve, "POST", f"{KEYS}/{current}/retire", b"{}").status == 403
    assert "storage_keys" not in cluster.ask_with(eve, "GET", "/cluster").json
    assert len(keys(cluster)) == 1
    assert post(cluster, f"{KEYS}/00000000/retire").status == 404
    assert post(cluster, f"{KEYS}/nonsense/retire").status == 404
    refused = post(cluster, f"{KEYS}/{current}/retire")
    assert refused.status == 409
    assert "current" in refused.json["detail"]


def test_too_many_old_keys_are_refused(cluster: WholeCluster) -> None:
    """Sixteen keys at most: an old key that nobody retires protects nothing."""
    for _ in range(15):
        assert post(cluster, f"{KEYS}/rotate").status == 200
    refused = post(cluster, f"{KEYS}/rotate")
    assert refused.status == 409
    assert "retire old ones first" in refused.json["detail"]


def test_a_key_that_the_directory_lost_shows(cluster: WholeCluster) -> None:
    """certs/ restored from before a rotation: file servers keep the new key, and the directory says which it lacks."""
    ring_file = cluster.settings.certs / "storage-keys.json"
    before = ring_file.read_bytes()
    post(cluster, f"{KEYS}/rotate")
    cluster.pass_time(1.0)
    put(cluster, "f", b"under the new key")
    lost = keys(cluster)[0]["id"]
    cluster.stop_directory()
    ring_file.write_bytes(before)
    cluster.start_directory()
    cluster.pass_time(1.0)
    shown = {key["id"]: key for key in keys(cluster)}
    assert shown[lost]["unknown"] is True
    assert server_url("1") in cluster.programs
    assert cluster.ask("GET", "/files/files/f").body == b"under the new key"
