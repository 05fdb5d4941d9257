"""Form uploads: what a browser sends with somebody's signed policy, right and wrong in every field."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from email.header import decode_header, make_header
from io import BytesIO
from random import Random
from typing import Any

import pytest

from client_proxy.doors.s3.objects import form_body
from client_proxy.doors.s3.objects.form_body import FormBody
from client_proxy.doors.s3.objects.post_policy import read_policy
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.wire.messages.s3 import signing_key
from tests.s3.people import token_of
from tests.s3.rig import ENDPOINT, S3Rig

BOUNDARY = "----the-boundary"
FILE = b"the file\r\nand its second line\r\n"
Field = tuple[str, str | bytes]


def form(fields: list[Field], *, filename: str = "a.txt", boundary: str = BOUNDARY) -> bytes:
    """The body of a form; the field `file` is sent as a file."""
    parts = []
    for name, value in fields:
        data = value if isinstance(value, bytes) else value.encode()
        file = f'; filename="{filename}"\r\nContent-Type: text/x-part' if name == "file" else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


class Signer:
    """Fields of a form that one key signs now."""

    def __init__(self, key: tuple[str, str], bucket: str) -> None:
        self.access, self.secret = key
        self.bucket = bucket

    def fields(self, conditions: list[Any], *, expires_in: float = 300, **changes: str) -> list[Field]:
        """The proof's fields, with `changes` by name (`_` for `-`), and the policy that they sign."""
        now = datetime.datetime.now(datetime.UTC)
        day, date = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
        proof = {
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": f"{self.access}/{day}/eu-west-1/s3/aws4_request",
            "x-amz-date": date,
        }
        bucket = [{"bucket": self.bucket}] if self.bucket else []
        expiration = (now + datetime.timedelta(seconds=expires_in)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        said = {
            "expiration": expiration,
            "conditions": [*bucket, *({name: text} for name, text in proof.items()), *conditions],
        }
        text = base64.b64encode(json.dumps(said).encode()).decode()
        key = signing_key(self.secret, day, "eu-west-1")

        proof |= {"policy": text, "x-amz-signature": hmac.digest(key, text.encode(), "sha256").hex()}
        proof |= {name.replace("_", "-"): value for name, value in changes.items()}
        return [(name, value) for name, value in proof.items() if value]


Post = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture
def post(rig: S3Rig, bucket: str) -> Post:
    """Sends a form's body to the bucket."""

    def send(body: bytes, content_type: str = f"multipart/form-data; boundary={BOUNDARY}", **headers: str) -> Any:
        given = {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}
        status, answered, content = rig.ask("POST", f"{ENDPOINT}/{bucket}", given, body)
        return status, {name.lower(): value for name, value in answered}, content

    return send


@pytest.fixture(scope="module")
def key(rig: S3Rig) -> tuple[str, str]:
    return rig.key()


@pytest.fixture
def signer(key: tuple[str, str], bucket: str) -> Signer:
    return Signer(key, bucket)


ANY_KEY = ["starts-with", "$key", ""]


def test_a_form_that_boto3_signed_is_an_upload(rig: S3Rig, s3: Any, bucket: str, post: Post) -> None:
    """generate_presigned_post's fields and a file make an object with its content, type and metadata."""
    signed = rig.client(signature_version="s3v4").generate_presigned_post(
        bucket,
        "folder/${filename}",
        Fields={"Content-Type": "text/plain", "x-amz-meta-author": "ada", "acl": "private"},
        Conditions=[
            {"acl": "private"},
            ["eq", "$Content-Type", "text/plain"],
            ["starts-with", "$x-amz-meta-author", ""],
            ["content-length-range", 1, 100],
        ],
    )
    status, headers, body = post(form([*signed["fields"].items(), ("file", FILE)], filename="C:\\\\x\\\\b.txt"))
    assert (status, body) == (204, b""), body
    assert headers["location"] == f"{ENDPOINT}/{bucket}/folder/b.txt"
    got = s3.get_object(Bucket=bucket, Key="folder/b.txt")
    assert got["Body"].read() == FILE
    assert got["ETag"] == headers["etag"]
    assert (got["ContentType"], got["Metadata"]) == ("text/plain", {"author": "ada"})


def test_what_a_form_answers(post: Post, signer: Signer, bucket: str) -> None:
    """204 unless the form asks for 200, for 201 with a document, or for a redirection; other wishes are ignored."""

    def send(**fields: str) -> tuple[int, dict[str, str], bytes]:
        named = list(fields.items())
        conditions = [["starts-with", f"${name}", ""] for name in fields]
        return post(form([("key", "k&y"), *signer.fields([ANY_KEY, *conditions]), *named, ("file", FILE)]))

    assert send(success_action_status="200")[0] == 200
    assert send(success_action_status="404")[0] == 204
    status, headers, body = send(success_action_status="201")
    assert status == 201
    assert headers["content-type"] == "application/xml"
    for part in (f"<Bucket>{bucket}</Bucket>", "<Key>k&amp;y</Key>", f"<Location>{headers['location']}</Location>"):
        assert part.encode() in body
    assert b"<ETag>" + headers["etag"].replace('"', "&quot;").encode() in body
    for field in ("success_action_redirect", "redirect"):
        status, headers, _ = send(**{field: "https://app.example/done?a=1"})
        etag = headers["etag"].strip('"')
        assert status == 303
        assert headers["location"] == f"https://app.example/done?a=1&bucket={bucket}&key=k%26y&etag=%22{etag}%22"
    assert send(success_action_redirect="javascript:alert(1)")[0] == 204
    assert send(success_action_redirect="https://a.example/\r\nX-Evil: 1")[0] == 204


def test_tags_and_a_checksum_come_in_fields(s3: Any, bucket: str, post: Post, signer: Signer) -> None:
    """The field tagging is XML, x-amz-checksum-crc32 is compared and kept."""
    crc = base64.b64encode(zlib.crc32(FILE).to_bytes(4, "big")).decode()
    tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1+2</Value></Tag></TagSet></Tagging>"
    conditions = [ANY_KEY, {"tagging": tags}, ["starts-with", "$x-amz-checksum-crc32", ""]]

    def send(sum: str) -> tuple[int, dict[str, str], bytes]:
        named = [("key", "t"), ("tagging", tags), ("x-amz-checksum-crc32", sum)]
        return post(form([*named, *signer.fields(conditions), ("file", FILE)]))

    status, _, body = send("AAAAAA==")
    assert (status, b"<Code>BadDigest</Code>" in body) == (400, True)
    assert send(crc)[0] == 204
    assert s3.get_object_tagging(Bucket=bucket, Key="t")["TagSet"] == [{"Key": "a b", "Value": "1+2"}]
    assert s3.head_object(Bucket=bucket, Key="t", ChecksumMode="ENABLED")["ChecksumCRC32"] == crc


@pytest.mark.parametrize(
    ("conditions", "fields", "code", "status"),
    [
        ([ANY_KEY], {"acl": "private"}, "Extra input fields: acl", 403),
        ([["eq", "$key", "other"]], {}, "Policy Condition failed", 403),
        ([["starts-with", "$key", "folder/"]], {}, "Policy Condition failed", 403),
        ([ANY_KEY, {"acl": "private"}], {"acl": "public-read"}, "Policy Condition failed", 403),
        ([ANY_KEY, {"acl": "private"}], {}, "Policy Condition failed", 403),
        ([ANY_KEY, {"bucket": "another"}], {}, "Policy Condition failed", 403),
        ([ANY_KEY, ["content-length-range", 1, 5]], {}, "<Code>EntityTooLarge</Code>", 400),
        ([ANY_KEY, ["content-length-range", 50, 99]], {}, "<Code>EntityTooSmall</Code>", 400),
        ([ANY_KEY, ["content-length-range", -1, 5]], {}, "<Code>InvalidPolicyDocument</Code>", 400),
        ([ANY_KEY, ["content-length-range", 5]], {}, "<Code>InvalidPolicyDocument</Code>", 400),
        ([ANY_KEY, ["like", "$key", "x"]], {}, "<Code>InvalidPolicyDocument</Code>", 400),
        ([ANY_KEY, ["starts-with", "$x-amz-meta-a", ""]], {"x-amz-meta-a": "1\r\nX: 2"}, "control characters", 400),
        ([ANY_KEY, ["eq", "$x-amz-meta-s3:sse-c", "x"]], {"x-amz-meta-s3:sse-c": "x"}, "is not a header name", 400),
        ([ANY_KEY, ["starts-with", "$tagging", ""]], {"tagging": "<Tag"}, "<Code>MalformedXML</Code>", 400),
    ],
)
def test_a_form_that_its_policy_does_not_allow_saves_nothing(
    s3: Any,
    bucket: str,
    post: Post,
    signer: Signer,
    conditions: list[Any],
    fields: dict[str, str],
    code: str,
    status: int,
) -> None:
    """Every condition is kept, every field must be covered, and the file has the size that was allowed."""
    answered = post(form([("key", "k"), *fields.items(), *signer.fields(conditions), ("file", FILE)]))
    assert answered[0] == status, answered
    assert code.encode() in answered[2]
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"x_amz_signature": "0" * 64}, "SignatureDoesNotMatch", 403),
        ({"x_amz_signature": "\u00e9"}, "SignatureDoesNotMatch", 403),
        ({"x_amz_signature": ""}, "InvalidArgument", 400),
        ({"policy": ""}, "InvalidArgument", 400),
        ({"policy": "e30="}, "InvalidPolicyDocument", 400),
        ({"policy": "not base64"}, "InvalidPolicyDocument", 400),
        ({"x_amz_algorithm": "AWS4-X"}, "InvalidArgument", 400),
        ({"x_amz_credential": "nobody/20260101/eu/s3/aws4_request"}, "InvalidArgument", 400),
        ({"x_amz_credential": "x"}, "InvalidArgument", 400),
        ({"x_amz_date": "yesterday"}, "InvalidArgument", 400),
        ({"x_amz_security_token": "made up"}, "InvalidToken", 400),
        ({"AWSAccessKeyId": "x"}, "InvalidRequest", 400),
        ({"bucket": "elsewhere"}, "InvalidArgument", 400),
    ],
)
def test_a_form_that_proves_nothing_saves_nothing(
    s3: Any, bucket: str, post: Post, signer: Signer, changes: dict[str, str], code: str, status: int
) -> None:
    """A changed, missing or foreign part of the proof is refused by name."""
    answered = post(form([("key", "k"), *signer.fields([ANY_KEY], **changes), ("file", FILE)]))
    assert (answered[0], f"<Code>{code}</Code>".encode() in answered[2]) == (status, True), answered
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_policies_end_and_other_keys_sign_nothing(rig: S3Rig, post: Post, signer: Signer, bucket: str) -> None:
    """An expired policy, an unknown key, a wrong secret and somebody without rights are refused with 403."""
    token = token_of(rig, "eve")
    cases = [
        (signer.fields([ANY_KEY], expires_in=-1), b"Policy expired"),
        (Signer(("nobody", "secret"), bucket).fields([ANY_KEY]), b"InvalidAccessKeyId"),
        (Signer((signer.access, "guessed"), bucket).fields([ANY_KEY]), b"SignatureDoesNotMatch"),
        (Signer(rig.key(token), bucket).fields([ANY_KEY]), b"AccessDenied"),
        ([], b"AccessDenied"),
    ]
    for fields, code in cases:
        status, _, body = post(form([("key", "k"), *fields, ("file", FILE)]))
        assert (status, code in body) == (403, True), body


