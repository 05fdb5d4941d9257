"""The one runner: how a program of the cluster answers HTTPS.

Calls declared in `wire.messages` are answered by a thin WSGI layer: one dictionary look-up, decode, handler, encode.
Everything else (health, metrics, a proxy's pages) is Flask's. Both share the handling of request ids, errors and
figures, which stands here once.

Granian runs it, in this very process: a program is one process, so stopping, pausing or killing that process id does
what it says, and nothing of it is left behind.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from flask import Flask, Response
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.server.mt import MTServer
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest

from wire.certificate_authority import PeerIdentity
from wire.cluster_messages import Health
from wire.codec import Call, encode
from wire.errors import (
    IncompleteBody,
    InternalError,
    LockstepError,
    MethodNotAllowed,
    NotFound,
    PeerRefused,
    SetupError,
    TooLarge,
    Unavailable,
    to_problem,
)
from wire.peer import PEER_HEADER
from wire.tracing import log, request_id, start_request

REQUEST_SECONDS = Histogram(
    "lockstep_request_seconds",
    "Seconds to answer a call between programs, until the answer's first byte",
    ["route"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
REFUSALS = Counter("lockstep_refusals_total", "Calls between programs that were refused", ["route", "code"])

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
READ_BLOCK_BYTES = 1024 * 1024
DEFAULT_THREADS = 128
MAX_CONNECTIONS = 8192
STOP_SECONDS = 5.0
CERTIFICATE_CHECK_SECONDS = 10.0

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]
Req = TypeVar("Req")
Rep = TypeVar("Rep")


class RawReply(NamedTuple):
    """An answer: its body is a list of bytes, or an iterator whose total length the headers declare."""

    status: int
    headers: list[tuple[str, str]]
    body: list[bytes] | Iterator[bytes]


class RawRequest:
    """A request as the runner gives it, for handlers that read or write streams."""

    def __init__(self, environ: Environ, rest: str = "") -> None:
        self.environ = environ
        self.path: str = environ["PATH_INFO"]
        self.rest = rest
        self.query: str = environ.get("QUERY_STRING", "")
        declared = environ.get("CONTENT_LENGTH")
        self.content_length: int | None = int(declared) if declared and str(declared).isdigit() else None
        self._input = environ["wsgi.input"]

    def header(self, name: str, default: str = "") -> str:
        """A request header's value, by its usual name."""
        value: str = self.environ.get("HTTP_" + name.upper().replace("-", "_"), default)
        return value

    def read(self, count: int) -> bytes:
        """Up to `count` bytes of the body; none at its end, which a client that went away looks like too."""
        data: bytes = self._input.read(count)
        return data

    def body(self, limit: int) -> bytes:
        """The whole body. TooLarge over `limit`; IncompleteBody when it is shorter than declared."""
        if self.content_length is not None and self.content_length > limit:
            raise TooLarge(f"the body has {self.content_length} bytes; at most {limit} are accepted here")
        parts: list[bytes] = []
        have = 0
        while have <= limit:
            block = self.read(min(READ_BLOCK_BYTES, limit + 1 - have))
            if not block:
                break
            parts.append(block)
            have += len(block)
        if have > limit:
            raise TooLarge(f"the body is longer than the {limit} bytes accepted here")
        if self.content_length is not None and have != self.content_length:
            raise IncompleteBody(f"the body ended after {have} of {self.content_length} declared bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)


RawHandler = Callable[[RawRequest], RawReply]
_JSON = ("Content-Type", "application/json")
_PROBLEM_JSON = ("Content-Type", "application/problem+json")


class Api:
    """A program's routes. The object itself is the WSGI application.

    `verify_peer` turns the peer header into who is calling, or raises PeerRefused; only the directory can do that.
    """

    def __init__(self, program: str, id: str, verify_peer: Callable[[str], PeerIdentity] | None = None) -> None:
        self.program = program
        self.id = id
        self.health: Callable[[], Health] = lambda: Health(program, id, "", True, pid=os.getpid())
        self.flask = Flask(f"lockstep.{program}", static_folder=None)
        self._verify_peer = verify_peer
        self._routes: dict[tuple[str, str], RawHandler] = {}
        self._prefixes: list[tuple[str, str, RawHandler]] = []
        self.flask.add_url_rule("/health", view_func=self._health_view)
        self.flask.add_url_rule("/metrics", view_func=_metrics_view)
        self.flask.register_error_handler(404, _flask_not_found)
        self.flask.register_error_handler(405, _flask_wrong_method)

    def serve(
        self,
        call: Call[Req, Rep],
        handler: Callable[[Req, Any], Rep],
        roles: Collection[str] | None = None,
    ) -> None:
        """Answer `call` with `handler(request, peer)`. With `roles`, only peers of these roles are answered."""
        seconds = REQUEST_SECONDS.labels(call.path)

        def answer(request: RawRequest) -> RawReply:
            started = time.perf_counter()
            peer = self._peer(request, roles)
            reply = handler(call.decode_request(request.body(MAX_MESSAGE_BYTES)), peer)
            body = encode(reply)
            seconds.observe(time.perf_counter() - started)
            return RawReply(200, [_JSON, ("Content-Length", str(len(body)))], [body])

        self._routes["POST", call.path] = answer

    def serve_raw(
        self,
        method: str,
        path: str,
        handler: RawHandler,
        prefix: bool = False,
        roles: Collection[str] | None = None,
    ) -> None:
        """Answer a stream route; with `prefix`, every path that begins with `path` (see `RawRequest.rest`). With
        `roles`, only peers of these roles are answered."""
        if roles is not None:
            handler = self._only_for(roles, handler)
        if prefix:
            self._prefixes.append((method, path, handler))
        else:
            self._routes[method, path] = handler

    @property
    def routes(self) -> list[tuple[str, str]]:
        """(method, path) of every route answered by the thin layer, for documents and tests."""
        return sorted([*self._routes, *((method, path + "…") for method, path, _ in self._prefixes)])

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        handler = self._routes.get((environ["REQUEST_METHOD"], path))
        rest = ""
        if handler is None:
            for method, prefix, candidate in self._prefixes:
                if path.startswith(prefix) and method == environ["REQUEST_METHOD"]:
                    handler, rest = candidate, path[len(prefix) :]
                    break
        id = start_request(environ.get("HTTP_X_REQUEST_ID", ""))
        if handler is None:
            return self.flask.wsgi_app(environ, start_response)
        try:
            status, headers, body = handler(RawRequest(environ, rest))
        except Exception as error:  # noqa: BLE001 - the one place where every failure becomes an answer
            status, headers, body = error_reply(error, path)
        start_response(f"{status} -", [*headers, ("X-Request-Id", id)])
        return body

    def _only_for(self, roles: Collection[str], handler: RawHandler) -> RawHandler:
        def answer(request: RawRequest) -> RawReply:
            self._peer(request, roles)
            return handler(request)

        return answer

    def _peer(self, request: RawRequest, roles: Collection[str] | None) -> PeerIdentity | None:
        if self._verify_peer is None:
            return None
        peer = self._verify_peer(request.header(PEER_HEADER))
        if roles is not None and peer.role not in roles:
            raise PeerRefused(f"{peer.role}-{peer.id} may not use {request.path}")
        return peer

    def _health_view(self) -> Response:
        health = self.health()
        return Response(encode(health), 200 if health.healthy else 503, mimetype="application/json")


def error_reply(error: Exception, route: str) -> RawReply:
    """Any failure as a problem answer; what is not a refusal is logged with its trace and says nothing inward."""
    if not isinstance(error, LockstepError):
        log.exception("unexpected failure in %s", route)
        error = InternalError(f"an unexpected error happened; the log of the server has it under {request_id()}")
    REFUSALS.labels(route if route.count("/") < 4 else route.rsplit("/", 1)[0], error.code).inc()
    body = encode(to_problem(error, request_id()))
    headers = [_PROBLEM_JSON, ("Content-Length", str(len(body)))]
    if isinstance(error, Unavailable):
        headers.append(("Retry-After", "1"))
    return RawReply(error.status, headers, [body])


def _metrics_view() -> Response:
    return Response(generate_latest(), mimetype=None, content_type=CONTENT_TYPE_LATEST)


def _flask_problem(error: LockstepError) -> Response:
    return Response(encode(to_problem(error, request_id())), error.status, mimetype="application/problem+json")


def _flask_not_found(_: Exception) -> Response:
    return _flask_problem(NotFound("there is nothing at this address"))


def _flask_wrong_method(_: Exception) -> Response:
    return _flask_problem(MethodNotAllowed("this address does not answer that method"))


class _InProcessServer(MTServer):
    """Granian with its worker as a thread of this process.

    Upstream keeps that form for interpreters without a global lock and checks for one. A worker process instead would
    double the memory, and a killed or paused parent would leave its worker serving.
    """

    listening: threading.Event

    def _check_gil(self) -> None:
        return

    def startup(self, spawn_target: Any, target_loader: Any) -> None:
        self._init_shared_socket()  # type: ignore[no-untyped-call]
        self._spawn_workers(spawn_target, target_loader)  # type: ignore[no-untyped-call]
        self.listening.set()


class Service:
    """A WSGI application on one port, started and stopped by its owner.

    `client_ca`: only callers with a certificate of that authority get an answer, over TLS 1.3; without it people's
    clients are served, from TLS 1.2.
    """

    def __init__(
        self,
        wsgi: Wsgi,
        *,
        host: str,
        port: int,
        cert_file: Path,
        key_file: Path,
        client_ca: Path | None = None,
        threads: int = DEFAULT_THREADS,
    ) -> None:
        self._wsgi = wsgi
        self._host, self._port = host, port
        self._options: dict[str, Any] = {
            "target": "lockstep",
            "address": host,
            "port": port,
            "interface": Interfaces.WSGI,
            "http": HTTPModes.http1,
            "blocking_threads": threads,
            "backlog": 1024,
            "backpressure": _connections(),
            "log_enabled": False,
            "ssl_cert": cert_file,
            "ssl_key": key_file,
            "ssl_ca": client_ca,
            "ssl_client_verify": client_ca is not None,
            "ssl_protocol_min": SSLProtocols.tls13 if client_ca else SSLProtocols.tls12,
        }
        self._listener: _Listener | None = None

    def start(self) -> Service:
        """Listen. SetupError when the port cannot be had."""
        _check_port(self._host, self._port)
        self._listener = _Listener(self._options, self._wsgi)
        return self

    def reload(self) -> None:
        """Listen anew with the certificate that is on disk now; requests under way end on the old listener."""
        old, self._listener = self._listener, _Listener(self._options, self._wsgi)
        if old is not None:
            old.stop(STOP_SECONDS)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop listening and let requests under way end, for at most `timeout` seconds."""
        if self._listener is not None:
            self._listener.stop(timeout)


class _Listener:
    """One Granian server on a thread of its own."""

    def __init__(self, options: dict[str, Any], wsgi: Wsgi) -> None:
        self._wsgi = wsgi
        self._failure: BaseException | None = None
        self._server = _InProcessServer(**options)
        self._server.listening = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="service", daemon=True)
        self._thread.start()
        while not self._server.listening.wait(0.05):
            if not self._thread.is_alive():
                raise SetupError(f"cannot listen on {options['address']}:{options['port']}: {self._failure}")

    def stop(self, timeout: float) -> None:
        self._server.signal_handler_interrupt()  # type: ignore[no-untyped-call]
        self._thread.join(timeout)

    def _serve(self) -> None:
        try:
            self._server.serve(target_loader=lambda *_: self._wsgi)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits for `listening`
            self._failure = error


def run(
    wsgi: Wsgi,
    *,
    host: str,
    port: int,
    cert_file: Path,
    key_file: Path,
    client_ca: Path | None = None,
    threads: int = DEFAULT_THREADS,
    on_start: Callable[[], None] | None = None,
    on_stopping: Callable[[], None] | None = None,
    on_stop: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then call `on_stop` and end the process. Call it from the main thread.

    `on_start` is called once the port is had: a program that cannot listen must not tell others that it is there.
    `on_stopping` is called before requests under way are waited for: it answers those that would take long.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    service = Service(
        wsgi,
        host=host,
        port=port,
        cert_file=cert_file,
        key_file=key_file,
        client_ca=client_ca,
        threads=threads,
    ).start()
    log.info("listening on https://%s:%d", host, port)
    if on_start is not None:
        on_start()
    certificate = cert_file.stat().st_mtime_ns
    while not stopping.wait(CERTIFICATE_CHECK_SECONDS):
        if (now := cert_file.stat().st_mtime_ns) != certificate:
            certificate = now
            log.info("the certificate was renewed; listening with it")
            service.reload()
    log.info("stopping")
    if on_stopping is not None:
        on_stopping()
    service.stop()
    if on_stop is not None:
        on_stop()
    log.info("stopped")
    logging.shutdown()
    # A thread that still waits for a slow client must not keep a stopped program alive: what had to be durable is.
    os._exit(0)


def _connections() -> int:
    """How many connections are taken at a time: idle ones count, so a few hundred people must not shut out the rest.

    Each needs a file descriptor, of which half are left for everything else.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, 2 * MAX_CONNECTIONS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(512, min(MAX_CONNECTIONS, wanted // 2))


def _check_port(host: str, port: int) -> None:
    """Granian listens with SO_REUSEPORT, so a second program on a taken port would start and share its calls."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SetupError(
                f"cannot listen on {host}:{port}: {error.strerror}. Stop the program that uses it, "
                "or choose another port with --port"
            ) from error
