"""The runner: serves a program's WSGI application over HTTPS, with Granian in the program's own process.

A program is one process, so stopping, pausing or killing that process id affects all of it and leaves nothing behind.
`runtime.http.api` creates the replies.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.server.mt import MTServer

from lockstep_store.runtime import tracing
from lockstep_store.runtime.http.api import Wsgi
from lockstep_store.runtime.http.date_header import DatedReplies
from lockstep_store.runtime.http.exchanges import Exchanges
from lockstep_store.runtime.http.proxy_protocol import ProxyProtocolListener
from lockstep_store.runtime.options import DEFAULT_THREADS
from lockstep_store.runtime.tls.authorities import TrustedAuthorities, issuer_id
from lockstep_store.runtime.tls.revocation import split_lists
from lockstep_store.runtime.traces import traced
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import SetupError
from lockstep_store.wire.messages.authorities import AuthorityUse

MAX_CONNECTIONS = 8192
MAX_BUFFER_BYTES = 128 * 1024
"""What the runner buffers for each connection of a person. It also bounds a request's head."""
STOP_SECONDS = 5.0
UNSEEN_SECONDS = 5.0
"""After this time a listener counts as started even if the system does not list it; not every system does."""
CERTIFICATE_CHECK_SECONDS = 1.0
"""As often as heartbeats, which bring lists of revoked certificates and new authorities."""


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

    With `client_ca`, only clients with a certificate from an authority in that file that is not in the list `revoked`
    can connect, over TLS 1.3. Without it, any client can, from TLS 1.2, and `exchanges` serves them: it trusts no
    client and hides nothing from the application. Programs are served by Granian's WSGI interface, which costs half as
    much for a small body. `balancers` brings clients from another port, without `client_ca` only.
    `trace_paths`: traces, if there are any, show the addresses of requests.
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
        revoked: Path | None = None,
        threads: int = DEFAULT_THREADS,
        balancers: ProxyProtocolListener | None = None,
        trace_paths: bool = False,
    ) -> None:
        self._wsgi = DatedReplies(traced(wsgi, os.environ, with_paths=trace_paths))
        self._revoked = revoked
        self._client_ca = client_ca
        self._balancers = balancers
        on_begin = balancers.show_client if balancers is not None else None
        self._exchanges = None if client_ca else Exchanges(self._wsgi, threads, on_begin)
        self._host, self._port = host, port
        self._cert_file = cert_file
        self._in_use = (0, 0, 0)
        self._certificate_problem = ""
        self.authorities = AuthorityUse([])
        """Of the listener in use: the authorities that it trusts, and the one that issued its certificate."""
        self._options: dict[str, Any] = {
            "target": "lockstep",
            "interface": Interfaces.WSGI,
            "http": HTTPModes.http1,
            "http1_settings": None if client_ca else HTTP1Settings(max_buffer_size=MAX_BUFFER_BYTES),
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
        self._listeners: list[_Listener] = []

    def start(self) -> Service:
        """Listen. SetupError when the port is not available."""
        _check_port(self._host, self._port)
        self._in_use = self._on_disk()
        self._listeners = self._listen()
        if self._exchanges is not None:
            self._exchanges.start()
        if self._balancers is not None:
            self._balancers.start()
        return self

    def follow_certificate(self) -> None:
        """Replace the listener when the certificate, the authorities or the list of revoked ones on disk are new.

        A certificate that cannot be used is logged and retried at the next check: a person who replaces it and its key
        by hand writes one after the other, and requests must be served meanwhile.
        """
        try:
            on_disk = self._on_disk()
            if on_disk == self._in_use:
                return
            self.reload()
        except (OSError, SetupError) as error:
            if str(error) != self._certificate_problem:
                log.error("cannot use the new certificate %s, keeping the old one: %s", self._cert_file, error)
            self._certificate_problem = str(error)
            return
        log.info("the certificate, the authorities or the list of revoked ones is new; listening with it")
        self._in_use, self._certificate_problem = on_disk, ""

    def _on_disk(self) -> tuple[int, int, int]:
        """The times of the certificate, of the authorities and of the revocation list."""
        others = [file for file in (self._client_ca, self._revoked) if file is not None and file.exists()]
        times = [file.stat().st_mtime_ns for file in (self._cert_file, *others)]
        return times[0], times[1] if self._client_ca else 0, times[-1] if self._has_list() else 0

    def _has_list(self) -> bool:
        return self._revoked is not None and self._revoked.exists()

    def _listen(self) -> list[_Listener]:
        """Listen with what is on disk. Granian reads one list of a file only, so it gets a file for each."""
        lists = split_lists(self._revoked.read_text("ascii")) if self._revoked and self._has_list() else []
        found = self._authorities(lists)
        with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
            files = [Path(folder, f"{number}.pem") for number in range(len(lists))]
            for file, block in zip(files, lists, strict=True):
                file.write_bytes(block)
            options = {**self._options, "ssl_crl": files or None}
            listeners: list[_Listener] = []
            try:
                for host, port in self._addresses():
                    at = {"address": host, "port": port}
                    listeners.append(_Listener({**options, **at}, self._wsgi, self._exchanges))
            except SetupError:
                _stop(listeners, STOP_SECONDS)
                raise
        self.authorities = found
        return listeners

    def _addresses(self) -> list[tuple[str, int]]:
        own = (self._host, self._port)
        return [own] if self._balancers is None else [own, self._balancers.inner]

    def _authorities(self, lists: list[bytes]) -> AuthorityUse:
        if self._client_ca is None:
            return AuthorityUse([])
        trusted = TrustedAuthorities.load(self._client_ca)
        listed = trusted.signers_of(lists) if lists else trusted.ids
        return AuthorityUse([*listed], issuer_id(self._client_ca, self._cert_file))

    def reload(self) -> None:
        """Replace the listener with one that uses the certificate on disk; the old one finishes its requests."""
        old, self._listeners = self._listeners, self._listen()
        _stop(old, STOP_SECONDS)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop listening, and let requests in progress end for at most `timeout` seconds."""
        if self._balancers is not None:
            self._balancers.refuse_new()
        if self._exchanges is not None:
            self._exchanges.late.stop()
        _stop(self._listeners, timeout)
        if self._balancers is not None:
            self._balancers.stop()
        if self._exchanges is not None:
            self._exchanges.stop()
        if tracing.flush_traces is not None:
            tracing.flush_traces()


class _Listener:
    """One Granian server on a thread of its own."""

    def __init__(self, options: dict[str, Any], wsgi: Wsgi, exchanges: Exchanges | None) -> None:
        self._wsgi = wsgi
        self._spawn = None if exchanges is None else exchanges.spawn_worker
        self._failure: BaseException | None = None
        self._server = _InProcessServer(**options)
        self._server.listening = threading.Event()
        self._port: int = options["port"]
        self._others = _listening(self._port)
        self._thread = threading.Thread(target=self._serve, name="service", daemon=True)
        self._thread.start()
        started = time.monotonic()
        while not self._listens(time.monotonic() - started):
            if not self._thread.is_alive():
                raise SetupError(f"cannot listen on {options['address']}:{options['port']}: {self._failure}")
            time.sleep(0.01)

    def begin_stop(self) -> None:
        self._server.signal_handler_interrupt()  # type: ignore[no-untyped-call]

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _listens(self, waited: float) -> bool:
        """Whether the worker listens. Granian reports it too early to stop the old listener."""
        if not self._server.listening.is_set():
            return False
        if not _TABLES[0].exists():
            return True
        return not _listening(self._port) <= self._others or waited > UNSEEN_SECONDS

    def _serve(self) -> None:
        try:
            self._server.serve(self._spawn, target_loader=lambda *_: self._wsgi)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits for `listening`
            self._failure = error


def _stop(listeners: list[_Listener], timeout: float) -> None:
    for listener in listeners:
        listener.begin_stop()
    until = time.monotonic() + timeout
    for listener in listeners:
        listener.join(max(0.0, until - time.monotonic()))


def run(
    wsgi: Wsgi,
    *,
    host: str,
    port: int,
    cert_file: Path,
    key_file: Path,
    client_ca: Path | None = None,
    revoked: Path | None = None,
    threads: int = DEFAULT_THREADS,
    balancers: ProxyProtocolListener | None = None,
    trace_paths: bool = False,
    on_start: Callable[[], None] | None = None,
    on_authorities: Callable[[AuthorityUse], None] = lambda use: None,
    on_stopping: Callable[[], None] | None = None,
    on_stop: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then call `on_stop` and end the process. Call it from the main thread.

    `on_start` is called once the program listens: one that cannot listen must not register with others.
    `on_authorities` is called before it and every second, with the authorities in force at the listener.
    `on_stopping` is called before the wait for requests in progress, to end those that would take long.
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
        revoked=revoked,
        threads=threads,
        balancers=balancers,
        trace_paths=trace_paths,
    ).start()
    log.info("listening on https://%s:%d", host, port)
    on_authorities(service.authorities)
    if on_start is not None:
        on_start()
    while not stopping.wait(CERTIFICATE_CHECK_SECONDS):
        service.follow_certificate()
        on_authorities(service.authorities)
    log.info("stopping")
    if on_stopping is not None:
        on_stopping()
    service.stop()
    if on_stop is not None:
        on_stop()
    end_process()


def end_process() -> NoReturn:
    """End the process of a program that has stopped."""
    log.info("stopped")
    logging.shutdown()
    # A thread that waits for a slow client must not keep a stopped program alive. Everything acknowledged is durable.
    os._exit(0)


def _connections() -> int:
    """Return the maximum number of connections. Idle ones count, so it must be far above the number of people.

    Each connection needs a file descriptor; half of the descriptors are left for everything else.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, 2 * MAX_CONNECTIONS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(512, min(MAX_CONNECTIONS, wanted // 2))


_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def _listening(port: int) -> set[str]:
    """Return the sockets that listen on a port, by inode; none if the system does not list them."""
    found: set[str] = set()
    for table in _TABLES:
        try:
            lines = table.read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for local, state, inode in ((line.split()[1], line.split()[3], line.split()[9]) for line in lines):
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                found.add(inode)
    return found


def _check_port(host: str, port: int) -> None:
    """Raise SetupError when the port is in use.

    Granian listens with SO_REUSEPORT, so a second program on the same port would start and get some of the requests.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SetupError(f"cannot listen on {host}:{port} ({error.strerror}): {_what_to_do(error)}") from error


def _what_to_do(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "name an address of this machine with --host, or 0.0.0.0 for every network"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "only root may use this port; choose one of 1024 or higher with --port"
    return "stop the program that uses it, or choose another port with --port"
