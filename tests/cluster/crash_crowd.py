"""A crowd that edits while programs die, and knows of every path what a read of it may give.

Every content tells which path and which of its writes it is, so a read is exactly one write's content or it is torn.
Edits are conditional on what the editor knows to be current: a write whose answer was lost can then not come true
after a later one was acknowledged, and what a path may be read as is a span of numbers.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import requests

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import file_path
from tests.waiting import PATIENCE_SECONDS

BUCKET = "scratch"
"""Keeps no old versions, so that there is garbage to collect."""
SMALL, FILE, STREAM, WINDOWS = 2_000, 150_000, 1_300_000, 17_000_000
"""In the index; in a file; more than a file server takes as a whole; more than a proxy holds at a time."""
REQUEST_SECONDS = 20.0
LATE_TRIES = 4
UNKNOWN = (500, 502, 503, 504)
"""Answers that do not say whether the write happened. (A 500 is counted besides: it should not be.)"""


def content(path: str, number: int, sizes: tuple[int, ...]) -> bytes:
    """Write number `number` of `path`."""
    size = sizes[number % len(sizes)]
    return f"{path} {number}\n".encode() + random.Random(f"{path} {number}").randbytes(size)


class EditedPath:
    """One path with one editor. It reads as a number from `floor` (known) to `highest` (attempted); 0: not there."""

    def __init__(self, name: str, sizes: tuple[int, ...]) -> None:
        self.name = name
        self.sizes = sizes
        self.floor = 0
        self.highest = 0
        self.tag = ""

    def number_in(self, body: bytes) -> int:
        """Which write `body` is; ValueError when it is not exactly one."""
        name, _, number = body.split(b"\n", 1)[0].partition(b" ")
        if name.decode("ascii", "replace") != self.name or body != content(self.name, int(number), self.sizes):
            raise ValueError(f"{len(body)} bytes read from {self.name} are no write's content: {body[:60]!r}")
        return int(number)


class Crowd:
    """Threads that edit, read, link, copy, move, delete and lock. `faults` must stay empty."""

    def __init__(self, cluster: ClusterHarness, rng: random.Random, editors: int = 3) -> None:
        self._cluster = cluster
        self._rng = rng
        self.faults: list[str] = []
        self.acknowledged = 0
        self.reads = 0
        self.torn = 0
        self.lost = 0
        self.edited = [EditedPath(f"edited-{n}", (SMALL, FILE, STREAM)) for n in range(editors)]
        self.large = EditedPath("large", (WINDOWS,))
        self.send_large = threading.Event()
        self.named: dict[str, set[bytes | None]] = {}
        self._highest_lock = 0
        self._rounds = itertools.count(1)
        self._stopping = threading.Event()
        self._turns: list[threading.Lock] = []
        self._threads: list[threading.Thread] = []
        with cluster.session() as session:
            session.post(f"{cluster.proxy_urls[0]}/api/v1/buckets", json={"name": BUCKET}).raise_for_status()

    def __enter__(self) -> Crowd:
        for path in self.edited:
            self._work(lambda ask, path=path: self._edit(ask, path))  # type: ignore[misc]
        self._work(self._edit_large)
        self._work(self._read)
        self._work(self._rename)
        self._work(self._lock)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Nobody is in the middle of anything."""
        with ExitStack() as stack:
            for turn in self._turns:
                stack.enter_context(turn)
            yield

    def check(self, recent: int = 60) -> None:
        """Read everything that the crowd knows of (of the named paths the latest) through every proxy."""
        with self.standing_still(), Asking(self._cluster, 0) as ask:
            for path in [*self.edited, *([self.large] if self.large.highest else [])]:
                self._check_edited(ask, path)
            for name in list(self.named)[-recent:]:
                for proxy in range(len(self._cluster.proxy_urls)):
                    answer = ask.patiently("GET", file_path(BUCKET, name), proxy)
                    body = answer.content if answer.status_code == 200 else None
                    if answer.status_code not in (200, 404) or body not in self.named[name]:
                        self.lost += 1
                        self.faults.append(
                            f"{name} through proxy {proxy + 1}: {answer.status_code} {body and body[:40]!r}"
                        )

    def _check_edited(self, ask: Asking, path: EditedPath) -> None:
        """The same through every proxy. An attempt whose answer was lost may come true in between: never backwards,
        and not again and again."""
        numbers: list[int] = []
        for _ in range(LATE_TRIES):
            numbers = [self._number(ask, path, proxy) for proxy in range(len(self._cluster.proxy_urls))]
            if len(set(numbers)) == 1:
                return
            if numbers != sorted(numbers):
                break
            time.sleep(1.0)
        self.faults.append(f"{path.name} is number {numbers} through the proxies, nobody writing")

    # ---- what each of them does -------------------------------------------------------------------------------

    def _work(self, step: Callable[[Asking], None]) -> None:
        turn = threading.Lock()
        number = len(self._threads)

        def run() -> None:
            with Asking(self._cluster, number) as ask:
                while not self._stopping.is_set():
                    with turn:
                        try:
                            step(ask)
                        except requests.RequestException:
                            pass  # its outcome is unknown; what may be read was noted before it was sent
                        except Exception as error:
                            self.faults.append(f"{error!r}")
                    time.sleep(0.02)

        self._turns.append(turn)
        self._threads.append(threading.Thread(target=run, name=f"crowd-{number}"))

    def _edit(self, ask: Asking, path: EditedPath) -> None:
        number = path.highest = path.highest + 1
        condition = {"If-Match": path.tag} if path.tag else {"If-None-Match": "*"}
        body = content(path.name, number, path.sizes)
        answer = ask("PUT", file_path(BUCKET, path.name), data=body, headers=condition)
        if answer.status_code in (200, 201):
            self._acknowledge(answer)
            path.floor, path.tag = number, answer.headers["ETag"]
        elif answer.status_code == 412:  # an attempt whose answer was lost has come true
            found = ask.patiently("GET", file_path(BUCKET, path.name), 0)
            if found.status_code == 200:
                read = path.number_in(found.content)
                if not path.floor < read < number:
                    self.lost += 1
                    self.faults.append(f"{path.name} is number {read}, known was {path.floor}")
                path.floor, path.tag = read, found.headers["ETag"]
            else:
                self.lost += bool(path.floor)
                self.faults.append(
                    f"{path.name} is {found.status_code} when a condition on it fails: {found.text[:200]}"
                )
        else:
            self._expect(answer, UNKNOWN)

    def _edit_large(self, ask: Asking) -> None:
        if self.send_large.wait(0.2):
            self._edit(ask, self.large)

    def _read(self, ask: Asking) -> None:
        path = random.choice(self.edited)
        floor = path.floor
        answer = ask("GET", file_path(BUCKET, path.name))
        if answer.status_code == 200:
            self._judge(path, floor, answer.content)
        elif answer.status_code == 404 and floor:
            self.lost += 1
            self.faults.append(f"{path.name} is not found, known was number {floor}")
        else:
            self._expect(answer, (404, *UNKNOWN))

    def _number(self, ask: Asking, path: EditedPath, proxy: int) -> int:
        floor = path.floor
        answer = ask.patiently("GET", file_path(BUCKET, path.name), proxy)
        if answer.status_code == 200:
            return self._judge(path, floor, answer.content)
        if floor:
            self.lost += 1
            self.faults.append(f"{path.name} is {answer.status_code}, known was number {floor}: {answer.text[:200]}")
        return 0

    def _judge(self, path: EditedPath, floor: int, body: bytes) -> int:
        self.reads += 1
        try:
            number = path.number_in(body)
        except ValueError as error:
            self.torn += 1
            self.faults.append(str(error))
            return -1
        if not floor <= number <= path.highest:
            self.lost += 1
            self.faults.append(f"{path.name} reads as number {number}, known was {floor}")
        return number

    def _rename(self, ask: Asking) -> None:
        """Write, write the same content elsewhere (which links it), copy, move, delete: names of this round only."""
        round_number = next(self._rounds)
        names = [f"named-{round_number}-{what}" for what in ("first", "linked", "copied", "moved")]
        first, linked, copied, moved = names
        body = content(first, round_number, (FILE, STREAM))  # new names, so every file server is a master at times
        for name in (first, linked):
            if not self._named(ask, {name: body}, "PUT", file_path(BUCKET, name), data=body):
                return
        for source, target, move in ((first, copied, False), (copied, moved, True)):
            outcome: dict[str, bytes | None] = {target: body, **({source: None} if move else {})}
            wish = {"source": {"bucket": BUCKET, "path": source}, "bucket": BUCKET, "path": target, "move": move}
            if not self._named(ask, outcome, "POST", "/copy", json=wish):
                return
        self._named(ask, {first: None}, "DELETE", file_path(BUCKET, first))

    def _named(self, ask: Asking, outcome: dict[str, bytes | None], method: str, path: str, **options: object) -> bool:
        """Make one request that gives these names these contents; whether it was acknowledged."""
        for name, body in outcome.items():
            self.named.setdefault(name, {None}).add(body)
        answer = ask(method, path, **options)
        if answer.status_code not in (200, 201, 204):
            self._expect(answer, UNKNOWN)
            return False
        self._acknowledge(answer if method == "PUT" else None)
        for name, body in outcome.items():
            self.named[name] = {body}
        return True

    def _lock(self, ask: Asking) -> None:
        round_number = next(self._rounds)
        name = f"locked-{round_number}"
        answer = ask("POST", "/locks", json={"paths": [f"{BUCKET}/{name}"], "lease_seconds": 30})
        if answer.status_code != 200:
            self._expect(answer, UNKNOWN)
            return
        lock = answer.json()["lock"]
        if lock["number"] <= self._highest_lock:
            self.faults.append(f"lock number {lock['number']} after {self._highest_lock}")
        self._highest_lock = lock["number"]
        self._expect(ask("PUT", f"/locks/{lock['id']}", json={"lease_seconds": 30}), (200, *UNKNOWN))
        headers = {"X-Lockstep-Lock": str(lock["number"])}
        body = content(name, 1, (SMALL,))
        self._named(ask, {name: body}, "PUT", file_path(BUCKET, name), data=body, headers=headers)
        way = "?break=true" if round_number % 2 else ""
        self._expect(ask("DELETE", f"/locks/{lock['id']}{way}"), (200, 204, 404, *UNKNOWN))

    def _acknowledge(self, answer: requests.Response | None) -> None:
        self.acknowledged += 1
        if answer is not None and "2/2" not in answer.headers["X-Lockstep-Copies"]:
            self.faults.append(f"acknowledged with copies {answer.headers['X-Lockstep-Copies']}")

    def _expect(self, answer: requests.Response, statuses: tuple[int, ...]) -> None:
        if answer.status_code not in statuses or answer.status_code == 500:
            self.faults.append(f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:300]}")


class Asking:
    """One member's connections: each request goes to the proxy after the last one's."""

    def __init__(self, cluster: ClusterHarness, first: int) -> None:
        self._urls = cluster.proxy_urls
        self._sessions = [cluster.session() for _ in self._urls]
        self._next = first

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._sessions:
            session.close()

    def __call__(self, method: str, path: str, proxy: int | None = None, **options: object) -> requests.Response:
        self._next += 1
        which = self._next % len(self._urls) if proxy is None else proxy
        options.setdefault("timeout", REQUEST_SECONDS)
        url = f"{self._urls[which]}/api/v1{path}"
        return self._sessions[which].request(method, url, **options)  # type: ignore[arg-type]

    def patiently(self, method: str, path: str, proxy: int, seconds: float = PATIENCE_SECONDS) -> requests.Response:
        """Again while nothing answers or the answer says to try again."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(requests.RequestException):
                answer = self(method, path, proxy)
                if answer.status_code not in UNKNOWN or time.monotonic() > deadline:
                    return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"{method} {path} through proxy {proxy + 1}: no answer in {seconds:g} s")
            time.sleep(0.05)
