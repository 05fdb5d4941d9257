"""Named keys as administrators handle them over the API, and what nobody else may."""

from __future__ import annotations

import json
from typing import Any

import pytest

from directory_server.features.named_keys import NamedKeys
from lockstep_store.wire.errors import AlreadyExists, BadName, BadRequest, NotFound
from lockstep_store.wire.messages.kms import NewDataKeyRequest, data_key_use, key_name
from tests.s3.people import token_of
from tests.s3.rig import S3Rig


def ask(rig: S3Rig, method: str, path: str, message: Any = None, **headers: str) -> tuple[int, Any]:
    """A request to /kms/keys by the administrator, unless headers say otherwise."""
    body = b"" if message is None else json.dumps(message).encode()
    told = headers or {"X-Api-Key": rig.cluster.admin_key}
    told = {name.replace("_", "-"): value for name, value in told.items()} | {"Content-Type": "application/json"}
    told["Content-Length"] = str(len(body))
    status, _, content = rig.ask(method, f"https://127.0.0.1:5000/api/v1/kms/keys{path}", told, body)
    return status, json.loads(content)


def test_keys_are_made_listed_switched_and_rotated(rig: S3Rig) -> None:
    """Each answer is the key as it is then, without its material; a name is taken once, and an unknown key is 404."""
    status, made = ask(rig, "POST", "", {"name": "projects/one"})
    assert (status, made["name"], made["enabled"], made["versions"]) == (201, "projects/one", True, 1)
    assert made["arn"] == f"arn:aws:kms:us-east-1:000000000000:key/{made['id']}"
    assert ask(rig, "POST", "", {"name": "projects/one"})[0] == 409
    assert ask(rig, "POST", f"/{made['id']}/disable", {})[1]["enabled"] is False
    assert ask(rig, "POST", f"/{made['id']}/disable", {})[1]["enabled"] is False
    assert ask(rig, "POST", f"/{made['id']}/enable", {})[1]["enabled"] is True
    rotated = ask(rig, "POST", f"/{made['id']}/rotate", {})[1]
    assert (rotated["versions"], rotated["id"]) == (2, made["id"])
    assert rotated["rotated_at"] >= made["created_at"]
    status, listed = ask(rig, "GET", "")
    assert (status, [key for key in listed["keys"] if key["name"] == "projects/one"]) == (200, [rotated])
    for action in ("enable", "disable", "rotate"):
        assert ask(rig, "POST", f"/none/{action}", {})[0] == 404


def test_only_administrators_handle_keys(rig: S3Rig) -> None:
    """Everybody else is refused, and nothing is changed."""
    _, made = ask(rig, "POST", "", {"name": "guarded"})
    somebody = {"Authorization": f"Bearer {token_of(rig, 'mallory')}"}
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        *(("POST", f"/{made['id']}/{one}") for one in ("disable", "rotate")),
    ):
        assert ask(rig, method, path, {"name": "other"} if not path and method == "POST" else {}, **somebody)[0] == 403
        assert ask(rig, method, path, {"name": "other"}, X_Nothing="")[0] == 401
    assert [key for key in ask(rig, "GET", "")[1]["keys"] if key["name"] in ("guarded", "other")] == [made]


@pytest.mark.parametrize(
    "name", ["", "aws/s3", "alias/aws/mine", "ä", "a b", "-a", "x" * 129, "a" * 8 + "-1234" * 3 + "-" + "b" * 12]
)
def test_names_that_can_be_none(rig: S3Rig, name: str) -> None:
    """Reserved ones, odd letters, long ones, and what looks like an id."""
    with pytest.raises(BadName):
        rig.cluster.directory.named_keys.create(name)


def test_forms_of_a_name() -> None:
    """ARNs and aliases come down to the name or id in them."""
    for text, name in (
        ("plans", "plans"),
        ("alias/aws/s3", "aws/s3"),
        ("arn:aws:kms:eu-west-1:123:key/1234", "1234"),
        ("arn:aws:kms:eu-west-1:123:alias/a/b", "a/b"),
    ):
        assert key_name(text) == name
    assert data_key_use("1", "2") != data_key_use("12", "")


def test_the_default_key_is_made_once(rig: S3Rig) -> None:
    """Whoever comes first; others find it. Data keys are never the same, and a key's own are told by its facts."""
    keys: NamedKeys = rig.cluster.directory.named_keys
    first, second = (keys.new_data_key(NewDataKeyRequest()) for _ in range(2))
    assert first.facts["s3:kms-key"] == second.facts["s3:kms-key"]
    assert first.key != second.key
    assert keys.open(first.facts).key == first.key
    assert first.key not in repr(first)
    with pytest.raises(BadRequest) as refused:
        keys.new_data_key(NewDataKeyRequest("unknown"))
    assert refused.value.facts["s3_code"] == "KMS.NotFoundException"
    with pytest.raises(NotFound):
        keys.rotate("unknown")
    keys.create("twice")
    with pytest.raises(AlreadyExists):
        keys.create("alias/twice")
