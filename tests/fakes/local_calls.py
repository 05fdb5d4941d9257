"""Calls between WSGI applications of one process: `lockstep_store.runtime.peers.caller` without its sockets.

Whoever inherits from `LocalCalls` says who answers at a URL, and what may go wrong on the way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lockstep_store.runtime.tracing import request_id
from lockstep_store.wire.codec import Call, decode_problem, encode
from lockstep_store.wire.errors import from_problem

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class LocalCalls(ABC):
    """The part of `lockstep_store.runtime.peers.caller.PeerClient` that programs use."""

    @abstractmethod
    def ask(
        self, url: str, method: str, path: str, headers: dict[str, str], blocks: Iterator[bytes | memoryview]
    ) -> bytes:
        """Return the whole 2xx reply, made with `exchange`; raises what the real client raises."""

    def call(self, url: str, call: Call[Any, Any], request: Any, timeout: float | None = None) -> Any:
        return call.decode_reply(self.ask(url, "POST", call.path, {}, iter([encode(request)])))

    def send_stream(
        self,
        url: str,
        path: str,
        headers: dict[str, str],
        blocks: Iterable[bytes | memoryview],
        timeout: float | None = None,
    ) -> bytes:
        return self.ask(url, "POST", path, headers, iter(blocks))

    def open(
        self,
        url: str,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> LocalAnswer:
        return LocalAnswer(self.ask(url, method, path, headers or {}, iter([body])))


class LocalAnswer:
    """A whole reply, read piece by piece."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)
        self.length = len(body)

    def read(self, count: int) -> bytes:
        data, self._body = bytes(self._body[:count]), self._body[count:]
        return data

    def read_all(self, limit: int) -> bytes:
        return self.read(limit)

    def close(self) -> None:
        """Do nothing, because there is no connection."""

    def __enter__(self) -> LocalAnswer:
        return self

    def __exit__(self, *args: object) -> None:
        return


class SentBody:
    """`wsgi.input` over a sender's blocks; ends early when the sender raises, as in the runner."""

    def __init__(self, blocks: Iterator[bytes | memoryview]) -> None:
        self._blocks = blocks
        self._rest = b""
        self.given = 0
        """Bytes read so far."""
        self.failure: BaseException | None = None
        """What the sender raised."""

    def read(self, count: int) -> bytes:
        while not self._rest:
            try:
                self._rest = bytes(next(self._blocks))
            except StopIteration:
                return b""
            except BaseException as failure:
                self.failure = failure
                return b""
        data, self._rest = self._rest[:count], self._rest[count:]
        self.given += len(data)
        return data


def exchange(program: Wsgi, method: str, path: str, headers: dict[str, str], body: SentBody) -> bytes:
    """The program's 2xx answer. Raises the decoded refusal, or what the body's sender raised."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "5050",
        "wsgi.url_scheme": "https",
        "wsgi.input": body,
    }
    # As PeerClient does. Here it matters more: the program answers on the caller's thread, whose id it would replace.
    environ["HTTP_X_REQUEST_ID"] = request_id()
    environ |= {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    status: list[int] = []
    answer = b"".join(program(environ, lambda line, _headers: status.append(int(line.split()[0]))))
    if body.failure is not None:
        raise body.failure
    if status[0] >= 300:
        raise from_problem(decode_problem(answer, status[0]))
    return answer
