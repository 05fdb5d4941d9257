"""A policy's conditions hold at every door (S3, the API, WebDAV, Git LFS): address, transport, agent and referer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fakes.wsgi import ask
from tests.s3.people import document, statement
from tests.s3.post_forms import FORM_TYPE, form
from tests.security.people import Person

CONTENT = b"what the policy is about"
OID = hashlib.sha256(CONTENT).hexdigest()
AGENT = "evil-client/1.0"
FORM = form([("file", b"x")], filename="new")
ALLOWED = [
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:ListBucket",
    "s3:ListBucketVersions",
]

CONDITIONS: dict[str, tuple[dict[str, Any], bool]] = {
    "this address": ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
    "other addresses": ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, False),
    "TLS": ({"Bool": {"aws:SecureTransport": "true"}}, True),
    "no TLS": ({"Bool": {"aws:SecureTransport": "false"}}, False),
    "this agent": ({"StringLike": {"aws:UserAgent": "evil*"}}, True),
    "another agent": ({"StringLike": {"aws:UserAgent": "good*"}}, False),
    "this referer": ({"StringLike": {"aws:Referer": "https://elsewhere/*"}}, True),
}
"""What a Deny is conditional on, and whether it then holds for the requests below."""


def _s3(call: Callable[..., Any], **values: Any) -> int:
    """The status of an S3 request."""
    try:
        return int(call(**values)["ResponseMetadata"]["HTTPStatusCode"])
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _api(person: Person, method: str, target: str, body: bytes = b"", **headers: str) -> int:
    named = {"User_Agent": AGENT, "Referer": "https://elsewhere/page", **headers}
    return person.ask(method, target, body, **named).status


def _s3_by_key(person: Person, method: str, target: str, body: bytes = b"", **headers: str) -> int:
    named = {"User_Agent": AGENT, "Referer": "https://elsewhere/page", **headers}
    return person.ask_s3(method, target, body, **named).status


def _dav(person: Person, method: str, target: str, body: bytes = b"", **headers: str) -> int:
    named = {"User-Agent": AGENT, "Referer": "https://elsewhere/page", **person.headers, **headers}
    return ask(person.webdav, method, f"/dav{target}", body, headers=named).status


def _lfs(person: Person, method: str, target: str, body: bytes = b"") -> int:
    named = {"User-Agent": AGENT, "Referer": "https://elsewhere/page", **person.headers}
    return ask(person.lfs, method, f"/lfs{target}", body, headers=named).status


DOORS: dict[str, Callable[[Person, str], int]] = {
    "S3 GetObject": lambda eve, b: _s3(eve.s3.get_object, Bucket=b, Key="a"),
    "S3 ListObjectsV2": lambda eve, b: _s3(eve.s3.list_objects_v2, Bucket=b),
    "S3 PutObject": lambda eve, b: _s3(eve.s3.put_object, Bucket=b, Key="new", Body=b"x"),
    "S3 read by key": lambda eve, b: _s3_by_key(eve, "GET", f"/{b}/a"),
    "S3 head by key": lambda eve, b: _s3_by_key(eve, "HEAD", f"/{b}/a"),
    "S3 list by key": lambda eve, b: _s3_by_key(eve, "GET", f"/{b}?list-type=2"),
    "S3 write by key": lambda eve, b: _s3_by_key(eve, "PUT", f"/{b}/new", b"x"),
    "S3 form by key": lambda eve, b: _s3_by_key(eve, "POST", f"/{b}/", FORM, Content_Type=FORM_TYPE),
    "S3 copy by key": lambda eve, b: _s3_by_key(eve, "PUT", f"/{b}/copy", x_amz_copy_source=f"/{b}/a"),
    "S3 delete by key": lambda eve, b: _s3_by_key(eve, "DELETE", f"/{b}/none"),
    "API read": lambda eve, b: _api(eve, "GET", f"/files/{b}/a"),
    "API head": lambda eve, b: _api(eve, "HEAD", f"/files/{b}/a"),
    "API list": lambda eve, b: _api(eve, "GET", f"/files/{b}"),
    "API manifest": lambda eve, b: _api(eve, "GET", f"/manifests/{b}/a"),
    "API versions": lambda eve, b: _api(eve, "GET", f"/versions/{b}/a"),
    "API changes": lambda eve, b: _api(eve, "GET", f"/changes?bucket={b}&cursor=0"),
    "API write": lambda eve, b: _api(eve, "PUT", f"/files/{b}/new", b"x"),
    "API delete": lambda eve, b: _api(eve, "DELETE", f"/files/{b}/none"),
    "WebDAV read": lambda eve, b: _dav(eve, "GET", f"/{b}/a"),
    "WebDAV list": lambda eve, b: _dav(eve, "PROPFIND", f"/{b}/", Depth="1"),
    "WebDAV write": lambda eve, b: _dav(eve, "PUT", f"/{b}/new", b"x"),
    "WebDAV copy": lambda eve, b: _dav(eve, "COPY", f"/{b}/a", Destination=f"/dav/{b}/copy"),
    "LFS read": lambda eve, b: _lfs(eve, "GET", f"/{b}/game/objects/{OID}"),
    "LFS write": lambda eve, b: _lfs(eve, "PUT", f"/{b}/game/objects/{OID}", CONTENT),
    "WebDAV delete": lambda eve, b: _dav(eve, "DELETE", f"/{b}/none"),
}


SIGNED = ("S3 GetObject", "S3 ListObjectsV2", "S3 PutObject")


@pytest.fixture(scope="module")
def bucket(olga: Person) -> str:
    name = olga.bucket()
    assert olga.put(name, "a", CONTENT).status == 201
    assert olga.put(name, f"game/.lfs/objects/{OID[:2]}/{OID[2:4]}/{OID}", CONTENT).status == 201
    return name


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_denial_holds_at_every_door(olga: Person, eve: Person, bucket: str, condition: str, door: str) -> None:
    """Where its condition is met it is a 403, and nowhere else."""
    if door in SIGNED and ("agent" in condition or "referer" in condition):
        pytest.skip("the S3 client has headers of its own")
    keys, denies = CONDITIONS[condition]
    places = (bucket, f"{bucket}/*")
    policy = document(
        statement("Allow", eve.name, ALLOWED, *places), statement("Deny", eve.name, "s3:*", *places, Condition=keys)
    )
    olga.s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    status = DOORS[door](eve, bucket)
    assert (status == 403) is denies, status
    assert denies or status < 300 or (door.endswith(" delete") and status == 404)


@pytest.mark.parametrize("door", [door for door in DOORS if "ist" not in door and "changes" not in door])
def test_a_permission_for_an_address_holds_at_every_door(olga: Person, eve: Person, bucket: str, door: str) -> None:
    """An Allow that needs this machine's address is one for the API, too."""
    here = {"IpAddress": {"aws:SourceIp": "127.0.0.1/32"}}
    allowed = statement("Allow", eve.name, ALLOWED, bucket, f"{bucket}/*", Condition=here)
    olga.s3.put_bucket_policy(Bucket=bucket, Policy=document(allowed))
    assert DOORS[door](eve, bucket) in (200, 201, 204, 207, 404)


def test_content_cannot_run_in_the_name_of_the_site(olga: Person, bucket: str) -> None:
    """A page that somebody saved is sandboxed, whichever door it comes from."""
    olga.put(bucket, "page.html", b"<script>alert(1)</script>", Content_Type="text/html")
    api = {name.lower(): value for name, value in olga.get(bucket, "page.html").headers.items()}
    s3 = olga.s3.get_object(Bucket=bucket, Key="page.html")["ResponseMetadata"]["HTTPHeaders"]
    webdav = ask(olga.webdav, "GET", f"/dav/{bucket}/page.html", headers=olga.headers).headers
    for headers in (api, s3, {name.lower(): value for name, value in webdav.items()}):
        assert headers["content-security-policy"] == "sandbox"
        assert headers["x-content-type-options"] == "nosniff"
