"""The API's application: Flask, and a thin layer in front of it for the routes of reads and writes.

Both run every operation through `RestApi.answer`, which handles request ids, errors and metrics. The handlers do the
work, and the directory authorises it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import cast

from flask import Flask, Response
from flask import request as flask_request
from prometheus_client import Counter, Histogram
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, PathConverter, Rule

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.callers import Callers
from client_proxy.doors.rest.access_keys import S3KeyRoutes
from client_proxy.doors.rest.accounts import AccountRoutes
from client_proxy.doors.rest.analytics import AnalyticsRoutes
from client_proxy.doors.rest.archives import ArchiveRoutes
from client_proxy.doors.rest.authorities import AuthorityRoutes
from client_proxy.doors.rest.buckets import BucketRoutes
from client_proxy.doors.rest.cluster import ClusterRoutes
from client_proxy.doors.rest.decisions import DecisionRoutes
from client_proxy.doors.rest.facts import FactsRoutes
from client_proxy.doors.rest.file_access import AccessRoutes
from client_proxy.doors.rest.file_operations import file_operations
from client_proxy.doors.rest.files import FileRoutes, Files
from client_proxy.doors.rest.folders import FolderRoutes
from client_proxy.doors.rest.form_uploads import FormUploadRoutes
from client_proxy.doors.rest.groups import GroupRoutes
from client_proxy.doors.rest.journal import ChangeRoutes
from client_proxy.doors.rest.lifecycles import LifecycleRoutes
from client_proxy.doors.rest.limited import limited
from client_proxy.doors.rest.listener_places import ListenerPlaces
from client_proxy.doors.rest.lock_events import LockEventRoutes
from client_proxy.doors.rest.locks import LockRoutes
from client_proxy.doors.rest.maintenance import MaintenanceRoutes
from client_proxy.doors.rest.metrics import REQUEST_SECONDS, REQUESTS
from client_proxy.doors.rest.named_keys import KmsRoutes
from client_proxy.doors.rest.openapi import DocumentRoutes
from client_proxy.doors.rest.operation import Operation
from client_proxy.doors.rest.operators import Operators
from client_proxy.doors.rest.policies import BucketPolicyRoutes
from client_proxy.doors.rest.programs import ProgramRoutes
from client_proxy.doors.rest.quotas import QuotaRoutes
from client_proxy.doors.rest.reply import refusal_reply
from client_proxy.doors.rest.request import RestRequest, canonical_path, path_text
from client_proxy.doors.rest.search import SearchRoutes
from client_proxy.doors.rest.second_factor import SecondFactorRoutes
from client_proxy.doors.rest.servers import ServerRoutes
from client_proxy.doors.rest.service_accounts import ServiceAccountRoutes
from client_proxy.doors.rest.shares import ShareRoutes
from client_proxy.doors.rest.single_sign_on import SignOnRoutes
from client_proxy.doors.rest.storage_keys import StorageKeyRoutes
from client_proxy.doors.rest.targets import TargetRoutes
from client_proxy.doors.rest.tenants import TenantRoutes
from client_proxy.doors.rest.trash import TrashRoutes
from client_proxy.doors.rest.users import UserRoutes
from client_proxy.doors.rest.versions import VersionRoutes
from client_proxy.metrics import RECEIVED_BYTES
from client_proxy.rate_limits.limiter import RateLimits
from lockstep_store.runtime.http.api import Environ, RawReply, StartResponse, Wsgi
from lockstep_store.runtime.http.operator_views import OperatorPage
from lockstep_store.runtime.tls.trust_files import TrustFiles
from lockstep_store.runtime.tracing import OPERATION, start_request
from lockstep_store.wire.errors import BadRequest, InternalError, LockstepError, MethodNotAllowed, NotFound
from lockstep_store.wire.messages.authorities import AUTHORITIES_HEADER, TrustNews
from lockstep_store.wire.messages.cluster import Health

UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})
DEFAULT_WAITING = 64
DEFAULT_WATCHING = 32
DEFAULT_LISTENING = 32
LISTENING_PER_ACCOUNT = 8


class RestApi:
    """Routes requests to operations. `wsgi` is the layer in front of Flask."""

    def __init__(
        self, flask: Flask, operations: list[Operation], *, thin: bool = True, trust: TrustFiles | None = None
    ) -> None:
        self.operations = operations
        self.on_stopping: Callable[[], None] = lambda: None
        """Ends the long polls. Call it before waiting for requests in progress."""
        self._flask: Wsgi = flask.wsgi_app
        self._trust = trust
        self._thin = {_thin_key(op): (op, tuple(op.names)) for op in operations if op.thin and thin}
        self._seconds: dict[str, Histogram] = {}
        self._counts: dict[tuple[str, int], Counter] = {}
        for operation in operations:
            self._seconds[operation.id] = REQUEST_SECONDS.labels(operation.address, operation.method)
            view = cast("Callable[..., Response]", _View(self, operation))
            flask.add_url_rule(
                operation.flask_rule,
                endpoint=operation.id,
                view_func=view,
                methods=[operation.method],
                provide_automatic_options=False,
            )

    def wsgi(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the thin layer's routes; pass other requests to Flask, with the path in canonical form."""
        path = environ["PATH_INFO"]
        if not path.isascii():
            try:
                environ["PATH_INFO"] = path = canonical_path(path)
            except LockstepError as error:
                return _respond(self.refusal(error, environ), start_response)
        if path.startswith("/api/v1/"):
            parts = path.split("/", 5)
            found = self._thin.get((environ["REQUEST_METHOD"], parts[3], len(parts)))
            if found is not None:
                operation, names = found
                if not names:
                    return _respond(self.answer(operation, environ, {}), start_response)
                if parts[4]:
                    values = [path_text(part) for part in parts[4:]]
                    return _respond(
                        self.answer(operation, environ, dict(zip(names, values, strict=True))), start_response
                    )
        return self._flask(environ, start_response)

    def answer(self, operation: Operation, environ: Environ, params: dict[str, str]) -> RawReply:
        """Run an operation. Errors become replies, and every reply is counted and gets its request id."""
        started = time.perf_counter()
        id = start_request(environ.get("HTTP_X_REQUEST_ID", ""))
        request = RestRequest(environ, params)
        environ[OPERATION] = operation.id
        try:
            request.check_expectation()
            if request.query:
                request.check_arguments(operation.arguments, operation.repeated)
            reply = operation.handler(request)
        except Exception as error:  # noqa: BLE001 - the one place where errors become replies
            reply = refusal_reply(error, f"{operation.method} {operation.address}", request)
        reply.headers.append(("X-Request-Id", id))
        if self._trust is not None:
            reply.headers.append((AUTHORITIES_HEADER, self._trust.ids))
        self._count(operation, reply.status).inc()
        RECEIVED_BYTES.inc(request.received)
        self._seconds[operation.id].observe(time.perf_counter() - started)
        return reply

    def refusal(self, error: Exception, environ: Environ) -> RawReply:
        """The reply to a request that matches no route."""
        id = start_request(environ.get("HTTP_X_REQUEST_ID", ""))
        reply = refusal_reply(error, UNMATCHED, RestRequest(environ, {}))
        reply.headers.append(("X-Request-Id", id))
        # A method can be any word, and each new label would stay in memory for ever.
        method = environ["REQUEST_METHOD"] if environ["REQUEST_METHOD"] in METHODS else "other"
        REQUESTS.labels(UNMATCHED, method, str(reply.status)).inc()
        return reply

    def _count(self, operation: Operation, status: int) -> Counter:
        count = self._counts.get((operation.id, status))
        if count is None:
            count = REQUESTS.labels(operation.address, operation.method, str(status))
            self._counts[operation.id, status] = count
        return count