def test_broken_forms_are_refused(post: Post, signer: Signer) -> None:
    """Without key, without file, cut short, without a boundary, or with more fields than anybody needs: 400."""
    proof = signer.fields([ANY_KEY])
    whole = form([("key", "k"), *proof, ("file", FILE)])
    header = {"Authorization": "AWS4-HMAC-SHA256 x"}
    for body, code in [
        (form([*proof, ("file", FILE)]), b"InvalidArgument"),
        (form([("key", "k"), *proof]), b"InvalidArgument"),
        (form([]), b"InvalidArgument"),
        (whole[:-20], b"MalformedPOSTRequest"),
        (whole[:40], b"MalformedPOSTRequest"),
        (b"", b"MalformedPOSTRequest"),
        (form([("key", "k"), ("x-ignore-a", "x" * 30_000), *proof, ("file", FILE)]), b"MaxPostPreDataLength"),
        (form([("key", "k"), *[("x", "y")] * 300, ("file", FILE)]), b"MaxPostPreDataLength"),
    ]:
        status, _, answered = post(body)
        assert (status, code in answered) == (400, True), (body[:200], answered)
    assert post(whole, content_type="multipart/form-data")[0] == 400
    assert post(whole, **header)[0] == 400


def test_names_of_fields_have_no_case_and_some_need_no_condition(
    post: Post, signer: Signer, s3: Any, bucket: str
) -> None:
    """`KEY` is key, `x-ignore-` fields are ignored, and so is what comes after the file."""
    fields = [(name.upper(), value) for name, value in signer.fields([["StArTs-WiTh", "$KeY", "q"]])]
    body = form([("KEY", "q"), ("x-ignore-me", "1"), *fields, ("file", FILE), ("late", "1")])
    assert post(body)[0] == 204
    assert s3.get_object(Bucket=bucket, Key="q")["Body"].read() == FILE


