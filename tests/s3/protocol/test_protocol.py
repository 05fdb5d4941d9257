"""What a botocore client sends is understood as it was meant, and what we answer is read as we meant it.

Both sides of each comparison are independent: botocore writes the request that we read, and reads what we write.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from botocore.awsrequest import HeadersDict
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import RestXMLParser
from botocore.serialize import RestXMLSerializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_proxy.doors.s3.protocol.description import Type
from client_proxy.doors.s3.protocol.operations import operations
from client_proxy.doors.s3.protocol.parameters import read_body, read_parameters
from client_proxy.doors.s3.protocol.replies import write_error, write_reply
from client_proxy.doors.s3.protocol.routing import level_of, name_operation
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.xml_reader import read_xml
from tests.s3.shapes import input_of, output_of

MODEL = ServiceModel(Loader().load_service_model("s3", "service-2"))
OPERATIONS = operations()
# Never on this wire: an event stream, and what browsers and other services say.
UNREADABLE = {"SelectObjectContent"}
NAMES = sorted(set(OPERATIONS) - UNREADABLE)
# Bodies that are bytes, not values.
BESIDE = frozenset(one.payload.name for one in OPERATIONS.values() if one.payload and one.streams)
QUERY_FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
RELAXED = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))


def as_sent(value: Any, type_: Type) -> Any:
    """Our value as botocore's callers give it: times are datetimes."""
    if type_.kind == "timestamp":
        return datetime.fromtimestamp(value, UTC)
    if type_.kind == "list":
        assert type_.member is not None
        return [as_sent(item, type_.member) for item in value]
    if type_.kind == "structure":
        by_name = {member.name: member.type for member in type_.members}
        return {name: as_sent(item, by_name[name]) for name, item in value.items()}
    return value


class Received:
    """A serialized request as the door sees it."""

    def __init__(self, request: dict[str, Any]) -> None:
        parts = urlsplit(request["url_path"])
        self.bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        self.key = key
        self.arguments = dict(parse_qsl(parts.query, keep_blank_values=True))
        query = request["query_string"]
        self.arguments |= {name: str(value) for name, value in (query.items() if isinstance(query, dict) else query)}
        self.headers = {name.lower(): value for name, value in request["headers"].items()}
        self.method = request["method"]
        body = request["body"]
        self.body = body.encode() if isinstance(body, str) else body or b""

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())

    def with_prefix(self, prefix: str) -> dict[str, str]:
        return {name[len(prefix) :]: text for name, text in self.headers.items() if name.startswith(prefix)}


@pytest.mark.parametrize("name", NAMES)
def test_a_request_that_botocore_writes_is_read_as_it_was_meant(name: str) -> None:
    """S3Operation, address, arguments, headers, metadata and XML body all come out as the client gave them."""
    operation = OPERATIONS[name]
    types = {member.name: member.type for member in operation.input}

    @RELAXED
    @given(input_of(operation, BESIDE))
    def check(parameters: dict[str, Any]) -> None:
        sent = {key: as_sent(value, types[key]) for key, value in parameters.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            request = RestXMLSerializer().serialize_to_request(sent, MODEL.operation_model(name))
        got = Received(request)
        level = level_of(got.bucket, got.key)
        assert name_operation(got.method, level, got.arguments, got.header) == name
        read = read_parameters(operation, got.bucket, got.key, got.arguments, got.header, got.with_prefix)
        if not operation.streams:
            read |= read_body(operation, got.body)
        absent_maps = {m.name for m in operation.input if m.place == "headers" and m.name not in parameters}
        expected = {key: value for key, value in parameters.items() if value != [] or types[key].kind != "list"}
        assert {key: value for key, value in read.items() if key not in absent_maps} == expected

    check()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "GetBucketLocation"])
def test_an_answer_that_we_write_is_read_by_botocore_as_we_meant_it(name: str) -> None:
    """Headers, metadata and XML of every operation's answer arrive with their names, types and values."""
    operation = OPERATIONS[name]
    types = {member.name: member.type for member in operation.output}

    @RELAXED
    @given(output_of(operation))
    def check(output: dict[str, Any]) -> None:
        headers, body = write_reply(operation, output)
        answer = {"status_code": operation.status, "headers": _as_headers(headers), "body": body}
        shape = MODEL.operation_model(name).output_shape
        if shape is None:
            assert (headers, body) == ([], b"")
            return
        parsed = RestXMLParser().parse(answer, shape)
        parsed.pop("ResponseMetadata")
        expected = {key: as_sent(value, types[key]) for key, value in output.items()}
        assert _without_empty(parsed) == _without_empty(expected)

    check()


def _as_headers(headers: list[tuple[str, str]]) -> HeadersDict:
    return HeadersDict(headers)


def _without_empty(value: Any) -> Any:
    """Absent and empty structures look the same in XML."""
    if isinstance(value, dict):
        kept = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ({}, [], None, "")}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value


def test_a_buckets_location_is_the_root_itself() -> None:
    """The one answer whose root element is the value, which every client reads by hand."""
    _, body = write_reply(OPERATIONS["GetBucketLocation"], {"LocationConstraint": "eu-<1>"})
    root = read_xml(body)
    assert (root.name, root.text) == ("LocationConstraint", "eu-<1>")


