"""An access key with limits at WebDAV and Git LFS: it does what its policies allow, as at S3, and takes no locks."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.fakes.webdav import LOCK_BODY, basic, hrefs
from tests.fakes.wsgi import Answer, ask
from tests.s3.query.callers import Caller, account, allow, stocked_bucket
from tests.s3.rig import S3Rig
from tests.security.test_limited_keys import READ_IN, WRITE_IN, user

CONTENT = b"an object of Git LFS"
OID = hashlib.sha256(CONTENT).hexdigest()
LIST_IN = allow("s3:ListBucket", "BUCKET", Condition={"StringLike": {"s3:prefix": "in/*"}})


@pytest.fixture(scope="module")
def owner(rig: S3Rig) -> Caller:
    return account(rig, "olga")


@pytest.fixture(scope="module")
def bucket(owner: Caller) -> str:
    """With the files `in/k` and `out/k`."""
    return stocked_bucket(owner, "limited")


def _dav(one: Caller, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    return ask(one.rig.webdav, method, f"/dav/{path}", body, headers={"Authorization": basic(*one.key), **headers})


def _lfs(one: Caller, method: str, path: str, body: bytes) -> Answer:
    return ask(
        one.rig.lfs,
        method,
        f"/lfs/{path}",
        body,
        headers={"Authorization": basic(*one.key), "Content-Type": "application/vnd.git-lfs+json"},
    )


def test_a_key_reads_and_writes_what_its_policies_allow(owner: Caller, bucket: str) -> None:
    limited = user(READ_IN, WRITE_IN, LIST_IN)(owner, bucket)
    assert _dav(limited, "GET", f"{bucket}/in/k").status == 200
    assert _dav(limited, "PUT", f"{bucket}/in/k", b"new").status == 204
    assert _dav(limited, "PUT", f"{bucket}/in/new", b"new").status == 201
    listed = hrefs(_dav(limited, "PROPFIND", f"{bucket}/in/", Depth="1"))
    assert listed == [f"/dav/{bucket}/in/", f"/dav/{bucket}/in/k", f"/dav/{bucket}/in/new"]
    for method, path in (
        ("GET", "out/k"),
        ("PUT", "out/k"),
        ("PROPFIND", "out/k"),
        ("PROPFIND", "out/"),
        ("PROPFIND", ""),
        ("DELETE", "in/k"),
        ("MKCOL", "out/new"),
    ):
        assert _dav(limited, method, f"{bucket}/{path}", Depth="infinity" if method == "DELETE" else "0").status == 403
    moved = _dav(limited, "MOVE", f"{bucket}/in/k", Destination=f"/dav/{bucket}/in/moved")
    assert moved.status == 403
    assert owner.s3.get_object(Bucket=bucket, Key="out/k")["Body"].read() != b""


def test_a_key_with_limits_takes_no_lock(owner: Caller, bucket: str) -> None:
    """Locks are the account's, and limits are for what the key itself does."""
    limited = user(READ_IN, WRITE_IN)(owner, bucket)
    body = LOCK_BODY.format(scope="exclusive", owner="a program").encode()
    assert _dav(limited, "LOCK", f"{bucket}/in/k", body).status == 403
    assert _lfs(limited, "POST", f"{bucket}/in/locks", b'{"path": "k"}').status == 403


def test_a_key_transfers_the_objects_that_its_policies_allow(owner: Caller, bucket: str) -> None:
    limited = user(READ_IN, WRITE_IN)(owner, bucket)
    assert _lfs(limited, "PUT", f"{bucket}/in/objects/{OID}", CONTENT).status == 200
    assert _lfs(limited, "GET", f"{bucket}/in/objects/{OID}", b"").body == CONTENT
    assert _lfs(limited, "PUT", f"{bucket}/out/objects/{OID}", CONTENT).status == 403
    asked = json.dumps({"operation": "download", "objects": [{"oid": OID, "size": len(CONTENT)}]}).encode()
    (found,) = _lfs(limited, "POST", f"{bucket}/out/objects/batch", asked).json["objects"]
    assert found["error"]["code"] == 403
