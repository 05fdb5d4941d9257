"""A write with an argument of another operation is rejected, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from client_proxy.doors.s3.protocol.operations import operations
from tests.s3.calls import Ask, code_in, read, refused

NOT_ALLOWED = (405, "MethodNotAllowed")
INVALID = (400, "InvalidArgument")
OBJECT_WRITES = [
    ("PUT", "uploadId=x", NOT_ALLOWED),
    ("PUT", "uploadId", NOT_ALLOWED),
    ("PUT", "partNumber=1", INVALID),
    ("PUT", "versionId=null", INVALID),
    ("PUT", "uploads", NOT_ALLOWED),
    ("PUT", "policy", NOT_ALLOWED),
    ("PUT", "acl&tagging", NOT_ALLOWED),
    ("DELETE", "partNumber=1", INVALID),
    ("DELETE", "acl", NOT_ALLOWED),
    ("DELETE", "retention", NOT_ALLOWED),
    ("DELETE", "uploads", NOT_ALLOWED),
    ("DELETE", "uploadId=x&partNumber=1", INVALID),
    ("POST", "uploads&partNumber=1", INVALID),
]


@pytest.mark.parametrize(("method", "arguments", "refusal"), OBJECT_WRITES)
def test_an_object_survives_a_write_that_meant_something_else(
    s3: Any, ask: Ask, bucket: str, method: str, arguments: str, refusal: tuple[int, str]
) -> None:
    """A part that lost an argument does not become the object, and a part's deletion does not delete it."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"whole")
    status, _, body = ask(method, f"/{bucket}/k?{arguments}", {}, b"part")
    assert (status, code_in(body)) == refusal
    assert read(s3, bucket) == b"whole"


@pytest.mark.parametrize(("arguments", "refusal"), [("uploadId=x", NOT_ALLOWED), ("partNumber=1", INVALID)])
def test_a_copied_part_that_lost_an_argument_is_no_copy(
    s3: Any, ask: Ask, bucket: str, arguments: str, refusal: tuple[int, str]
) -> None:
    """The target stays as it was."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"whole")
    s3.put_object(Bucket=bucket, Key="source", Body=b"part")
    status, _, body = ask("PUT", f"/{bucket}/k?{arguments}", {"x-amz-copy-source": f"{bucket}/source"}, b"")
    assert (status, code_in(body)) == refusal
    assert read(s3, bucket) == b"whole"


@pytest.mark.parametrize("argument", sorted({name for one in operations().values() for name, _ in one.query}))
def test_no_subresource_deletes_or_makes_a_bucket(
    s3: Any, ask: Ask, make_bucket: Callable[..., str], argument: str
) -> None:
    """`DELETE /bucket?acl` leaves the bucket, and `PUT /new?uploads` makes none."""
    bucket = make_bucket()
    ask("DELETE", f"/{bucket}?{argument}")
    s3.head_bucket(Bucket=bucket)
    ask("PUT", f"/{bucket}-new?{argument}", {}, b"")
    assert refused(s3.head_bucket, Bucket=f"{bucket}-new")[0] == 404


@pytest.mark.parametrize("argument", ["versionId=x", "uploadId=x", "id=x", "prefix=a"])
def test_a_deletion_that_lost_its_key_leaves_the_bucket(s3: Any, ask: Ask, bucket: str, argument: str) -> None:
    """Its arguments show that no bucket was meant."""
    assert ask("DELETE", f"/{bucket}?{argument}")[0] in (400, 405)
    s3.head_bucket(Bucket=bucket)


def test_arguments_that_no_operation_has_are_ignored(s3: Any, ask: Ask, bucket: str) -> None:
    """As in S3: clients add their own, such as `x-id=PutObject`."""
    assert ask("PUT", f"/{bucket}/k?x-id=PutObject&mine=1", {}, b"x")[0] == 200
    assert read(s3, bucket) == b"x"
