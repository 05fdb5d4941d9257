"""Form uploads: what a browser sends with somebody's signed policy, right and wrong in every field."""

from __future__ import annotations

import base64
import hashlib
import zlib
from contextlib import suppress
from email.header import decode_header, make_header
from io import BytesIO
from random import Random
from typing import Any

import pytest

from client_proxy.doors.s3.objects.form_body import PostedForm
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.runtime.http.form_body import BLOCK_BYTES
from tests.s3.post_forms import ANY_KEY, BOUNDARY, FILE, FORM_TYPE, Post, Signer, form
from tests.s3.rig import ENDPOINT, S3Rig


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


def test_a_long_file_is_streamed(post: Post, signer: Signer, s3: Any, bucket: str) -> None:
    """Several megabytes with line breaks and near-boundaries in them come out as they went in."""
    data = (b"x" * 997 + b"\r\n--" + BOUNDARY.encode()[:-1] + b"\n") * 3000
    assert post(form([("key", "long"), *signer.fields([ANY_KEY]), ("file", data)]))[0] == 204
    assert s3.get_object(Bucket=bucket, Key="long")["Body"].read() == data


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
            read = PostedForm(FORM_TYPE, source.read)
            while read.read(1000):
                pass


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_a_form_is_the_same_however_it_arrives(step: int) -> None:
    """Fields and file do not depend on where the body is cut into blocks."""
    body = form([("key", "k\u00e9y"), ("empty", ""), ("file", FILE)])
    left = [body[i : i + step] for i in range(0, len(body), step)]
    read = PostedForm(FORM_TYPE, lambda _: left.pop(0) if left else b"")
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
        PostedForm("multipart/form-data; boundary=b", read)
    assert sent <= 5 * BLOCK_BYTES
