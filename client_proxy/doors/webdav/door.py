"""WebDavDoor: the WSGI application behind `/dav/`. It finds out whose request it is and hands it to its method.

It does without WsgiDAV: that library brings its own lock manager, property store and log-ins, and calls its storage for
each resource. All of these are the cluster's here, and only its parsing of headers would have been used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import Counter

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.basic_log_ins import BasicLogIns
from client_proxy.doors.webdav.changing import DavChanging
from client_proxy.doors.webdav.held_locks import HeldLocks
from client_proxy.doors.webdav.locking import DavLocking
from client_proxy.doors.webdav.moving import DavMoving
from client_proxy.doors.webdav.reading import DavReading
from client_proxy.doors.webdav.replies import ALLOW, METHODS, empty_reply, error_reply
from client_proxy.doors.webdav.request import DavRequest
from client_proxy.doors.webdav.resources import DavFiles, Resources
from client_proxy.metrics import RECEIVED_BYTES
from client_proxy.rate_limits.limiter import ClassLimits, RateLimits
from client_proxy.rate_limits.rules import RateClass
from lockstep_store.runtime.http.api import Environ, RawReply, StartResponse
from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.runtime.tracing import OPERATION, start_request
from lockstep_store.wire.errors import MethodNotAllowed

REQUESTS = Counter("lockstep_client_proxy_webdav_requests_total", "WebDAV requests answered", ["method", "status"])
_DAV = [("DAV", "1, 2, 3"), ("MS-Author-Via", "DAV"), ("Allow", ALLOW)]
_READS: dict[str, RateClass] = {"GET": "read", "HEAD": "read", "PROPFIND": "list"}


@dataclass(frozen=True)
class Method:
    """What answers a method, and the rate limits of its class."""

    answer: Callable[[DavRequest], RawReply]
    limits: ClassLimits | None


class WebDavDoor:
    """Thread-safe. `limits`: rate limits; none by default."""

    def __init__(
        self,
        files: DavFiles,
        directory: Directory,
        *,
        limits: RateLimits | None = None,
    ) -> None:
        log_in_limits = limits.of("login") if limits is not None else None
        self.log_ins = BasicLogIns(directory, log_in_limits, client="WebDAV")
        resources = Resources(files, directory)
        locks = HeldLocks(directory, resources)
        reading = DavReading(files, directory, resources, locks)
        changing = DavChanging(files, directory, resources, locks)
        moving = DavMoving(files, directory, resources, locks, changing)
        locking = DavLocking(directory, resources, locks, changing)
        answers: dict[str, Callable[[DavRequest], RawReply]] = {
            "GET": reading.get,
            "HEAD": reading.get,
            "PROPFIND": reading.propfind,
            "PUT": changing.put,
            "DELETE": changing.delete,
            "MKCOL": changing.mkcol,
            "PROPPATCH": changing.proppatch,
            "COPY": moving.copy,
            "MOVE": moving.move,
            "LOCK": locking.lock,
            "UNLOCK": locking.unlock,
        }
        self._methods = {
            name: Method(answer, limits.of(_READS.get(name, "write")) if limits is not None else None)
            for name, answer in answers.items()
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        id = start_request(environ.get("HTTP_X_REQUEST_ID", ""))
        body = DrainableRequest(environ)
        environ[OPERATION] = f"WebDAV {body.method if body.method in METHODS else 'other'}"
        try:
            if body.method == "OPTIONS":  # without a log-in: clients ask this first, and it tells nothing
                reply = empty_reply(200, _DAV)
            else:
                reply = self._answer(body)
        except Exception as error:  # noqa: BLE001 - every failure becomes a reply here
            reply = error_reply(error, body.path)
        body.drain()
        RECEIVED_BYTES.inc(body.received)
        REQUESTS.labels(body.method if body.method in METHODS else "other", str(reply.status)).inc()
        if body.method == "HEAD":
            reply = reply._replace(body=[])
        start_response(f"{reply.status} -", [*reply.headers, ("X-Request-Id", id)])
        return reply.body

    def _answer(self, body: DrainableRequest) -> RawReply:
        found = self._methods.get(body.method)
        if found is None:
            raise MethodNotAllowed(f"this door does not answer that method; it answers {ALLOW}")
        body.check_expectation()
        return self.log_ins.answer(body, found.limits, DavRequest, found.answer)
