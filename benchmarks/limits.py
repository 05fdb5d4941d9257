"""Measures the machine's own limits, which the other measurements are compared with."""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
import time
from pathlib import Path

from flask import Flask

from benchmarks.load import Connection, Result, Target, run
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.tls.identity import Identity, ensure_authority, ensure_identity

GIB = 1 << 30
BLOCK = os.urandom(4 << 20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def disk_write_rate(folder: Path, size: int = GIB) -> float:
    """Bytes per second of a sequential write of `size` bytes with one fsync at the end."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        started = time.perf_counter()
        for _ in range(size // len(BLOCK)):
            file.write(BLOCK)
        file.flush()
        os.fsync(file.fileno())
        return size / (time.perf_counter() - started)


def _bare_flask(identity: Identity, port: int, ready) -> None:  # type: ignore[no-untyped-def]
    app = Flask("bare")
    page = BLOCK[:4096]
    app.add_url_rule("/page", view_func=lambda: page)

    def stream(total: int) -> object:
        def blocks():  # type: ignore[no-untyped-def]
            for _ in range(total // len(BLOCK)):
                yield BLOCK

        return app.response_class(blocks(), headers={"Content-Length": str(total)})

    app.add_url_rule("/stream/<int:total>", view_func=stream)
    Service(app, host="127.0.0.1", port=port, cert_file=identity.cert_file, key_file=identity.key_file).start()
    ready.set()
    time.sleep(3600)


class BareServer:
    """A minimal Flask application on Lockstep's own runner, in its own process."""

    def __init__(self, folder: Path) -> None:
        ensure_authority(folder)
        identity = ensure_identity(folder, "client_proxy", "bare")
        port = free_port()
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        self._process = context.Process(target=_bare_flask, args=(identity, port, ready), daemon=True)
        self._process.start()
        if not ready.wait(30):
            raise RuntimeError("the bare server did not start")
        self.target = Target(f"https://127.0.0.1:{port}", identity.ca_file, {})

    def route_rate(self, clients: int, seconds: float) -> Result:
        """Requests per second of a route that returns 4 KiB."""

        def work(connection: Connection, _: int):  # type: ignore[no-untyped-def]
            request = connection.prepare("GET", "/page")

            def operation() -> None:
                status, _, body = connection.exchange(request)
                if status != 200 or len(body) != 4096:
                    raise RuntimeError(f"the bare route answered {status}")

            return operation

        return run(self.target, work, clients, seconds)

    def stream_rate(self, size: int = GIB) -> float:
        """Bytes per second of one TLS stream from the runner to one client."""
        return download_rate(self.target, f"/stream/{size}", size)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()


def download_rate(target: Target, path: str, size: int) -> float:
    """Bytes per second of one client reading `path`, which has `size` bytes."""
    connection = Connection(target)
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    started = time.perf_counter()
    connection._socket.sendall(connection.prepare("GET", path))
    have = b""
    while b"\r\n\r\n" not in have:
        have += connection._receive()
    if not have.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path} answered {have[:80]!r}")
    got = len(have.split(b"\r\n\r\n", 1)[1])
    while got < size:
        count = connection._socket.recv_into(view)
        if not count:
            raise RuntimeError(f"{path} ended after {got} of {size} bytes")
        got += count
    seconds = time.perf_counter() - started
    connection.close()
    return size / seconds
