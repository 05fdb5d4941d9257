"""Requests with an API key or a token in a header instead of a signature, as `curl -T` sends them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.s3.calls import Answer, code_in, read
from tests.s3.people import document, statement, token_of
from tests.s3.post_forms import FILE, FORM_TYPE, Field, Signer, form
from tests.s3.rig import ENDPOINT, S3Rig

JSON = "application/json"


class Curl:
    """Sends requests with the headers of one person."""

    def __init__(self, rig: S3Rig, **headers: str) -> None:
        self._rig = rig
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent["Content-Length"] = str(len(body))
        status, answered, content = self._rig.ask(method, ENDPOINT + path, sent, body or b"")
        return status, {name.lower(): value for name, value in answered}, content

    def post_form(self, bucket: str, fields: list[Field], **more: Any) -> Answer:
        """The form's reply."""
        return self("POST", f"/{bucket}/", form([*fields, ("file", FILE)], **more), Content_Type=FORM_TYPE)

    def create(self, body: Any, content_type: str = JSON, **headers: str) -> Answer:
        """The reply to a bucket's creation by its name in JSON."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self("POST", "/", sent, Content_Type=content_type, **headers)


@pytest.fixture(scope="module")
def olgas_key(rig: S3Rig) -> str:
    answer = rig.cluster.ask_with(rig.cluster.log_in("olga"), "POST", "/auth/keys", b'{"name": "curl"}')
    key: str = answer.json["key"]
    return key


@pytest.fixture(scope="module")
def curl(rig: S3Rig, olgas_key: str, owner: Any) -> Curl:
    """Olga's, with her API key."""
    return Curl(rig, X_Api_Key=olgas_key)


def test_a_file_is_written_read_listed_and_deleted(curl: Curl, owned_bucket: str) -> None:
    """All that curl does with an address, a range and a list in XML included."""
    status, headers, _ = curl("PUT", f"/{owned_bucket}/notes/a b.txt", b"first line\n", Content_Type="text/plain")
    assert (status, headers["x-lockstep-copies"]) == (200, "2/2 fsynced")
    assert curl("GET", f"/{owned_bucket}/notes/a b.txt")[2] == b"first line\n"
    status, headers, body = curl("GET", f"/{owned_bucket}/notes/a b.txt", Range="bytes=6-9")
    assert (status, body, headers["content-range"]) == (206, b"line", "bytes 6-9/11")
    status, headers, body = curl("HEAD", f"/{owned_bucket}/notes/a b.txt")
    assert (status, body, headers["content-length"], headers["content-type"]) == (200, b"", "11", "text/plain")
    status, headers, body = curl("GET", f"/{owned_bucket}?list-type=2&prefix=notes/")
    assert (status, headers["content-type"]) == (200, "application/xml")
    assert b"<Key>notes/a b.txt</Key>" in body
    assert f"<Name>{owned_bucket}</Name>".encode() in curl("GET", "/")[2]
    assert curl("DELETE", f"/{owned_bucket}/notes/a b.txt")[0] == 204
    assert code_in(curl("GET", f"/{owned_bucket}/notes/a b.txt")[2]) == "NoSuchKey"


def test_a_token_does_the_same(rig: S3Rig, owner: Any, owned_bucket: str) -> None:
    """A log-in's, sent as Bearer."""
    curl = Curl(rig, Authorization=f"Bearer {token_of(rig, 'olga')}")
    assert curl("PUT", f"/{owned_bucket}/t", b"with a token")[0] == 200
    assert read(owner, owned_bucket, "t") == b"with a token"


def test_it_may_do_what_its_account_may(rig: S3Rig, curl: Curl, owner: Any, eve: Any, owned_bucket: str) -> None:
    """Another account is refused, and then served what a policy allows it."""
    eves = Curl(rig, Authorization=f"Bearer {token_of(rig, 'eve')}")
    assert code_in(eves("GET", f"/{owned_bucket}/k")[2]) == "AccessDenied"
    assert eves("PUT", f"/{owned_bucket}/k", b"hers")[0] == 403
    allowed = statement("Allow", "eve", "s3:GetObject", f"{owned_bucket}/*")
    owner.put_bucket_policy(Bucket=owned_bucket, Policy=document(allowed))
    assert eves("GET", f"/{owned_bucket}/k")[2] == b"content"
    assert eves("PUT", f"/{owned_bucket}/k", b"hers")[0] == 403


