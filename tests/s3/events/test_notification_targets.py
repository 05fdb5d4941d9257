"""Notification targets: who manages them, and their secrets."""

from __future__ import annotations

import json

import pytest

from directory_server.features.notifications.addresses import Destination
from directory_server.features.notifications.targets import Targets
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.errors import Conflict, Forbidden, NotFound, Unavailable
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.cluster import CLUSTER
from lockstep_store.wire.messages.targets import (
    ADD_TARGET,
    REMOVE_TARGET,
    TARGETS,
    TEST_TARGET,
    AddTargetRequest,
    TargetRequest,
    TryTargetRequest,
)
from tests.fakes.notification_target import KeepingTarget
from tests.s3.events.room import Room, numbers

SECRET = "a-secret-that-nobody-is-shown"


def test_only_administrators_see_and_change_targets(room: Room) -> None:
    """A target makes the cluster send requests, so nobody else may name one, nor see where the others are."""
    credential = room.rig.cluster.log_in("somebody-else")["Authorization"].removeprefix("Bearer ")
    target = room.target()
    call = room.rig.directory.call
    for asked in (
        lambda: call(ADD_TARGET, AddTargetRequest(credential, "mine", "https://inside.test/")),
        lambda: call(TARGETS, CredentialRequest(credential)),
        lambda: call(REMOVE_TARGET, TargetRequest(credential, target)),
        lambda: call(TEST_TARGET, TryTargetRequest(credential, target)),
    ):
        with pytest.raises(Forbidden):
            asked()
    assert call(CLUSTER, CredentialRequest(credential)).targets == []
    assert target in {one.name for one in call(CLUSTER, CredentialRequest(room.rig.cluster.admin_key)).targets}


def test_secrets_are_shown_to_nobody_and_sealed_where_they_are_kept(room: Room) -> None:
    """Neither an answer nor the metadata file has them, and the next directory can still use them."""
    name = "sealed-broker"
    made = room.add(name, f"amqps://user:{SECRET}@broker.test/?routing_key=q")
    assert SECRET not in repr(made)
    assert made.kind == "amqp"
    hook = room.target(secret=SECRET, token=SECRET)
    info = room.info(hook)
    assert (info.signed, info.has_token) == (True, True)
    folder = room.rig.cluster.settings.data
    assert all(SECRET.encode() not in file.read_bytes() for file in folder.rglob("*") if file.is_file())
    directory = room.rig.cluster.directory
    known: list[Destination] = []

    def keep(destination: Destination, _: object) -> KeepingTarget:
        known.append(destination)
        return KeepingTarget()

    sealer = Sealer(KeyRing.load(room.rig.cluster._certs / "storage-keys.json"))
    Targets(directory.store, directory.clock, lambda: sealer, keep)
    assert SECRET in {one.secret for one in known} & {one.token for one in known}
    assert any(SECRET in one.url for one in known)


def test_targets_are_operated_over_the_https_api(room: Room) -> None:
    """Named, listed, tried and forgotten; a bad name or address is a 400, and nobody else may."""
    ask, name = room.rig.cluster.ask, f"by-api-{next(numbers)}"
    body = json.dumps({"url": f"https://receiver.test/{name}", "secret": SECRET, "token": SECRET}).encode()
    made = ask("PUT", f"/cluster/targets/{name}", body)
    assert (made.status, made.json["url"], made.json["signed"]) == (200, f"https://receiver.test/{name}", True)
    assert SECRET.encode() not in made.body
    assert name in {one["name"] for one in ask("GET", "/cluster/targets").json["targets"]}
    assert ask("POST", f"/cluster/targets/{name}/test").status == 204
    room.targets[name].refuse = "no"
    assert ask("POST", f"/cluster/targets/{name}/test").status == 503
    somebody = room.rig.cluster.log_in("somebody-with-a-hook")
    assert room.rig.cluster.ask_with(somebody, "PUT", f"/cluster/targets/{name}", body).status == 403
    assert ask("DELETE", f"/cluster/targets/{name}").json == {"dropped": 0}
    assert ask("DELETE", f"/cluster/targets/{name}").status == 404
    assert ask("PUT", "/cluster/targets/no%20name", body).status == 400
    assert ask("PUT", f"/cluster/targets/{name}", b'{"url": "file:///etc/passwd"}').status == 400
    assert ask("PUT", f"/cluster/targets/{name}", b'{"url": "http://a/", "ca_pem": "none"}').status == 400


def test_a_target_in_use_is_not_removed_and_names_who_uses_it(room: Room) -> None:
    """Afterwards it is, with what waited; and is not found any more."""
    bucket, target = room.bucket(), room.target()
    room.tell(bucket, target)
    room.s3.put_object(Bucket=bucket, Key="a", Body=b"one")
    call, key = room.rig.directory.call, room.rig.cluster.admin_key
    with pytest.raises(Conflict, match=bucket):
        call(REMOVE_TARGET, TargetRequest(key, target))
    room.put(bucket, [])
    assert call(REMOVE_TARGET, TargetRequest(key, target)).dropped == 1
    with pytest.raises(NotFound):
        call(REMOVE_TARGET, TargetRequest(key, target))
    with pytest.raises(NotFound):
        call(TEST_TARGET, TryTargetRequest(key, target))


def test_a_target_can_be_tried(room: Room) -> None:
    """A test message goes out at once, and a refusal says why."""
    target = room.target()
    call, asked = room.rig.directory.call, TryTargetRequest(room.rig.cluster.admin_key, target)
    call(TEST_TARGET, asked)
    assert room.targets[target].taken[0][1]["Event"] == "s3:TestEvent"
    room.targets[target].refuse = "it answered with status 500"
    with pytest.raises(Unavailable, match="status 500"):
        call(TEST_TARGET, asked)


def test_another_address_for_a_target_keeps_what_waits(room: Room) -> None:
    """What the old address did not take goes to the new one."""
    bucket, target = room.bucket(), room.target()
    room.tell(bucket, target)
    room.targets[target].refuse = "gone"
    room.s3.put_object(Bucket=bucket, Key="a", Body=b"one")
    room.step(target)
    assert room.info(target).problem == "gone"
    room.add(target, f"https://elsewhere.test/new-{target}")
    room.step(target)
    assert [one["s3"]["object"]["key"] for one in room.targets[f"new-{target}"].records()] == ["a"]
    assert room.info(target).waiting == 0