def test_fields_are_text_of_any_language(post: Post, signer: Signer, s3: Any, bucket: str) -> None:
    """Metadata comes back encoded by RFC 2047, as in S3."""
    said = [("x-amz-meta-author", "Zo\u00eb \u20ac"), ("x-amz-tagging", "g=\u00eb&h=%C3%AB")]
    conditions = [ANY_KEY, *(["starts-with", f"${name}", ""] for name, _ in said)]
    assert post(form([("key", "k"), *said, *signer.fields(conditions), ("file", FILE)]))[0] == 204
    author = s3.head_object(Bucket=bucket, Key="k")["Metadata"]["author"]
    assert str(make_header(decode_header(author))) == "Zo\u00eb \u20ac"
    tags = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"g": "\u00eb", "h": "\u00eb"}


@pytest.mark.parametrize("name", ["s3:checksum-crc32", "s3:parts-count", "s3:kms-key", "a b", "\u00e9", ""])
def test_metadata_has_names_that_headers_can_have(post: Post, signer: Signer, s3: Any, bucket: str, name: str) -> None:
    """A form says nothing of an object under the names of the server's own facts, nor what no answer could tell."""
    field = f"x-amz-meta-{name}" if name else "x-amz-\u00e9"
    conditions = [ANY_KEY, ["starts-with", f"${field}", ""]]
    status, _, body = post(form([("key", "k"), (field, "AAAAAA=="), *signer.fields(conditions), ("file", FILE)]))
    assert (status, b"<Code>InvalidArgument</Code>" in body) == (400, True), body
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_policy_is_good_for_the_buckets_that_it_names(
    rig: S3Rig, post: Post, key: tuple[str, str], s3: Any, bucket: str
) -> None:
    """One that names none is good for none of its signer's."""
    named = Signer(key, bucket).fields([ANY_KEY])
    assert post(form([("key", "k"), *named, ("file", FILE)]))[0] == 204
    unnamed = Signer(key, "").fields([ANY_KEY])
    status, _, body = post(form([("key", "l"), *unnamed, ("file", FILE)]))
    assert (status, b"Extra input fields: bucket" in body) == (403, True), body
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_a_long_file_is_streamed(post: Post, signer: Signer, s3: Any, bucket: str) -> None:
    """Several megabytes with line breaks and near-boundaries in them come out as they went in."""
    data = (b"x" * 997 + b"\r\n--" + BOUNDARY.encode()[:-1] + b"\n") * 3000
    assert post(form([("key", "long"), *signer.fields([ANY_KEY]), ("file", data)]))[0] == 204
    assert s3.get_object(Bucket=bucket, Key="long")["Body"].read() == data