class _View:
    """A Flask view of an operation."""

    def __init__(self, api: RestApi, operation: Operation) -> None:
        self._api = api
        self._operation = operation
        self.__name__ = operation.id

    def __call__(self, **params: str) -> Response:
        return _flask_response(self._api.answer(self._operation, flask_request.environ, params))


class _Segment(BaseConverter):
    """One part of the address. It may be empty, so that the route can say what is wrong."""

    regex = "[^/]*"


class _FilePath(PathConverter):
    """The rest of the address, unchecked: the name check decides about slashes, line ends and emptiness."""

    regex = r"[\s\S]*?"


class _MatchingRule(Rule):
    """A route that answers, and of which nobody asks the address.

    Preparing to build addresses compiles two functions for each route, which was most of the time to make the
    application.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        return _build_nothing


def _build_nothing(*_: object, **__: object) -> tuple[str, str]:
    raise NotImplementedError("routes of the API are matched, never built")


class _BareResponse(Response):
    """A response that adds no headers of its own."""

    default_mimetype = None
    autocorrect_location_header = False


def create_app(
    file_store: Files,
    directory: Directory,
    *,
    program_id: str,
    version: str,
    health: Callable[[], Health],
    max_waiting: int = DEFAULT_WAITING,
    max_watching: int = DEFAULT_WATCHING,
    max_listening: int = DEFAULT_LISTENING,
    thin: bool = True,
    remote: bool = False,
    limits: RateLimits | None = None,
    trust: TrustFiles | None = None,
) -> Flask:
    """The proxy's API as a Flask application, which is also the WSGI callable to run.

    `remote`: the proxy listens beyond its own machine. `limits`: rate limits, `trust`: the certificate authorities that
    replies name; none by default. `program_id` and `version` are the proxy's, for its document and log. `max_waiting`
    bounds the requests that wait for locks, `max_watching` those that wait for changes, and `max_listening` those that
    listen to events, because each occupies a server thread. Without `thin` all requests go through Flask.
    """
    app = Flask(f"lockstep.client_proxy.{program_id}", static_folder=None, template_folder=None)
    app.url_rule_class = _MatchingRule
    app.url_map.merge_slashes = False
    app.url_map.converters.update(segment=_Segment, file_path=_FilePath)
    operators = Operators(directory, health)
    callers = Callers(directory)
    locks, changes = LockRoutes(directory, max_waiting=max_waiting), ChangeRoutes(directory, max_waiting=max_watching)
    events = LockEventRoutes(directory, callers, ListenerPlaces(max_listening, LISTENING_PER_ACCOUNT))
    operations = [
        *_files(file_store, directory),
        *_buckets(directory),
        *locks.operations(),
        *events.operations(),
        *changes.operations(),
        *AccessRoutes(directory).operations(),
        *BucketPolicyRoutes(directory).operations(),
        *ShareRoutes(directory).operations(),
        *_people(directory, remote),
        *KmsRoutes(directory).operations(),
        *_cluster(directory, operators, trust),
    ]
    operations += DocumentRoutes(operations, version).operations()
    if limits is not None:
        operations = [limited(operation, limits, callers) for operation in operations]
    api = RestApi(app, operations, thin=thin, trust=trust)
    for path, page in (("/health", operators.health_page), ("/metrics", operators.metrics_page)):
        app.add_url_rule(path, path, _operator_view(page), provide_automatic_options=False)
    app.register_error_handler(
        Exception, lambda error: _flask_response(api.refusal(_as_refusal(error), flask_request.environ))
    )
    app.extensions["lockstep"] = api
    api.on_stopping = _all_of(locks.stop_waiting, changes.stop_waiting, events.stop)
    app.wsgi_app = api.wsgi  # type: ignore[method-assign]
    return app


def _buckets(directory: Directory) -> list[Operation]:
    return [*BucketRoutes(directory).operations(), *LifecycleRoutes(directory).operations()]


def _files(file_store: Files, directory: Directory) -> list[Operation]:
    return [
        *file_operations(FileRoutes(file_store)),
        *FormUploadRoutes(file_store).operations(),
        *VersionRoutes(file_store).operations(),
        *ArchiveRoutes(file_store).operations(),
        *FactsRoutes(directory).operations(),
        *FolderRoutes(file_store, directory).operations(),
        *TrashRoutes(directory).operations(),
        *SearchRoutes(directory).operations(),
        *AnalyticsRoutes(directory).operations(),
    ]


def _people(directory: Directory, remote: bool) -> list[Operation]:
    return [
        *AccountRoutes(directory, remote=remote).operations(),
        *UserRoutes(directory).operations(),
        *GroupRoutes(directory).operations(),
        *TenantRoutes(directory).operations(),
        *SignOnRoutes(directory).operations(),
        *SecondFactorRoutes(directory).operations(),
        *QuotaRoutes(directory).operations(),
        *S3KeyRoutes(directory).operations(),
        *ServiceAccountRoutes(directory).operations(),
    ]


def _cluster(directory: Directory, operators: Operators, trust: TrustFiles | None) -> list[Operation]:
    return [
        *ClusterRoutes(directory, operators).operations(),
        *DecisionRoutes(directory).operations(),
        *ServerRoutes(directory).operations(),
        *ProgramRoutes(directory).operations(),
        *MaintenanceRoutes(directory).operations(),
        *StorageKeyRoutes(directory).operations(),
        *AuthorityRoutes(directory, trust or (lambda: TrustNews(""))).operations(),
        *TargetRoutes(directory).operations(),
    ]


def _all_of(*calls: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        for one in calls:
            one()

    return call


def _operator_view(page: Callable[[RestRequest], OperatorPage]) -> Callable[[], Response]:
    def view() -> Response:
        status, content_type, body = page(RestRequest(flask_request.environ, {}))
        return Response(body, status, content_type=content_type)

    return view


def _respond(reply: RawReply, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{reply.status} -", reply.headers)
    return reply.body


def _flask_response(reply: RawReply) -> Response:
    return _BareResponse(reply.body, reply.status, reply.headers, direct_passthrough=True)


def _thin_key(operation: Operation) -> tuple[str, str, int]:
    parts = operation.address.split("/", 5)
    return operation.method, parts[3], len(parts)


def _as_refusal(error: Exception) -> Exception:
    """Convert an error of Flask or Werkzeug."""
    if not isinstance(error, HTTPException):
        return error
    if error.code == 405:
        allowed = sorted(getattr(error, "valid_methods", None) or ())
        return MethodNotAllowed(f"this address answers {', '.join(allowed) or 'other methods'}", allowed=allowed)
    if error.code == 404:
        return NotFound("there is nothing at this address; /api/v1/docs lists what there is")
    if error.code is not None and 400 <= error.code < 500:
        return BadRequest(str(error.description or error.name))
    return InternalError(str(error.name))
