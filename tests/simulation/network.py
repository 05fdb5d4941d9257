"""The simulated network: replaces `lockstep_store.runtime.peers.caller.PeerClient`.

Every request and answer is really encoded and decoded, and reaches the other program's WSGI application. On the way it
takes its time, and what can happen to it is what happens to TCP: a refused connection, one that is cut with the request
done or not, silence until the caller's time-out, and a request that arrives long after its caller gave up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from typing import Any

from lockstep_store.runtime.peers.caller import PEER_HEADER
from lockstep_store.runtime.tracing import REQUEST_ID_HEADER, request_id
from lockstep_store.wire.codec import Call, decode_problem, encode
from lockstep_store.wire.errors import PeerUnreachable, from_problem
from tests.simulation.hung_servers import HungServers
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.threads import Event

PIPE_BYTES = 64 * 1024
SILENT_SECONDS = 2.0
IRREPLACEABLE = "directory"
Blocks = Iterable[bytes | memoryview]


class Machine:
    """The machine of one program. Without power (`powered`) its address does not respond at all."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.process: Process | None = None
        self.app: Any = None
        self.powered = True

    @property
    def serving(self) -> bool:
        return self.process is not None and self.process.alive and self.app is not None


@dataclass
class Conditions:
    """Seconds of delay, and how likely a connection is cut before or after its request."""

    delay: float = 0.001
    lost_requests: float = 0.0
    lost_answers: float = 0.0


class Exchange:
    """One request under way and its reply."""

    def __init__(self, target: str, path: str = "", request: bytes = b"") -> None:
        self.target = target
        self.path = path
        self.request = request
        self.over = Event()
        self.status = 0
        self.body = b""
        self.cut_short = False
        self.failure: BaseException | None = None
        self.pipe: _Pipe | None = None

    def reset(self) -> None:
        """Break the connection."""
        if not self.over.is_set():
            self.failure = ConnectionResetError()
            self.over.set()