def test_a_policy_can_demand_signatures(curl: Curl, owner: Any, owned_bucket: str) -> None:
    """What has no signature has neither its version nor its form, so it does not fit a condition on them."""
    demand = {"StringNotEquals": {"s3:authType": "REST-HEADER"}}
    denied = statement("Deny", "*", "s3:GetObject", f"{owned_bucket}/*", Condition=demand)
    owner.put_bucket_policy(Bucket=owned_bucket, Policy=document(denied))
    assert read(owner, owned_bucket) == b"content"
    assert code_in(curl("GET", f"/{owned_bucket}/k")[2]) == "AccessDenied"


def test_a_revoked_key_stops_at_once(rig: S3Rig, owner: Any, owned_bucket: str) -> None:
    """Also at a proxy that knows it, which asks the directory with every request."""
    log_in = rig.cluster.log_in("olga")
    made = rig.cluster.ask_with(log_in, "POST", "/auth/keys", b'{"name": "short"}').json
    curl = Curl(rig, X_Api_Key=made["key"])
    assert curl("GET", f"/{owned_bucket}/k")[0] == 200
    assert rig.cluster.ask_with(log_in, "DELETE", f"/auth/keys/{made['id']}").status == 204
    for method, path in (("GET", "/k"), ("HEAD", "/k"), ("PUT", "/new"), ("DELETE", "/k"), ("GET", "")):
        status, _, body = curl(method, f"/{owned_bucket}{path}", b"" if method == "PUT" else None)
        assert (status, method == "HEAD" or code_in(body) == "InvalidAccessKeyId") == (403, True)


def test_a_declared_hash_is_compared(curl: Curl, owner: Any, owned_bucket: str) -> None:
    """It is optional here, and a promise when it is there."""
    status, _, body = curl("PUT", f"/{owned_bucket}/h", b"content", x_amz_content_sha256="0" * 64)
    assert (status, code_in(body)) == (400, "XAmzContentSHA256Mismatch")
    assert curl("PUT", f"/{owned_bucket}/h", b"content", Content_MD5="mgNkuembtIDdJeHwKEyFVQ==")[0] == 200


def test_a_body_without_its_length_is_refused(curl: Curl, owned_bucket: str) -> None:
    """A body that was cut short would look complete."""
    assert curl("PUT", f"/{owned_bucket}/c", Transfer_Encoding="chunked")[0] == 411


def test_sts_takes_signatures_only(curl: Curl, rig: S3Rig) -> None:
    """The refusal does not advise what it refuses."""
    body, form_type = b"Action=GetCallerIdentity&Version=2011-06-15", "application/x-www-form-urlencoded"
    assert curl("POST", "/", body, Content_Type=form_type)[0] == 403
    with_token = Curl(rig, Authorization=f"Bearer {token_of(rig, 'olga')}")
    status, _, told = with_token("POST", "/", body, Content_Type=form_type)
    assert (status, b"AWS4-HMAC-SHA256" in told, b"Bearer" in told) == (400, True, False)


# ---------------------------------------------------------------- forms


def test_a_form_with_a_key_needs_no_policy(curl: Curl, owner: Any, owned_bucket: str) -> None:
    """`curl -F key=… -F file=@…`, with the fields that other forms have."""
    fields: list[Field] = [("key", "in/${filename}"), ("x-amz-meta-from", "curl"), ("success_action_status", "201")]
    status, headers, body = curl.post_form(owned_bucket, fields)
    assert (status, headers["content-type"]) == (201, "application/xml")
    assert b"<Key>in/a.txt</Key>" in body
    got = owner.get_object(Bucket=owned_bucket, Key="in/a.txt")
    assert (got["Body"].read(), got["Metadata"]) == (FILE, {"from": "curl"})


def test_the_file_has_its_own_name_by_default(curl: Curl, owner: Any, owned_bucket: str) -> None:
    """Without the field key; without a name there is nothing to call it."""
    assert curl.post_form(owned_bucket, [], filename="C:\\\\pictures\\\\roof.png")[0] == 204
    assert read(owner, owned_bucket, "roof.png") == FILE
    status, _, body = curl.post_form(owned_bucket, [], filename="")
    assert (status, code_in(body)) == (400, "InvalidArgument")


