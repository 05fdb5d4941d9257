"""LfsDoor: the WSGI application behind `/lfs/`. It finds out whose request it is and hands it to objects or locks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from prometheus_client import Counter

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.basic_log_ins import BasicLogIns
from client_proxy.doors.lfs.locks import LfsLocks
from client_proxy.doors.lfs.objects import LfsFiles, LfsObjects
from client_proxy.doors.lfs.request import LfsRequest, kind_of
from client_proxy.doors.refusals import error_headers, shown_error
from client_proxy.metrics import RECEIVED_BYTES
from client_proxy.rate_limits.limiter import RateLimits
from client_proxy.rate_limits.rules import RateClass
from lockstep_store.runtime.http.api import Environ, RawReply, StartResponse
from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.runtime.tracing import OPERATION, request_id, start_request
from lockstep_store.wire.errors import (
    BadRequest,
    MethodNotAllowed,
    NotLoggedIn,
)

REQUESTS = Counter("lockstep_client_proxy_lfs_requests_total", "Git LFS requests answered", ["what", "status"])
_JSON = ("Content-Type", "application/vnd.git-lfs+json")
_CHALLENGE = 'Basic realm="lockstep"'
_CLASSES: dict[tuple[str, str], RateClass] = {
    ("GET", "object"): "read",
    ("POST", "objects/batch"): "read",
    ("POST", "objects/verify"): "read",
    ("GET", "locks"): "list",
    ("POST", "locks/verify"): "list",
}


class LfsDoor:
    """Thread-safe. `limits`: rate limits; none by default."""

    def __init__(self, files: LfsFiles, directory: Directory, *, limits: RateLimits | None = None) -> None:
        self.log_ins = BasicLogIns(directory, limits.of("login") if limits is not None else None, client="Git LFS")
        self._limits = limits
        objects, locks = LfsObjects(files, directory), LfsLocks(directory)
        self._answers: dict[tuple[str, str], Callable[[LfsRequest], RawReply]] = {
            ("POST", "objects/batch"): lambda request: _json(objects.batch(request)),
            ("POST", "objects/verify"): lambda request: _json(objects.verify(request)),
            ("GET", "object"): objects.get,
            ("PUT", "object"): lambda request: _json(objects.put(request)),
            ("POST", "locks"): lambda request: _json(*locks.create(request)),
            ("GET", "locks"): lambda request: _json(locks.listed(request)),
            ("POST", "locks/verify"): lambda request: _json(locks.verify(request)),
            ("POST", "unlock"): lambda request: _json(locks.unlock(request)),
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        id = start_request(environ.get("HTTP_X_REQUEST_ID", ""))
        body = DrainableRequest(environ)
        what = kind_of(environ)
        environ[OPERATION] = f"Git LFS {what}"
        try:
            reply = self._answer(body, what)
        except Exception as error:  # noqa: BLE001 - every failure becomes a reply here
            reply = _refusal(error)
        body.drain()
        RECEIVED_BYTES.inc(body.received)
        REQUESTS.labels(what, str(reply.status)).inc()
        start_response(f"{reply.status} -", [*reply.headers, ("X-Request-Id", id)])
        return reply.body

    def _answer(self, body: DrainableRequest, what: str) -> RawReply:
        body.check_expectation()
        rate_class = _CLASSES.get((body.method, what), "write")
        limits = self._limits.of(rate_class) if self._limits is not None else None
        return self.log_ins.answer(body, limits, LfsRequest, self._answers.get((body.method, what), _no_method))


def _no_method(_: LfsRequest) -> RawReply:
    raise MethodNotAllowed("Git LFS uses another method for this address")


def _json(message: Any, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> RawReply:
    body = msgspec.json.encode(message)
    return RawReply(status, [_JSON, ("Content-Length", str(len(body))), *headers], [body])


def _refusal(error: Exception) -> RawReply:
    """An error in Git LFS's form."""
    error = shown_error(error, "the door for Git LFS")
    headers = error_headers(error, _CHALLENGE)
    if isinstance(error, NotLoggedIn):
        headers.append(("LFS-Authenticate", _CHALLENGE))
    status = 422 if isinstance(error, BadRequest) and error.status == 400 else error.status
    return _json({"message": str(error), "request_id": request_id()}, status, headers)
