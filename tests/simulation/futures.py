"""A replacement for `concurrent.futures` in virtual time, with tasks in the place of threads (see `threads`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulation.threads import Event, process_now, running


class Future:
    """concurrent.futures.Future."""

    def __init__(self) -> None:
        self._done = Event()
        self._result: Any = None
        self._error: BaseException | None = None
        self._cancelled = False
        self._callbacks: list[Callable[[Future], None]] = []

    @classmethod
    def __class_getitem__(cls, _: Any) -> type[Future]:
        return cls

    def result(self, timeout: float | None = None) -> Any:
        if not self._done.wait(timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if not self._done.wait(timeout):
            raise TimeoutError
        return self._error

    def done(self) -> bool:
        return self._done.is_set()

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return self._cancelled

    def add_done_callback(self, call: Callable[[Future], None]) -> None:
        if self.done():
            call(self)
        else:
            self._callbacks.append(call)

    def settle(self, call: Callable[[], Any]) -> None:
        """Run `call` and keep its result or exception."""
        try:
            self._result = call()
        except Exception as error:
            self._error = error
        self._done.set()
        for callback in self._callbacks:
            callback(self)


class ThreadPoolExecutor:
    """concurrent.futures.ThreadPoolExecutor; every job gets a task of its own at once."""

    def __init__(self, max_workers: int | None = None, thread_name_prefix: str = "", **_: Any) -> None:
        self._name = thread_name_prefix or "pool"
        self._process = process_now()
        self._closed = False
        self._under_way = 0
        self._changed = Event()

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = Future()
        self._under_way += 1

        def run() -> None:
            try:
                future.settle(lambda: call(*args, **kwargs))
            finally:
                self._under_way -= 1
                self._changed.set()

        running().spawn(self._process, self._name, run)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._closed = True
        while wait and self._under_way:
            self._changed.clear()
            self._changed.wait()

    def __enter__(self) -> ThreadPoolExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
