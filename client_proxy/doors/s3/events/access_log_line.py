"""One line of an access log, in the format of S3's server access logs: 26 fields, `-` where one does not apply.

Source: the S3 user guide, "Amazon S3 server access log format". The first field, the bucket's owner, is added when the
line is written.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import quote, unquote_plus

from client_proxy.doors.s3.protocol.request import S3Request

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECRETS = frozenset({"x-amz-signature", "x-amz-security-token"})
"""Arguments of presigned addresses that readers of the log must not be able to use."""
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != '"')
# What an operation works on, where that is neither what its address names nor its subresource in capitals.
_RESOURCES = {
    "AbortMultipartUpload": "UPLOAD",
    "CompleteMultipartUpload": "UPLOAD",
    "CreateMultipartUpload": "UPLOADS",
    "DeleteObjects": "MULTI_OBJECT_DELETE",
    "ListMultipartUploads": "UPLOADS",
    "ListObjectVersions": "BUCKETVERSIONS",
    "ListParts": "UPLOAD",
    "UploadPart": "PART",
    "UploadPartCopy": "PART",
}
_SUBRESOURCES = {"logging": "LOGGING_STATUS", "policy": "BUCKETPOLICY", "publicAccessBlock": "PUBLIC_ACCESS_BLOCK"}
_COPIES = frozenset({"CopyObject", "UploadPartCopy"})


@dataclass
class Visit:
    """A request and its reply, as the log describes them. Times in seconds."""

    request: S3Request
    request_id: str
    host_id: str
    operation: str
    """By the service description's name."""
    subresource: str
    status: int
    error_code: str
    answered: dict[str, str]
    """The reply's headers, by their names in small letters."""
    turn_around: float
    """Until the reply's first byte."""


def line(visit: Visit, came_at: float, sent: int, total: float) -> str:
    """Return the line without the owner and line end. `came_at` is seconds since 1970, `total` is seconds."""
    request, headers = visit.request, visit.request.headers
    claimed = "X-Amz-Signature" in request.arguments
    signed = bool(request.requester)
    fields = [
        request.bucket,
        _time(came_at),
        request.environ.get("REMOTE_ADDR") or "-",
        quote(request.requester) or "-",
        visit.request_id,
        operation(visit),
        quote(request.key, safe="/") or "-",
        _quoted(_first_line(request)),
        str(visit.status),
        visit.error_code or "-",
        str(sent) if sent else "-",
        _object_size(visit),
        str(int(1000 * total)),
        str(int(1000 * visit.turn_around)),
        _quoted(headers.get("referer")),
        _quoted(headers.get("user-agent")),
        quote(request.arguments.get("versionId", "")) or "-",
        visit.host_id,
        "SigV4" if signed else "-",
        "-",
        ("QueryString" if claimed else "AuthHeader") if signed else "-",
        quote(headers.get("host") or "", safe=":[]") or "-",
        "-",
        "-",
        "-",
    ]
    return " ".join(fields)


def operation(visit: Visit) -> str:
    """The operation as S3 logs name it: `REST.GET.OBJECT`."""
    request = visit.request
    resource = _RESOURCES.get(visit.operation)
    if resource is None and visit.subresource:
        plain = visit.subresource.replace("-", "_").upper()
        resource = _SUBRESOURCES.get(
            visit.subresource, f"OBJECT_{plain}" if plain == "TAGGING" and request.key else plain
        )
    method = "COPY" if visit.operation in _COPIES else request.method
    return f"REST.{method}.{resource or ('OBJECT' if request.key else 'BUCKET')}"


def _time(at: float) -> str:
    when = time.gmtime(at)
    return time.strftime(f"[%d/{_MONTHS[when.tm_mon - 1]}/%Y:%H:%M:%S +0000]", when)


def _first_line(request: S3Request) -> str:
    address = quote(request.raw_path, safe="/~")
    if request.query:
        address += "?" + "&".join(_shown(argument) for argument in request.query.split("&"))
    return f"{request.method} {address} {request.environ.get('SERVER_PROTOCOL') or 'HTTP/1.1'}"


def _shown(argument: str) -> str:
    name, _, _ = argument.partition("=")
    return f"{name}=-" if unquote_plus(name).lower() in _SECRETS else argument


def _quoted(text: str | None) -> str:
    """Put the text in quotation marks; percent-encode quotation marks and everything that would end the line."""
    return f'"{quote(text.encode("latin-1", "replace"), safe=_PLAIN)}"' if text else '"-"'


def _object_size(visit: Visit) -> str:
    request, headers = visit.request, visit.request.headers
    if not request.key or visit.status >= 300 or visit.subresource:
        return "-"
    if request.method in ("GET", "HEAD"):
        of_range = visit.answered.get("content-range", "").rpartition("/")[2]
        return of_range or visit.answered.get("content-length", "-")
    if request.method == "PUT" and visit.operation not in _COPIES:
        told = headers.get("x-amz-decoded-content-length") or headers.get("content-length") or ""
        return told if told.isdecimal() else "-"
    return "-"