def test_everybody_may_send_a_form_where_everybody_may_write(post: Post, s3: Any, bucket: str) -> None:
    """Without a policy a form is nobody's: refused, until the bucket's ACL lets everybody write."""
    body = form([("key", "anyone"), ("Content-Type", "text/plain"), ("file", FILE)])
    assert post(body)[0] == 403
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    status, _, answered = post(body)
    assert status == 204, answered
    assert s3.get_object(Bucket=bucket, Key="anyone")["Body"].read() == FILE


def test_a_form_can_ask_for_encryption(post: Post, signer: Signer, s3: Any, bucket: str) -> None:
    """The file is then encrypted as a PUT's is: with a customer's key, or under a named one."""
    key = bytes(range(32))
    sent = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": base64.b64encode(key).decode(),
        "x-amz-server-side-encryption-customer-key-MD5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }
    conditions = [ANY_KEY, *(["starts-with", f"${name}", ""] for name in sent)]
    status, headers, _ = post(form([("key", "k"), *sent.items(), *signer.fields(conditions), ("file", FILE)]))
    assert (status, headers["x-amz-server-side-encryption-customer-algorithm"]) == (204, "AES256")
    got = s3.get_object(Bucket=bucket, Key="k", SSECustomerAlgorithm="AES256", SSECustomerKey=key)
    assert got["Body"].read() == FILE
    kms = [("key", "k2"), ("x-amz-server-side-encryption", "aws:kms")]
    conditions = [ANY_KEY, {"x-amz-server-side-encryption": "aws:kms"}]
    status, headers, _ = post(form([*kms, *signer.fields(conditions), ("file", FILE)]))
    assert (status, headers["x-amz-server-side-encryption"]) == (204, "aws:kms")
    got = s3.get_object(Bucket=bucket, Key="k2")
    assert (got["Body"].read(), got["ServerSideEncryption"]) == (FILE, "aws:kms")
    wrong = [("key", "k3"), ("x-amz-server-side-encryption", "aws:kms:dsse")]
    conditions = [ANY_KEY, {"x-amz-server-side-encryption": "aws:kms:dsse"}]
    assert post(form([*wrong, *signer.fields(conditions), ("file", FILE)]))[0] == 501


