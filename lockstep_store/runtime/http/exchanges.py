"""Runs exchanges on the threads of Granian's own pool, a bounded number at a time.

Granian calls `schedule` on one of its pool's threads for each request, and finishes the messages that requests wait for
on other threads of that pool. Requests may occupy all of them but SPARE_THREADS: if all waited, nobody could wake them.
A request that finds no thread waits in line without one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from granian import _granian

from lockstep_store.runtime.http.answer_bytes import AnswerBytes
from lockstep_store.runtime.http.client_waits import ClientWaits
from lockstep_store.runtime.http.exchange import Exchange, Wsgi, refuse_head
from lockstep_store.runtime.http.late_replies import LateReplies
from lockstep_store.runtime.http.request_head import BadHead
from lockstep_store.runtime.tracing import log

# Granian's own type stubs lack half of their arguments.
_worker: Any = _granian.ASGIWorker
_scheduler: Any = _granian.CallbackScheduler

SPARE_THREADS = 4
MAX_COLLECTING = 1024
"""Requests whose body's beginning is collected without a thread, at a time. More of them begin at once."""


class Exchanges:
    """Answers the requests of one service with `app`.

    `on_begin` is called with each request before anything counts it. It may raise BadHead.
    """

    def __init__(self, app: Wsgi, threads: int, on_begin: Callable[[Exchange], None] | None = None) -> None:
        self._app = app
        self._threads = threads
        self._on_begin = on_begin
        self._waits = ClientWaits()
        self._answers = AnswerBytes()
        self.late = LateReplies()
        self._guard = threading.Lock()
        self._running = 0
        self._line: deque[Exchange] = deque()

    def start(self) -> None:
        self._waits.start()
        self.late.start()

    def stop(self) -> None:
        self._waits.stop()

    def spawn_worker(self, worker_id: int, signal: Any, _app: Any, sock: Any, _loop: Any, *options: Any) -> None:
        """Serve until `signal`, in the calling thread. The arguments are those of Granian's own workers."""
        _mode, runtime_threads, runtime_blocking, threads, idle_timeout, backpressure = options[:6]
        _tasks, http_mode, http1, http2, _websockets, static_path, _log, tls, _scope, metrics = options[6:]
        ended = threading.Event()
        signal.add_cb(ended.set)
        pool = (runtime_threads, runtime_blocking, threads + SPARE_THREADS, idle_timeout, backpressure)
        worker = _worker(worker_id, sock, None, *pool, http_mode, http1, http2, False, static_path, *tls, metrics)
        callbacks = _Callbacks()
        scheduler = _scheduler(callbacks, None, None, None, None)
        scheduler._schedule_fn = self.schedule
        worker.serve_mtr(scheduler, callbacks, signal)
        ended.wait()

    def schedule(self, watcher: Any) -> None:
        """Begin with a request. Must not raise: Granian would take the error for one of its own calls'."""
        try:
            exchange = Exchange(watcher, self._app, self._waits, self._answers, self.late)
            if self._on_begin is not None:
                self._on_begin(exchange)
            if exchange.collects and self._waits.bodies < MAX_COLLECTING:
                exchange.body.collect(lambda: self._run(exchange))
            else:
                self._run(exchange)
        except BadHead as error:
            refuse_head(watcher, error)
        except BaseException:  # noqa: BLE001 - see above
            log.exception("a request could not be begun")
            watcher.done()

    def _run(self, exchange: Exchange) -> None:
        with self._guard:
            if self._running >= self._threads:
                self._line.append(exchange)
                return
            self._running += 1
        following: Exchange | None = exchange
        while following is not None:
            following.answer()
            with self._guard:
                following = self._line.popleft() if self._line else None
                if following is None:
                    self._running -= 1


class _Callbacks:
    """In an event loop's place: calls what a message has come for, on the thread that brings it."""

    def call_soon(self, callback: Any, future: Any, context: Any = None) -> None:
        try:
            callback(future)
        except BaseException:  # noqa: BLE001 - Granian drops it
            log.exception("a request failed while its message came")

    call_soon_threadsafe = call_soon