def test_a_refusal_reaches_botocore_with_its_code_and_message() -> None:
    """Code, message and further elements of a refusal are what a client's exception shows."""
    refusal = S3Error("NoSuchKey", "there is no <such> key & never was", Key="ä b")
    body = write_error(refusal, "/b/ä b", "request-1", "proxy-1")
    answer = {"status_code": refusal.status, "headers": {}, "body": body}
    parsed = RestXMLParser().parse(answer, MODEL.operation_model("GetObject").output_shape)
    assert parsed["Error"] == {
        "Code": "NoSuchKey",
        "Message": "there is no <such> key & never was",
        "Key": "ä b",
        "Resource": "/b/ä b",
    }
    assert b"<RequestId>request-1</RequestId><HostId>proxy-1</HostId>" in body


@pytest.mark.parametrize(
    ("method", "level", "arguments", "headers", "name"),
    [
        ("GET", "service", {}, {}, "ListBuckets"),
        ("GET", "bucket", {}, {}, "ListObjects"),
        ("GET", "bucket", {"list-type": "2", "prefix": "a"}, {}, "ListObjectsV2"),
        ("GET", "bucket", {"unheard-of": ""}, {}, "ListObjects"),
        ("GET", "bucket", {"analytics": "", "id": "1"}, {}, "GetBucketAnalyticsConfiguration"),
        ("PUT", "key", {}, {}, "PutObject"),
        ("PUT", "key", {}, {"x-amz-copy-source": "b/k"}, "CopyObject"),
        ("PUT", "key", {}, {"x-amz-copy-source": ""}, "CopyObject"),
        ("PUT", "key", {"uploadId": "u", "partNumber": "1"}, {}, "UploadPart"),
        ("PUT", "key", {"uploadId": "u", "partNumber": "1"}, {"x-amz-copy-source": "b/k"}, "UploadPartCopy"),
        ("GET", "key", {"uploadId": "u"}, {}, "ListParts"),
        ("GET", "key", {"acl": "", "versionId": "1"}, {}, "GetObjectAcl"),
        ("POST", "key", {"uploads": ""}, {}, "CreateMultipartUpload"),
        ("POST", "key", {"uploadId": "u"}, {}, "CompleteMultipartUpload"),
        ("POST", "bucket", {}, {"content-type": "multipart/form-data; boundary=x"}, "PostObject"),
        ("OPTIONS", "key", {}, {}, "Preflight"),
        ("POST", "service", {}, {}, None),
        ("POST", "service", {}, QUERY_FORM, "UnsignedQuery"),
        ("POST", "service", {}, {**QUERY_FORM, "authorization": "AWS4-HMAC-SHA256 …"}, "Query"),
        ("PATCH", "key", {}, {}, None),
    ],
)
def test_an_operation_is_told_by_method_place_and_arguments(
    method: str, level: str, arguments: dict[str, str], headers: dict[str, str], name: str | None
) -> None:
    """The address with its arguments names exactly one operation, or none."""
    assert name_operation(method, level, arguments, headers.get) == name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete>",
        b"not xml",
        b"<Other/>",
        b"<Delete></Delete>",
        b"<Delete><Object></Object></Delete>",
        b"<Delete><Quiet>maybe</Quiet><Object><Key>a</Key></Object></Delete>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><Delete/>',
        b"<Delete>" + b"<a>" * 100 + b"</a>" * 100 + b"</Delete>",
        b"<Delete>" + b"<Object><Key>a</Key></Object>" * 60_000 + b"</Delete>",
        b"\xff\xfe<Delete/>",
        b'<?xml version="1.0" encoding="no-such-thing"?><Delete/>',
    ],
)
def test_xml_that_is_wrong_or_a_weapon_is_refused(body: bytes) -> None:
    """Entities, external documents, depth, number and size are bounded; each is a client's error with a reason."""
    with pytest.raises(S3Error) as refused:
        read_body(OPERATIONS["DeleteObjects"], body)
    assert 400 <= refused.value.status < 500
    assert refused.value.message


@pytest.mark.parametrize("algorithm", ["SHA512", "SHA256"])
def test_the_largest_upload_can_be_completed(algorithm: str) -> None:
    """With as many parts as there can be, each with its checksum, as boto3 names them."""
    length = {"SHA512": 88, "SHA256": 44}[algorithm]
    parts = [
        {"PartNumber": number, "ETag": f'"{"e" * 32}"', f"Checksum{algorithm}": "c" * length}
        for number in range(1, 10_001)
    ]
    sent = {"Bucket": "b", "Key": "k", "UploadId": "u", "MultipartUpload": {"Parts": parts}}
    model = MODEL.operation_model("CompleteMultipartUpload")
    got = Received(RestXMLSerializer().serialize_to_request(sent, model))
    assert read_body(OPERATIONS["CompleteMultipartUpload"], got.body)["MultipartUpload"] == {"Parts": parts}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_xml_reader_fail_otherwise(body: bytes) -> None:
    """Whatever is sent as XML is read or refused."""
    with suppress(S3Error):
        read_body(OPERATIONS["PutBucketAcl"], body)