def test_any_bytes_make_a_form_or_a_refusal(seed: int) -> None:
    """Whole forms that were cut, doubled or changed anywhere never fail otherwise, and never hang."""
    random = Random(seed)
    whole = form([("key", "k"), ("policy", "e30="), ("file", FILE)])
    for _ in range(300):
        body = bytearray(whole)
        for _ in range(random.randrange(1, 5)):
            at = random.randrange(len(body))
            body[at : at + random.randrange(3)] = random.randbytes(random.randrange(4))
        source = BytesIO(bytes(body[: random.randrange(len(body) + 1)]))
        with suppress(S3Error):
            read = FormBody(f"multipart/form-data; boundary={BOUNDARY}", source.read)
            while read.read(1000):
                pass


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_a_form_is_the_same_however_it_arrives(step: int) -> None:
    """Fields and file do not depend on where the body is cut into blocks."""
    body = form([("key", "k\u00e9y"), ("empty", ""), ("file", FILE)])
    left = [body[i : i + step] for i in range(0, len(body), step)]
    read = FormBody(f"multipart/form-data; boundary={BOUNDARY}", lambda _: left.pop(0) if left else b"")
    assert read.fields == {"key": "k\u00e9y", "empty": ""}
    assert read.filename == "a.txt"
    assert b"".join(iter(lambda: read.read(10), b"")) == FILE


def test_headers_of_a_part_without_end_are_not_gathered() -> None:
    """A part whose headers never end is refused after a bounded number of bytes."""
    sent = 0

    def read(count: int) -> bytes:
        nonlocal sent
        sent += count
        return (b"--b\r\nContent-Disposition: " if sent == count else b"") + b"x" * (count - 30)

    with pytest.raises(S3Error, match="before the file"):
        FormBody("multipart/form-data; boundary=b", read)
    assert sent <= 5 * form_body.BLOCK_BYTES


@pytest.mark.parametrize(
    "policy",
    [
        [],
        {},
        {"expiration": "2030-01-01T00:00:00Z"},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": []},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [[]]},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [{}]},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [{"key": 1}]},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [["eq", "key", "k"]]},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [["content-length-range", 2, 1]]},
        {"expiration": "2030-01-01T00:00:00Z", "conditions": [["content-length-range", "a", {}]]},
        {"expiration": "soon", "conditions": [["eq", "$key", "k"]]},
        {"expiration": 5, "conditions": [["eq", "$key", "k"]]},
    ],
)
def test_what_is_no_policy_is_refused(policy: Any) -> None:
    """Whatever JSON comes, the refusal is InvalidPolicyDocument and never a failure of the program."""
    with pytest.raises(S3Error) as refused:
        read_policy(base64.b64encode(json.dumps(policy).encode()).decode())
    assert refused.value.code == "InvalidPolicyDocument"


def test_a_deep_policy_is_refused() -> None:
    """Nesting without end is no policy."""
    with pytest.raises(S3Error):
        read_policy(base64.b64encode(b"[" * 100_000).decode())
