"""PostObject: an HTML form that a browser sends, with a policy that the owner of a key has signed; or one that a
program sends with an API key or a token, which then needs no policy.

The form becomes the call of a PUT, so metadata, tags, checksums and encryption work as they do there. `form_body` reads
the body, `post_policy` judges the policy, the gate checks the signature, and `put_object` saves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from client_proxy.doors.s3.auth.gate import ANONYMOUS, Gate, Principal
from client_proxy.doors.s3.call import S3Call, new_call
from client_proxy.doors.s3.objects.body_checks import BodyChecks, read_body_checks
from client_proxy.doors.s3.objects.form_body import PostedForm
from client_proxy.doors.s3.objects.object_write import read_object_write
from client_proxy.doors.s3.objects.post_policy import PostPolicy, read_policy
from client_proxy.doors.s3.objects.put_object import MAX_PUT_BYTES, PutHandlers
from client_proxy.doors.s3.objects.upload_body import UploadBody
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.operations import operations
from client_proxy.doors.s3.protocol.parameters import read_body, read_parameters
from client_proxy.doors.s3.protocol.replies import XML_TYPE, copies_header, write_plain, write_reply
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.security import encryption
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.form_body import BLOCK_BYTES
from lockstep_store.runtime.http.header_text import HEADER_NAME
from lockstep_store.runtime.http.request_head import RAW_HEADERS
from lockstep_store.wire.names import check_key

_HEADERS = frozenset(
    {
        "cache-control",
        "content-type",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-md5",
        "expires",
        "x-lockstep-lock",
    }
)
"""Fields that mean the same as a PUT's headers, beside those that begin with x-amz-."""
_PROOF = frozenset(
    {"x-amz-signature", "x-amz-credential", "x-amz-algorithm", "x-amz-date", "x-amz-security-token", "x-amz-trailer"}
)
_REPLACED = frozenset({b"content-type", b"content-length", b"transfer-encoding", b"content-md5"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PUT = "PutObject"


class PostForm:
    """Thread-safe. `wall` is seconds since 1970, by which a policy's expiration is judged."""

    def __init__(self, gate: Gate, objects: PutHandlers, wall: Callable[[], float]) -> None:
        self._gate = gate
        self._objects = objects
        self._wall = wall

    def answer(self, request: S3Request) -> RawReply:
        """The reply to one form. The file is read only after policy and signature were accepted."""
        caller = self._gate.identify_caller(request)
        if caller is None and request.get("Authorization") is not None:
            raise S3Error(
                "InvalidRequest",
                "a form is signed by its fields, or sent with X-Api-Key or a Bearer token: leave out this "
                "Authorization header",
            )
        form = PostedForm(request.get("Content-Type") or "", request.read)
        fields = form.fields
        if caller is not None and form.own_name:
            fields.setdefault("key", "${filename}")
        if not fields.get("key"):
            raise _missing("key")
        fields["key"] = fields["key"].replace("${filename}", form.own_name)
        if fields.setdefault("bucket", request.bucket) != request.bucket:
            raise S3Error("InvalidArgument", "the field bucket names another bucket", ArgumentName="bucket")
        check_key(fields["key"])
        policy = self._policy(fields)
        if caller is not None and policy is not None:
            raise S3Error("InvalidRequest", "send the form either with an API key or token, or with a policy")
        principal = caller or self._signer(request, fields, policy)
        if policy is not None:
            policy.check(fields, self._wall())
        call = self._call(request, principal, fields)
        write = read_object_write(call)
        checks = read_body_checks(call.request, principal)
        body = _FormFile(form, checks, write.version.checksum or checks.missing, policy)
        saved = self._objects.save(write, body, size=None)
        call.headers.append(copies_header(saved.copies))
        return self._reply(request, call, fields, saved.values)

    def _signer(self, request: S3Request, fields: dict[str, str], policy: PostPolicy | None) -> Principal:
        principal = self._gate.identify_form(fields) if policy else ANONYMOUS
        request.identified(principal.account, principal.access_key)
        return principal

    def _policy(self, fields: dict[str, str]) -> PostPolicy | None:
        if "awsaccesskeyid" in fields or "signature" in fields:
            raise S3Error(
                "InvalidRequest", "signature version 2 is not supported; please sign the form with AWS4-HMAC-SHA256"
            )
        if "policy" in fields and "x-amz-signature" not in fields:
            raise _missing("x-amz-signature")
        if "x-amz-signature" in fields and "policy" not in fields:
            raise _missing("policy")
        return read_policy(fields["policy"]) if "policy" in fields else None

    def _call(self, request: S3Request, principal: Principal, fields: dict[str, str]) -> S3Call:
        """The PUT that the form stands for."""
        environ = {name: value for name, value in request.environ.items() if not name.startswith("HTTP_X_AMZ_")}
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_MD5"):
            environ.pop(name, None)
        headers = [
            (name, value)
            for name, value in request.environ.get(RAW_HEADERS, ())
            if not name.startswith(b"x-amz-") and name not in _REPLACED
        ]
        for name, value in _as_headers(fields).items():
            if not HEADER_NAME.fullmatch(name):
                raise S3Error("InvalidArgument", f"{name[:64]!r} is not a header name", ArgumentName=name)
            if _CONTROL.search(value):
                raise S3Error("InvalidArgument", f"the field {name[:64]} has control characters", ArgumentName=name)
            environ[_environ_name(name)] = value
            headers.append((name.encode(), value.encode()))
        put = S3Request(environ | {RAW_HEADERS: headers}, "")
        put.bucket, put.key = request.bucket, fields["key"]
        operation = operations()[_PUT]
        values = read_parameters(operation, put.bucket, put.key, {}, put.get, put.metadata)
        encryption.check_encryption(operation, values, put.get)
        return new_call(operation, put, principal, values, is_form=True)

    def _reply(self, request: S3Request, call: S3Call, fields: dict[str, str], values: dict[str, Any]) -> RawReply:
        headers, _ = write_reply(call.operation, values)
        headers += call.headers
        said = {"bucket": call.bucket, "key": call.key, "etag": values["ETag"]}
        redirect = fields.get("success_action_redirect") or fields.get("redirect") or ""
        if _is_address(redirect):
            arguments = urlencode(said, quote_via=quote, safe="")
            place = f"{redirect}{'&' if urlsplit(redirect).query else '?'}{arguments}"
            return RawReply(303, [*headers, ("Location", place), ("Content-Length", "0")], [])
        place = f"https://{request.get('Host') or ''}{quote(request.resource.rstrip('/'))}/{quote(call.key)}"
        headers.append(("Location", place))
        status = fields.get("success_action_status")
        if status == "201":
            told = {"Location": place, "Bucket": call.bucket, "Key": call.key, "ETag": values["ETag"]}
            body = write_plain("PostResponse", told)
            return RawReply(201, [*headers, XML_TYPE, ("Content-Length", str(len(body)))], [body])
        if status == "200":
            return RawReply(200, [*headers, ("Content-Length", "0")], [])
        return RawReply(204, headers, [])


class _FormFile(UploadBody):
    """The file in a form. Only its end tells its length, so the policy's range is checked on the way."""

    def __init__(
        self, form: PostedForm, checks: BodyChecks, algorithm: Algorithm | None, policy: PostPolicy | None
    ) -> None:
        super().__init__(form.read, checks, algorithm)
        self._form = form
        self._smallest = policy.smallest if policy else 0
        largest = policy.largest if policy else None
        self._largest = MAX_PUT_BYTES if largest is None else min(largest, MAX_PUT_BYTES)

    def _plain(self) -> Iterator[bytes]:
        have = 0
        while data := self._form.read(BLOCK_BYTES):
            have += len(data)
            if have > self._largest:
                raise S3Error(
                    "EntityTooLarge",
                    "Your proposed upload exceeds the maximum allowed size",
                    ProposedSize=str(have),
                    MaxSizeAllowed=str(self._largest),
                )
            yield data
        if have < self._smallest:
            raise S3Error(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                ProposedSize=str(have),
                MinSizeAllowed=str(self._smallest),
            )


def _as_headers(fields: dict[str, str]) -> dict[str, str]:
    """The headers of the PUT that the fields stand for."""
    headers = {n: v for n, v in fields.items() if n in _HEADERS or (n.startswith("x-amz-") and n not in _PROOF)}
    if "acl" in fields:
        headers["x-amz-acl"] = fields["acl"]
    if fields.get("tagging"):
        tagging = read_body(operations()["PutObjectTagging"], fields["tagging"].encode())["Tagging"]
        headers["x-amz-tagging"] = urlencode([(tag["Key"], tag["Value"]) for tag in tagging.get("TagSet") or []])
    return headers


def _environ_name(header: str) -> str:
    name = header.upper().replace("-", "_")
    return name if name == "CONTENT_TYPE" else f"HTTP_{name}"


def _is_address(text: str) -> bool:
    """Whether `text` is safe as a Location; as in S3, one that cannot be parsed counts as not sent."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and text.isascii() and text.isprintable()


def _missing(field: str) -> S3Error:
    return S3Error(
        "InvalidArgument",
        f"Bucket POST must contain a field named '{field}'.  If it is specified, please check the order of the fields.",
        ArgumentName=field,
        ArgumentValue="",
    )
