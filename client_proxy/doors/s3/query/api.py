"""QueryApi: answers requests to STS and IAM, which are forms posted to the door's root.

The service is that of the signature. The directory checks the signature and the session token, and decides: no signing
key for these services leaves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from client_proxy.doors.s3.auth import claims, signature
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.request import S3Request, first_arguments
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.query.description import QueryOperation, QueryService
from client_proxy.doors.s3.query.errors import QueryError, as_query_error
from client_proxy.doors.s3.query.parameters import read_values
from client_proxy.doors.s3.query.replies import write_refusal, write_reply
from client_proxy.doors.s3.query.services import SERVICES, service
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.tracing import log, request_id
from lockstep_store.wire.errors import LockstepError

MAX_BYTES = 512 * 1024
"""A policy document of 20 KiB, every character escaped three times over, has room."""
BLOCK_BYTES = 64 * 1024
MAX_PARAMETERS = 2000
_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
"""Of refusals before the service is known."""
_UNSIGNED = "AssumeRoleWithWebIdentity"
"""The one operation, of STS, that nobody signs: its token says who asks."""


@dataclass(frozen=True)
class QueryCall:
    """One operation. `keys` are the request's condition keys, for the policies that decide about it.

    `credential` is empty for the operation that nobody signs.
    """

    operation: QueryOperation
    values: Values
    credential: str
    keys: dict[str, list[str]]


QueryHandler = Callable[[QueryCall], Values]
QueryHandlers = Mapping[tuple[str, str], QueryHandler]
"""By service and operation."""


class QueryApi:
    """Thread-safe. `wall` is seconds since 1970, by which a signature's age is judged."""

    def __init__(self, handlers: QueryHandlers, wall: Callable[[], float]) -> None:
        self.handlers = handlers
        self._wall = wall

    def answer(self, request: S3Request) -> RawReply:
        """The reply, a refusal's included."""
        id = request_id()
        namespace = _NAMESPACE
        try:
            body = _read(request)
            claim = self._claim(request, body)
            described = service(claim.scope.service if claim is not None else "sts")
            namespace = described.namespace
            return self._done(request, claim, described, body, id)
        except QueryError as error:
            return write_refusal(error, namespace, id)
        except (LockstepError, S3Error) as error:
            return write_refusal(as_query_error(error), namespace, id)
        except Exception as error:  # noqa: BLE001 - every failure becomes a reply here
            log.error("unexpected failure in the Query API", exc_info=error)
            message = f"unexpected error; the proxy's log has it under {id}"
            return write_refusal(QueryError("InternalFailure", message), namespace, id)

    def _claim(self, request: S3Request, body: bytes) -> claims.Claim | None:
        claim = claims.read_query_claim(request.signed_headers, hashlib.sha256(body).hexdigest(), SERVICES)
        if claim is not None:
            signature.check_time(claim, self._wall())
        return claim

    def _done(
        self, request: S3Request, claim: claims.Claim | None, described: QueryService, body: bytes, id: str
    ) -> RawReply:
        given = _parameters(body)
        name, version = given.get("Action", ""), given.get("Version", described.version)
        if claim is None and name != _UNSIGNED:
            raise QueryError("MissingAuthenticationToken", "sign the request: this needs an account")
        if claim is not None and name == _UNSIGNED:
            raise QueryError("ValidationError", f"do not sign {name}: its token identifies you")
        service_name = claim.scope.service if claim is not None else "sts"
        operation = described.operations.get(name)
        if operation is None or version != described.version:
            raise QueryError("InvalidAction", f"{service_name} has no action {name[:64]!r} in {version[:20]!r}")
        handler = self.handlers.get((operation.service, name))
        if handler is None:
            raise QueryError("NotImplemented", f"{name} is not supported")
        values = read_values(operation, given)
        proof = "" if claim is None else _proof(request, claim)
        output = handler(QueryCall(operation, values, proof, _condition_keys(request)))
        return write_reply(operation, described.namespace, output, id)


def _proof(request: S3Request, claim: claims.Claim) -> str:
    canonical = signature.canonical_request(
        claim, request.method, request.raw_path, request.query, request.signed_headers
    )
    return signature.proof_of(claim, canonical).encode()


def _read(request: S3Request) -> bytes:
    parts, size = [], 0
    while block := request.read(BLOCK_BYTES):
        size += len(block)
        if size > MAX_BYTES:
            raise QueryError("ValidationError", f"the request has more than {MAX_BYTES} bytes")
        parts.append(block)
    return b"".join(parts)


def _parameters(body: bytes) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError as error:
        raise QueryError("ValidationError", "the body is not a form of UTF-8 text") from error
    return first_arguments(pairs)


def _condition_keys(request: S3Request) -> dict[str, list[str]]:
    environ = request.environ
    keys = {
        "aws:sourceip": [environ.get("REMOTE_ADDR") or ""],
        "aws:securetransport": ["true" if environ.get("wsgi.url_scheme") == "https" else "false"],
    }
    agent = request.headers.get("user-agent")
    return keys | {"aws:useragent": [agent]} if agent else keys
