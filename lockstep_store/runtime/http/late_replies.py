"""Holds replies for a moment, without a thread.

A client that ignores its rate limit asks again as soon as it is refused. Refusing it thousands of times a second would
cost everybody else more than serving it, so its refusals come late, by less than the wait that they ask for.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from lockstep_store.runtime.tracing import log

HOLD_SECONDS = 0.5
MAX_HELD = 1024


class LateReplies:
    """Sends each reply after HOLD_SECONDS. Thread-safe."""

    def __init__(self) -> None:
        self._held: deque[tuple[float, Callable[[], None]]] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="late replies", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send what is held, and hold nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def held(self) -> int:
        """How many replies wait now."""
        return len(self._held)

    def hold(self, send: Callable[[], None]) -> bool:
        """Call `send` later, on another thread. False, without doing so, when too many are held."""
        with self._changed:
            if self._stopped or len(self._held) >= MAX_HELD:
                return False
            self._held.append((time.monotonic() + HOLD_SECONDS, send))
            self._changed.notify()
            return True

    def _run(self) -> None:
        while (send := self._next()) is not None:
            try:
                send()
            except Exception:  # noqa: BLE001 - the next one must be sent
                log.exception("a late reply could not be sent")

    def _next(self) -> Callable[[], None] | None:
        """Wait for the next reply that is due; None when stopped and all are sent."""
        with self._changed:
            while True:
                if self._held:
                    left = self._held[0][0] - time.monotonic()
                    if left <= 0 or self._stopped:
                        return self._held.popleft()[1]
                    self._changed.wait(left)
                elif self._stopped:
                    return None
                else:
                    self._changed.wait()
