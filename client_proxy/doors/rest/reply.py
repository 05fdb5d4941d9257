"""The API's replies: JSON, receipts, and errors as RFC 9457 problem details."""

from __future__ import annotations

from typing import Any

from client_proxy.core.receipt import Receipt
from client_proxy.doors.refusals import error_headers, shown_error
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.runtime.tracing import request_id
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import (
    LockstepError,
    MethodNotAllowed,
    NotModified,
    UnsupportedMediaType,
    to_problem,
)
from lockstep_store.wire.messages.files import CommittedReply

Headers = list[tuple[str, str]]

_JSON: tuple[tuple[str, str], ...] = (
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)
_PROBLEM: tuple[tuple[str, str], ...] = (("Content-Type", "application/problem+json"), *_JSON[1:])
_LONGEST_FLAT_LIST = 100


def json_reply(message: Any, status: int = 200, headers: Headers | None = None) -> RawReply:
    """Return `message` as a JSON reply."""
    body = encode(message)
    return RawReply(status, [*_JSON, ("Content-Length", str(len(body))), *(headers or ())], [body])


def empty_reply() -> RawReply:
    """A reply without content."""
    return RawReply(204, [], [])


def receipt_headers(receipt: Receipt) -> Headers:
    """The receipt as headers. Reads add their own `X-Lockstep-Copies`: the holders that are up."""
    headers = [
        ("X-Lockstep-Digest", receipt.digest.hex()),
        ("X-Lockstep-Version", receipt.version),
        ("X-Lockstep-Cursor", str(receipt.cursor)),
    ]
    if receipt.copies:
        headers.append(("X-Lockstep-Cache", "write"))
        headers.append(("X-Lockstep-Copies", f"{receipt.copies}/{receipt.copies} fsynced"))
    else:
        headers.append(("X-Lockstep-Cache", receipt.cache or "unread"))
    if receipt.leased:
        headers.append(("X-Lockstep-Validated", "lease"))
    if receipt.file_server:
        headers.append(("X-Lockstep-File-Server", receipt.file_server))
    return headers


def committed_reply(committed: CommittedReply) -> RawReply:
    """The reply to a committed write, copy or restore; 201 if the path had no current version before."""
    headers = receipt_headers(Receipt.of_write(committed))
    headers.append(("ETag", f'"{committed.version.digest.hex()}"'))
    return json_reply(committed, 201 if committed.version.created else 200, headers)


def problem_reply(error: Exception, route: str) -> RawReply:
    """The reply to an error."""
    error = shown_error(error, route)
    if isinstance(error, NotModified):
        return RawReply(304, [], [])
    body = encode(_flat_problem(error))
    return RawReply(error.status, [*_PROBLEM, ("Content-Length", str(len(body))), *_error_headers(error)], [body])


def refusal_reply(error: Exception, route: str, request: DrainableRequest) -> RawReply:
    """The reply to an error, after the rest of the request's body was read."""
    reply = problem_reply(error, route)
    request.drain()
    return reply._replace(body=[]) if request.method == "HEAD" else reply


def _flat_problem(error: LockstepError) -> dict[str, Any]:
    """The standard members, `facts` for Lockstep's own clients, and each fact as an extension member."""
    problem = to_problem(error, request_id())
    members: dict[str, Any] = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": problem.request_id,
        "retry": problem.retry,
    }
    if problem.facts:
        members["facts"] = problem.facts
    for name, value in problem.facts.items():
        if not (isinstance(value, (list, tuple)) and len(value) > _LONGEST_FLAT_LIST):
            members.setdefault(name, value)
    if "until_at" in problem.facts:
        members.setdefault("until", problem.facts["until_at"])
    return members


def _error_headers(error: LockstepError) -> Headers:
    headers = error_headers(error, 'Bearer realm="lockstep"')
    if isinstance(error, MethodNotAllowed) and "allowed" in error.facts:
        headers.append(("Allow", ", ".join(error.facts["allowed"])))
    if isinstance(error, UnsupportedMediaType) and "accepted" in error.facts:
        headers.append(("Accept", error.facts["accepted"]))
    return headers
