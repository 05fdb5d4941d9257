"""Reads the S3 service description inside botocore into the values of `description.py`."""

from __future__ import annotations

from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StringShape, StructureShape

from client_proxy.doors.s3.protocol.description import Member, Place, S3Operation, Type

# Root elements that differ from their shape's name. Source: the API reference of each operation.
_ROOTS = {
    "ListBuckets": "ListAllMyBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListParts": "ListPartsResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CopyObject": "CopyObjectResult",
    "UploadPartCopy": "CopyPartResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketLocation": "LocationConstraint",
    "GetBucketTagging": "Tagging",
    "GetObjectTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketAcl": "AccessControlPolicy",
    "GetObjectAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "ListBucketAnalyticsConfigurations": "ListBucketAnalyticsConfigurationResult",
    "ListBucketInventoryConfigurations": "ListInventoryConfigurationsResult",
    "ListBucketMetricsConfigurations": "ListMetricsConfigurationsResult",
}
# Enumerations that handlers check: they have an error of their own, or letters of either case are valid.
_HANDLERS_CHECK = frozenset({"Event", "FilterRuleName"})
# Values that S3 takes and the description lacks.
_FURTHER_VALUES = {"BucketCannedACL": ("log-delivery-write",)}
# Old operations whose address a later one has taken over.
_SUPERSEDED = frozenset(
    {
        "GetBucketLifecycle",
        "PutBucketLifecycle",
        "GetBucketNotification",
        "PutBucketNotification",
        "ListDirectoryBuckets",
        "WriteGetObjectResponse",
    }
)


def read_operations() -> dict[str, S3Operation]:
    """Every operation by name, without superseded ones."""
    model = ServiceModel(Loader().load_service_model("s3", "service-2"))
    names = [name for name in model.operation_names if name not in _SUPERSEDED]
    return {name: _operation(model.operation_model(name)) for name in names}


def _operation(model: OperationModel) -> S3Operation:
    address, _, arguments = model.http["requestUri"].partition("?")
    query = tuple((name, value) for name, _, value in (part.partition("=") for part in arguments.split("&") if part))
    input_members = members_of(model.input_shape) if model.input_shape else ()
    output_members = members_of(model.output_shape) if model.output_shape else ()
    payload = next((member for member in input_members if member.place == "payload"), None)
    reply_payload = next((member for member in output_members if member.place == "payload"), None)
    required = {(member.place, member.wire_name) for member in input_members if member.required}
    return S3Operation(
        name=model.name,
        method=model.http["method"],
        level="key" if "{Key" in address else "bucket" if "{Bucket}" in address else "service",
        query=query,
        status=int(model.http.get("responseCode", 200)),
        input=input_members,
        output=output_members,
        root=_ROOTS.get(model.name) or (model.output_shape.name if model.output_shape else ""),
        payload=payload,
        reply_payload=reply_payload,
        streams=payload is not None and payload.type.kind == "blob",
        needs=frozenset(need for need in required if need[0] == "querystring" or need[1] == "x-amz-copy-source"),
    )


def members_of(shape: StructureShape) -> tuple[Member, ...]:
    """The members of a structure."""
    required, payload = set(shape.required_members), shape.serialization.get("payload")
    return tuple(_member(name, member, name in required, name == payload) for name, member in shape.members.items())


def _member(name: str, shape: Shape, required: bool = False, is_payload: bool = False) -> Member:
    traits = shape.serialization
    place: Place = "payload" if is_payload else traits.get("location", "xml")
    type_ = _type(shape, place)
    default = type_.element if type_.kind == "list" and type_.flattened and "name" not in traits else name
    wire_name = traits.get("name", default if default != "member" else name)
    return Member(name, wire_name, place, type_, required, bool(traits.get("xmlAttribute")))


def _type(shape: Shape, place: Place = "xml") -> Type:
    kind: Any = "integer" if shape.type_name in ("long", "integer") else shape.type_name
    if isinstance(shape, StructureShape):
        return Type(kind, members=members_of(shape), attributes=_namespace(shape))
    if isinstance(shape, ListShape):
        flattened = bool(shape.serialization.get("flattened"))
        element = shape.member.serialization.get("name", "member")
        return Type(kind, member=_type(shape.member, place), element=element, flattened=flattened)
    if isinstance(shape, MapShape):
        return Type(kind, member=_type(shape.value, place))
    if isinstance(shape, StringShape):
        return Type(kind, values=_values(shape))
    if kind == "timestamp":
        default = "rfc822" if place in ("header", "headers") else "iso8601"
        return Type(kind, time_format=shape.serialization.get("timestampFormat", default))
    return Type(kind)


def _namespace(shape: StructureShape) -> tuple[tuple[str, str], ...]:
    namespace = shape.serialization.get("xmlNamespace", {})
    if not isinstance(namespace, dict) or "prefix" not in namespace:
        return ()
    return ((f"xmlns:{namespace['prefix']}", namespace["uri"]),)


def _values(shape: StringShape) -> frozenset[str]:
    """Return the values that an enumeration allows; empty for any text."""
    if shape.name in _HANDLERS_CHECK or not shape.enum:
        return frozenset()
    return frozenset(shape.enum) | frozenset(_FURTHER_VALUES.get(shape.name, ()))
