"""S3Door: the WSGI application that serves every S3 request.

It names the operation, passes the gate, reads the parameters, calls the handler and writes the reply. Every failure
becomes an S3 error here. An operation without a handler passes the gate too, and is then `NotImplemented`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable

from prometheus_client import Counter, Histogram

from client_proxy.doors.s3.auth.gate import Gate, Principal
from client_proxy.doors.s3.call import BrowserHandlers, Handlers, new_call
from client_proxy.doors.s3.events.access_log import AccessLog
from client_proxy.doors.s3.events.access_log_line import Visit
from client_proxy.doors.s3.objects.body_checks import read_body_checks
from client_proxy.doors.s3.objects.conditional import name_condition
from client_proxy.doors.s3.objects.upload_body import UploadBody
from client_proxy.doors.s3.protocol.description import S3Operation
from client_proxy.doors.s3.protocol.error_mapping import as_s3_error
from client_proxy.doors.s3.protocol.operations import operations
from client_proxy.doors.s3.protocol.parameters import Values, read_body, read_parameters
from client_proxy.doors.s3.protocol.replies import XML_TYPE, Headers, write_error, write_reply
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.routing import PREFLIGHT, check_arguments, level_of, name_operation
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import check_version_id
from client_proxy.doors.s3.protocol.xml_reader import MAX_BYTES
from client_proxy.doors.s3.security import encryption
from client_proxy.metrics import RECEIVED_BYTES
from client_proxy.rate_limits.limiter import ClassLimits, standing_headers
from lockstep_store.runtime.http.admission import remote_address
from lockstep_store.runtime.http.api import Environ, RawReply, StartResponse
from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.runtime.http.untrusted_content import UNTRUSTED_CONTENT
from lockstep_store.runtime.tracing import OPERATION, log, start_request
from lockstep_store.wire.errors import LockstepError

REQUESTS = Counter("lockstep_client_proxy_s3_requests_total", "S3 requests answered", ["operation", "status"])
SECONDS = Histogram(
    "lockstep_client_proxy_s3_request_seconds",
    "Seconds to answer an S3 request, until the answer's first byte",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
NO_OPERATION = "unknown"
# The service description requires a checksum with many more, but S3 accepts those without, and clients rely on it.
_NEED_CHECKSUM = frozenset(
    {
        "DeleteObjects",
        "PutBucketCors",
        "PutBucketLifecycleConfiguration",
        "PutBucketReplication",
        "PutBucketTagging",
        "PutObjectLegalHold",
        "PutObjectLockConfiguration",
        "PutObjectRetention",
        "PutObjectTagging",
    }
)


_ENCRYPTION = frozenset({"ServerSideEncryption", "SSECustomerAlgorithm"})


class S3Door:
    """The WSGI application. `domain` is that of virtual-host addresses (`bucket.domain`), empty for path-style only.

    `browsers` handle what S3's description lacks, by the names in `routing`. `cors_headers` are added to every other
    reply to a request with an Origin. `limits` finds an operation's rate limits, if it has any, by its name.
    """

    def __init__(
        self,
        gate: Gate,
        handlers: Handlers,
        *,
        proxy_id: str,
        domain: str = "",
        access_log: AccessLog | None = None,
        browsers: BrowserHandlers | None = None,
        cors_headers: Callable[[S3Request], Headers] = lambda _: [],
        limits: Callable[[str], ClassLimits | None] | None = None,
    ) -> None:
        self._gate = gate
        self.handlers = handlers
        self.access_log = access_log
        self._host_id = f"client_proxy-{proxy_id}"
        self._domain = domain
        self._browsers = browsers or {}
        self._cors_headers = cors_headers
        self._limits = limits or (lambda _: None)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        started = time.perf_counter()
        id = start_request(environ.get("HTTP_X_REQUEST_ID", "")) or secrets.token_hex(8)
        name, code = NO_OPERATION, ""
        body = DrainableRequest(environ)
        try:
            body = request = S3Request(environ, self._domain)
            name = environ[OPERATION] = self._name(request)
            limits = self._limits(name)
            reply = self._serve(request, name) if limits is None else self._serve_limited(request, name, limits)
        except Exception as error:  # noqa: BLE001 - every failure becomes a reply here
            refusal = _as_s3(error, id)
            reply, code = self._refuse(refusal, environ, id), refusal.code
        if "HTTP_ORIGIN" in environ and isinstance(body, S3Request) and name != PREFLIGHT:
            reply = reply._replace(headers=reply.headers + self._cors_headers(body))
        body.drain()  # a GET may have a body too
        RECEIVED_BYTES.inc(body.received)
        REQUESTS.labels(name, str(reply.status)).inc()
        took = time.perf_counter() - started
        SECONDS.labels(name).observe(took)
        access_log = self.access_log
        if access_log is not None and isinstance(body, S3Request) and body.bucket and access_log.wants(body.bucket):
            visit = self._visit(body, id, name, reply, code, took)
            reply = reply._replace(body=access_log.follow(visit, reply.body))
        return self._respond(reply, id, start_response)

    def turn_away(self, error: LockstepError, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Reject a request unread."""
        id = start_request(environ.get("HTTP_X_REQUEST_ID", ""))
        return self._respond(self._refuse(_as_s3(error, id), environ, id), id, start_response)

    def _respond(self, reply: RawReply, id: str, start_response: StartResponse) -> Iterable[bytes]:
        own = (("x-amz-request-id", id), ("x-amz-id-2", self._host_id))
        start_response(f"{reply.status} -", [*reply.headers, *own, *UNTRUSTED_CONTENT])
        return reply.body

    def _name(self, request: S3Request) -> str:
        level = level_of(request.bucket, request.key)
        name = name_operation(request.method, level, request.arguments, request.headers.get)
        if name is None or (name not in operations() and name not in self._browsers):
            raise S3Error("MethodNotAllowed", f"{request.method} is not allowed at this address")
        check_arguments(request.method, name, request.arguments)
        return name

    def _serve(self, request: S3Request, name: str) -> RawReply:
        browser = self._browsers.get(name)
        return browser(request) if browser else self._answer(request, operations()[name])

    def _serve_limited(self, request: S3Request, name: str, limits: ClassLimits) -> RawReply:
        standings = limits.at_address(remote_address(request.environ))
        if limits.by_caller:

            def judge(account: str, key: str) -> None:
                standings.extend(limits.of_caller(account=account, key=key, bucket=request.bucket))

            request.on_identified = judge
        reply = self._serve(request, name)
        return reply._replace(headers=[*reply.headers, *standing_headers(standings)])

    def _answer(self, request: S3Request, operation: S3Operation) -> RawReply:
        principal = self._gate.identify(request)
        if request.not_text:
            request.check_text()
        handler = self.handlers.get(operation.name)
        if handler is None:
            raise S3Error("NotImplemented", f"{operation.name} is not supported")
        call = new_call(operation, request, principal, self._parameters(request, operation, principal))
        encryption.check_encryption(operation, call.values, request.headers.get)
        try:
            output = handler(call)
        except LockstepError as error:
            mapped = as_s3_error(error, version_asked="VersionId" in call.values)
            raise name_condition(mapped, call.values) from error
        except S3Error as error:
            raise name_condition(error, call.values) from error
        if isinstance(output, RawReply):
            return output
        if not _ENCRYPTION & output.keys():
            output = encryption.with_encryption(operation, output)
        headers, body = write_reply(operation, output)
        status = call.status or operation.status
        if body or status not in (204, 304):
            headers.append(("Content-Length", str(len(body))))
        return RawReply(status, headers + call.headers, [body] if body else [])

    def _parameters(self, request: S3Request, operation: S3Operation, principal: Principal) -> Values:
        values = read_parameters(
            operation,
            request.bucket,
            request.key,
            request.arguments,
            request.headers.get,
            request.metadata,
        )
        if "VersionId" in values:
            check_version_id(values["VersionId"])
        if operation.payload is not None and not operation.streams:
            values |= read_body(operation, _small_body(request, operation, principal))
        return values

    def _visit(self, request: S3Request, id: str, name: str, reply: RawReply, code: str, took: float) -> Visit:
        """The request and its reply for the access log."""
        operation = operations().get(name)
        return Visit(
            request=request,
            request_id=id,
            host_id=self._host_id,
            operation=name,
            subresource=next((argument for argument, value in operation.query if not value), "") if operation else "",
            status=reply.status,
            error_code=code,
            answered={name.lower(): value for name, value in reply.headers},
            turn_around=took,
        )

    def _refuse(self, error: S3Error, environ: Environ, id: str) -> RawReply:
        resource = environ["PATH_INFO"].encode("latin-1", "replace").decode("utf-8", "replace")
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else write_error(error, resource, id, self._host_id)
        headers = [*error.headers.items(), XML_TYPE, ("Content-Length", str(len(body)))]
        return RawReply(error.status, headers, [body] if body else [])


def _as_s3(error: Exception, id: str) -> S3Error:
    """Any failure as an S3Error; a defect is logged under the request's id."""
    if isinstance(error, LockstepError):
        error = as_s3_error(error)
    if isinstance(error, S3Error):
        return error
    log.error("unexpected failure in the S3 door", exc_info=error)
    return S3Error("InternalError", f"unexpected error; the proxy's log has it under {id}")


def _small_body(request: S3Request, operation: S3Operation, principal: Principal) -> bytes:
    checks = read_body_checks(request, principal, foreign_checksums=operation.name == "CompleteMultipartUpload")
    content = UploadBody(request.read, checks).read_all(MAX_BYTES)
    if operation.name in _NEED_CHECKSUM and not checks.has_checksum:
        raise S3Error("InvalidRequest", f"{operation.name} needs a Content-MD5 or an x-amz-checksum- header")
    return content
