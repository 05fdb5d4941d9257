"""Background jobs: a job is one `step()`, and this module runs the loop. Tests call `step()` themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lockstep_store.runtime.tracing import log, start_request

AFTER_FAILURE_SECONDS = 5.0


class BackgroundJob:
    """Runs `step` in a daemon thread. Each step returns the seconds to wait before the next one.

    A step that raises is logged and retried after a pause, so a job never ends unnoticed.
    """

    def __init__(self, name: str, step: Callable[[], float]) -> None:
        self.name = name
        self._step = step
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> BackgroundJob:
        self._thread.start()
        return self

    def wake(self) -> None:
        """Run the next step now, without waiting for the end of the pause."""
        self._wake.set()

    def stop(self, timeout: float = 5.0) -> None:
        """Ask the job to end and wait for the step under way, at most `timeout` seconds."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _loop(self) -> None:
        while not self._stopping:
            start_request()
            try:
                pause = self._step()
            except Exception:  # noqa: BLE001 - any failure is logged, and the job goes on
                log.exception("background job %s failed; retrying in %.0f s", self.name, AFTER_FAILURE_SECONDS)
                pause = AFTER_FAILURE_SECONDS
            self._wake.wait(max(0.0, pause))
            self._wake.clear()