class Network:
    """`cuts` are pairs (from, to) of machine names between which nothing passes."""

    def __init__(self, scheduler: Scheduler, conditions: Conditions) -> None:
        self.scheduler = scheduler
        self.conditions = copy(conditions)  # healing changes it
        self.machines: dict[str, Machine] = {}
        self.cuts: set[tuple[str, str]] = set()
        self.requests = 0
        self.hung = HungServers()
        self._late: list[tuple[tuple[str, str], Callable[[], None]]] = []

    def machine(self, name: str) -> Machine:
        """Add a machine; it is reached at https://NAME."""
        machine = Machine(name, f"https://{name}")
        self.machines[name] = machine
        return machine

    def cut(self, source: str, target: str) -> None:
        self.cuts.add((source, target))

    def heal(self, pairs: Iterable[tuple[str, str]] | None = None) -> None:
        """Let everything (or `pairs`) pass again; what was on its way and not given up by its machine arrives."""
        self.cuts -= set(self.cuts if pairs is None else pairs)
        late, self._late = self._late, []
        for pair, arrive in late:
            if pair in self.cuts:
                self._late.append((pair, arrive))
            else:
                self.scheduler.at(self.scheduler.now + self.delay(), arrive)

    def delay(self) -> float:
        """Return the seconds that one message takes."""
        return self.conditions.delay * self.scheduler.random.expovariate(1.0) + 0.0001

    def ends_with(self, process: Process) -> None:
        """End the connections of `process` with it. Call once for each process."""
        process.facts["exchanges"] = {}
        process.when_killed.append(lambda: self._reset_all(process))

    def _reset_all(self, process: Process) -> None:
        machine = self.machines.get(process.machine)
        for exchange in list(process.facts["exchanges"].values()):
            if exchange.pipe is not None:
                exchange.pipe.end()
            if machine is None or machine.powered:  # a machine without power sends nothing, not even that
                self.scheduler.at(self.scheduler.now + self.delay(), exchange.reset)

    # ------------------------------------------------------------ one request

    def send(
        self,
        source: Process,
        url: str,
        environ: dict[str, Any],
        body: bytes,
        blocks: Blocks | None,
        timeout: float,
    ) -> Exchange:
        """Send a request and wait for its answer, as a socket with `timeout` seconds would. Raises OSError."""
        name = url.removeprefix("https://").split("/")[0].split(":")[0]
        exchange = Exchange(name, environ["PATH_INFO"], body)
        self.requests += 1
        target = self.machines.get(name)
        passes = (source.machine, name) not in self.cuts
        if target is None or (target.powered and not target.serving and passes):
            self.scheduler.sleep(self.delay())
            raise ConnectionRefusedError
        environ["wsgi.input"] = exchange.pipe = _Pipe(body)
        if blocks is None:
            exchange.pipe.end()
        deliver = self._delivery(source, target, exchange, environ)
        if passes and target.powered:
            self.scheduler.at(self.scheduler.now + self.delay(), deliver)
        elif self.scheduler.random.random() < 0.5 and blocks is None:
            self._late.append(((source.machine, name), deliver))
        outgoing = source.facts["exchanges"]
        outgoing[id(exchange)] = exchange
        try:
            if blocks is not None:
                self._stream(source, exchange, blocks, timeout)
            self._await(source, target, exchange, timeout)
        finally:
            outgoing.pop(id(exchange), None)
        if exchange.failure is not None:
            raise exchange.failure
        return exchange

    def _await(self, source: Process, target: Machine, exchange: Exchange, timeout: float) -> None:
        """Act as the real failure detector: do not wait for a silent program, unless it is the directory."""
        if exchange.over.wait(min(timeout, SILENT_SECONDS)):
            return
        if target.name != IRREPLACEABLE and self._is_silent(source, target):
            self.hung.found_silent(source.machine, exchange)
            raise ConnectionAbortedError
        if not exchange.over.wait(timeout - SILENT_SECONDS):
            raise TimeoutError

    def _is_silent(self, source: Process, target: Machine) -> bool:
        if not target.powered or {(source.machine, target.name), (target.name, source.machine)} & self.cuts:
            return True
        return target.process is not None and target.process.paused

    def _stream(self, source: Process, exchange: Exchange, blocks: Blocks, timeout: float) -> None:
        pipe = exchange.pipe
        assert pipe is not None
        try:
            for block in blocks:
                if exchange.over.is_set():
                    break  # it was answered before its end
                deadline = self.scheduler.now + timeout
                while (source.machine, exchange.target) in self.cuts or pipe.size > PIPE_BYTES:
                    if self.scheduler.now >= deadline:
                        raise TimeoutError
                    pipe.moved.clear()
                    pipe.moved.wait(0.25)
                    if exchange.over.is_set():
                        break
                pipe.put(bytes(block))
        finally:
            pipe.end()

    def _delivery(
        self, source: Process, target: Machine, exchange: Exchange, environ: dict[str, Any]
    ) -> Callable[[], None]:
        def arrive() -> None:
            process = target.process
            if process is None or not target.serving:
                if target.powered:
                    exchange.reset()
                return
            if self._happens(self.conditions.lost_requests):
                self.scheduler.note(f"lost request {source.machine}>{target.name} {environ['PATH_INFO'][:24]}")
                exchange.reset()
                return
            self.scheduler.spawn(process, f"serve {environ['PATH_INFO']}", lambda: serve(process))

        def serve(process: Process) -> None:
            incoming = process.facts["exchanges"]
            incoming[id(exchange)] = exchange
            if target.name == IRREPLACEABLE:
                self.hung.begins(source.machine, exchange)
            try:
                exchange.status, exchange.body = _ask(target.app, environ)
            except Exception as error:
                exchange.failure = ConnectionResetError(str(error))
            finally:
                incoming.pop(id(exchange), None)
            if target.name == IRREPLACEABLE:
                self.hung.ends(source.machine, exchange)
            self.scheduler.note(
                f"{source.machine}>{target.name} {environ['PATH_INFO'][:24]} {exchange.status} {len(exchange.body)}"
            )
            if (target.name, source.machine) in self.cuts:
                return
            if self._happens(self.conditions.lost_answers):
                if self.scheduler.random.random() < 0.5 and exchange.body:
                    exchange.cut_short = True
                else:
                    exchange.failure = ConnectionResetError()
                self.scheduler.note("lost answer")
            self.scheduler.at(self.scheduler.now + self.delay(), exchange.over.set)

        return arrive

    def _happens(self, likelihood: float) -> bool:
        return likelihood > 0 and self.scheduler.random.random() < likelihood