def test_a_form_has_a_key_or_a_policy(rig: S3Rig, curl: Curl, owned_bucket: str) -> None:
    """Not both: a form that was signed for somebody else to fill in is not the sender's own."""
    signer = Signer(rig.key(token_of(rig, "olga")), owned_bucket)
    fields = [("key", "both"), *signer.fields([["starts-with", "$key", ""]])]
    status, _, body = curl.post_form(owned_bucket, fields)
    assert (status, code_in(body)) == (400, "InvalidRequest")
    assert curl("GET", f"/{owned_bucket}/both")[0] == 404


def test_a_form_of_another_page_has_no_rights(rig: S3Rig, owned_bucket: str) -> None:
    """What a browser sends by itself from any page, a cookie and a password included, is no credential."""
    for header in ({}, {"Cookie": f"__Host-lockstep-session={token_of(rig, 'olga')}"}):
        page = Curl(rig, Origin="https://evil.example", **header)
        assert page.post_form(owned_bucket, [("key", "forged")])[0] == 403
        assert page.create({"bucket_name": "forged"}, Origin="https://evil.example")[0] == 403
        assert page.create({"bucket_name": "forged"}, "text/plain")[0] == 405
    basic = Curl(rig, Authorization="Basic b2xnYTpjb3JyZWN0IGhvcnNl")
    assert basic.post_form(owned_bucket, [("key", "forged")])[0] == 400
    assert basic.create({"bucket_name": "forged"})[0] == 400


# ---------------------------------------------------------------- POST / with a bucket's name


def test_a_bucket_is_created_by_its_name_in_json(curl: Curl, owner: Any) -> None:
    """It is the caller's, with what the headers of CreateBucket ask for; again, it is still there."""
    status, headers, body = curl.create({"bucket_name": "posted"}, x_amz_acl="public-read")
    assert (status, headers["location"], body) == (200, "/posted", b"")
    assert "posted" in [each["Name"] for each in owner.list_buckets()["Buckets"]]
    grantees = [grant["Grantee"].get("URI", "") for grant in owner.get_bucket_acl(Bucket="posted")["Grants"]]
    assert any(uri.endswith("AllUsers") for uri in grantees)
    assert curl.create({"bucket_name": "posted"}, "application/json; charset=utf-8")[0] == 200


def test_another_accounts_bucket_is_taken(rig: S3Rig, curl: Curl, owned_bucket: str) -> None:
    eves = Curl(rig, Authorization=f"Bearer {token_of(rig, 'eve')}")
    status, _, body = eves.create({"bucket_name": owned_bucket})
    assert (status, code_in(body)) == (409, "BucketAlreadyExists")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "InvalidRequest"),
        (b"{", "InvalidRequest"),
        (b"[]", "InvalidRequest"),
        (b"\xff", "InvalidRequest"),
        ({}, "InvalidRequest"),
        ({"bucket_name": 7}, "InvalidRequest"),
        ({"bucket_name": "fine", "regoin": "eu"}, "InvalidRequest"),
        ({"bucket_name": "No Such Name"}, "InvalidBucketName"),
        ({"bucket_name": ""}, "InvalidBucketName"),
        ({"bucket_name": "../api"}, "InvalidBucketName"),
        ({"bucket_name": "x" * 20_000}, "MaxMessageLengthExceeded"),
    ],
)
def test_a_bad_name_creates_nothing(curl: Curl, owner: Any, body: Any, code: str) -> None:
    """The refusal says what is wrong, in S3's form."""
    before = owner.list_buckets()["Buckets"]
    status, headers, answered = curl.create(body)
    assert (status, code_in(answered), headers["content-type"]) == (400, code, "application/xml")
    assert owner.list_buckets()["Buckets"] == before


def test_a_header_that_is_no_text_creates_nothing(curl: Curl, owner: Any) -> None:
    """As for CreateBucket itself."""
    status, _, body = curl.create({"bucket_name": "odd-header"}, x_amz_acl="private\udcff")
    assert (status, code_in(body)) == (400, "InvalidArgument")
    assert b"not UTF-8" in body
    assert "odd-header" not in [bucket["Name"] for bucket in owner.list_buckets()["Buckets"]]