def _ask(app: Any, environ: dict[str, Any]) -> tuple[int, bytes]:
    begun: list[int] = []
    body = app(environ, lambda status, _headers, _exc_info=None: begun.append(int(status.split()[0])))
    return begun[0], b"".join(body)


class _Pipe:
    """A request's body on its way; ends early when it is cut, as in the real runner."""

    def __init__(self, body: bytes) -> None:
        self._blocks = deque([body] if body else [])
        self._ended = False
        self.size = len(body)
        self.moved = Event()

    def put(self, block: bytes) -> None:
        if block:
            self._blocks.append(block)
            self.size += len(block)
            self.moved.set()

    def end(self) -> None:
        self._ended = True
        self.moved.set()

    def read(self, count: int) -> bytes:
        while not self._blocks:
            if self._ended:
                return b""
            self.moved.clear()
            self.moved.wait()
        block = self._blocks.popleft()
        if len(block) > count:
            self._blocks.appendleft(block[count:])
            block = block[:count]
        self.size -= len(block)
        self.moved.set()
        return block


class SimulatedPeer:
    """`lockstep_store.runtime.peers.caller.PeerClient` for one process of the simulation."""

    def __init__(self, network: Network, process: Process, token: str, timeout: float = 10.0) -> None:
        self._network = network
        self._process = process
        self._token = token
        self._timeout = timeout

    def call(self, url: str, call: Call[Any, Any], request: Any, timeout: float | None = None) -> Any:
        with self.open(url, "POST", call.path, encode(request), timeout=timeout) as answer:
            body = answer.read_all(1 << 28)
        return call.decode_reply(body)

    def send_stream(
        self, url: str, path: str, headers: dict[str, str], blocks: Blocks, timeout: float | None = None
    ) -> bytes:
        return self._exchange(url, "POST", path, b"", headers, blocks, timeout).read_all(1 << 28)

    def open(
        self,
        url: str,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> SimulatedAnswer:
        return self._exchange(url, method, path, body, headers, None, timeout)

    def close(self) -> None:
        """Nothing is kept."""

    def _exchange(
        self,
        url: str,
        method: str,
        path: str,
        body: bytes,
        headers: dict[str, str] | None,
        blocks: Blocks | None,
        timeout: float | None,
    ) -> SimulatedAnswer:
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": ""}
        sent = {PEER_HEADER: self._token, REQUEST_ID_HEADER: request_id(), **(headers or {})}
        environ |= {"HTTP_" + name.upper().replace("-", "_"): value for name, value in sent.items() if value}
        if blocks is None:
            environ["CONTENT_LENGTH"] = str(len(body))
        seconds = self._timeout if timeout is None else timeout
        try:
            exchange = self._network.send(self._process, url, environ, body, blocks, seconds)
        except OSError as error:
            raise PeerUnreachable(f"{url} {_what_happened(error)}", url=url) from error
        answer = SimulatedAnswer(url, exchange)
        if exchange.status >= 300:
            raise from_problem(decode_problem(answer.read_all(1 << 24), exchange.status))
        return answer


class SimulatedAnswer:
    """`lockstep_store.runtime.peers.caller.PeerResponse`."""

    def __init__(self, url: str, exchange: Exchange) -> None:
        self._url = url
        self._body = exchange.body
        self._keep = len(self._body) // 2 if exchange.cut_short else -1
        self.status = exchange.status
        self.headers: dict[str, str] = {}
        self.length: int | None = len(self._body)
        if exchange.cut_short:
            self._body = self._body[: self._keep]

    def read(self, count: int) -> bytes:
        data, self._body = self._body[:count], self._body[count:]
        if not data and count and self._keep >= 0:
            raise PeerUnreachable(f"{self._url} cut its answer short")
        return data

    def read_all(self, limit: int) -> bytes:
        data = self.read(limit)
        if self._keep >= 0:
            raise PeerUnreachable(f"{self._url} cut its answer short")
        return data

    def close(self) -> None:
        """Nothing is kept."""

    def __enter__(self) -> SimulatedAnswer:
        return self

    def __exit__(self, *_: object) -> None:
        return


def _what_happened(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    return "refused the connection" if isinstance(error, ConnectionRefusedError) else "cut the connection"
