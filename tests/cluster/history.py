"""Concurrent people at several proxies, and the record of what each asked and was told, for the judge of histories.

Every person reads, writes, writes under conditions, deletes, and takes, uses, renews and gives back locks, over a
handful of paths. What went wrong on the way counts as unknown, never as failed; a refusal counts as the promise that
nothing was done. Times are the test's own monotonic clock.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import requests

from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.manifest import Manifest
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import file_path
from tests.linearizability import ABSENT, Operation, Outcome, check
from tests.waiting import wait_until

PATIENCE_SECONDS = 2.5
LEASES = (1.0, 1.0, 1.5, 2.0)
SIZES = ((20, 200), (20, 200), (20, 200), (20, 200), (20_000, 300_000), (1_100_000, 2_500_000))
CALM_SECONDS = 90.0
THINK_SECONDS = 0.01

_OUTCOMES = {412: Outcome.CONDITION_FALSE, 423: Outcome.FAILED, 409: Outcome.FAILED, 404: Outcome.FAILED}
"""What an answer other than success says about a change."""


def content_digest(content: bytes) -> str:
    """The digest, in hex, that the cluster must give `content`."""
    return Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(content)).digest.hex()


class Traffic:
    """`clients` people at work on `paths`, each through any of the proxies, for as long as operations are allowed.

    Use it as a context manager. `problems` are answers that no rule allows; tests look that there are none.
    """

    def __init__(self, cluster: ClusterHarness, seed: int, *, clients: int = 8, paths: int = 4) -> None:
        self.cluster = cluster
        self.paths = [f"history-{seed}/{number}" for number in range(paths)]
        self.history: list[Operation] = []
        self.problems: list[str] = []
        self.permits = threading.Semaphore(0)
        self.stopping = threading.Event()
        self._guard = threading.Lock()
        self._allowed = 0
        self._clients = [Client(self, f"c{number}", random.Random(f"{seed}:{number}")) for number in range(clients)]

    def __enter__(self) -> Traffic:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for client in self._clients:
            client.join()
            for session in client.sessions:
                session.close()

    def record(self, operation: Operation) -> None:
        with self._guard:
            self.history.append(operation)

    def allow(self, operations: int) -> None:
        """Let the people make this many more operations."""
        self._allowed += operations
        self.permits.release(operations)

    def keep_busy(self) -> None:
        """Let the people make a few more once they have made all that they may: somebody waits for what they do."""
        if len(self.history) >= self._allowed:
            self.allow(5)

    def told(self) -> int:
        """Operations so far whose effect is known."""
        with self._guard:
            return sum(operation.outcome is not Outcome.UNKNOWN for operation in self.history)

    def done(self) -> int:
        """Operations so far that did what was asked."""
        with self._guard:
            return sum(operation.outcome is Outcome.OK for operation in self.history)

    def calm(self, operations: int, at_least: int) -> int:
        """Let this many operations pass with nothing wrong; how many were done, at least `at_least`.

        More are allowed while too few succeed: the first ones after a fault may still meet its consequences.
        """
        before, deadline = self.done(), time.monotonic() + CALM_SECONDS
        self.allow(operations)
        while len(self.history) < self._allowed or self.done() - before < at_least:
            assert time.monotonic() < deadline, (
                f"{self.done() - before} of {at_least} operations were done in {CALM_SECONDS:g} s without a fault: "
                + "; ".join(str(operation) for operation in self.history[-8:])
            )
            self.keep_busy()
            time.sleep(0.02)
        return self.done() - before

    def read_everything(self) -> None:
        """What everyone can see in the end, through every proxy, is a part of the history."""
        self.stopping.set()
        for client in self._clients:
            client.join()
        reader = self._clients[0]
        for path in self.paths:
            for proxy in range(len(reader.sessions)):
                wait_until(lambda path=path, proxy=proxy: reader.read(path, proxy), CALM_SECONDS, f"a read of {path}")

    def outcomes(self) -> Counter[str]:
        """How many operations ended in which way."""
        return Counter(operation.outcome.value for operation in self.history)


class Client(threading.Thread):
    """One person. What it remembers: the last digest seen of each path, the locks it holds, what it wrote."""

    def __init__(self, traffic: Traffic, name: str, rng: random.Random) -> None:
        super().__init__(name=name, daemon=True)
        self.traffic, self.rng = traffic, rng
        self.urls = traffic.cluster.proxy_urls
        self.sessions = [traffic.cluster.session() for _ in self.urls]
        self.seen: dict[str, str] = {}
        self.versions: dict[str, str] = {}  # of what was read, for copies
        self.read_as: dict[str, str] = {}  # version: the digest it was read with
        self.locks: dict[str, int] = {}
        self.leases: dict[int, float] = {}
        self.written: list[bytes] = []
        self.count = 0

    def run(self) -> None:
        while not self.traffic.stopping.is_set():
            if self.traffic.permits.acquire(timeout=0.05):
                self.step()
                time.sleep(self.rng.random() * THINK_SECONDS)

    def step(self) -> None:
        """One operation by chance; those of a lock's holder are mostly what the lock is for."""
        path = self.rng.choice(self.traffic.paths)
        if path in self.locks and self.rng.random() < 0.7:
            self.rng.choice((self.write_locked, self.write_locked, self.write_and_release, self.renew, self.release))(
                path
            )
            return
        actions = (self.read, self.write, self.write_if_same, self.create, self.copy, self.delete, self.acquire)
        self.rng.choices((*actions, self.take_away), (40, 14, 14, 10, 5, 7, 10, 1))[0](path)

    # ------------------------------------------------------------ one call

    def _ask(
        self, method: str, address: str, proxy: int | None = None, **options: Any
    ) -> tuple[float, float, requests.Response | None]:
        """When it was called, when it was answered, and the answer; None when none came or a program was away."""
        proxy = self.rng.randrange(len(self.urls)) if proxy is None else proxy
        url = f"{self.urls[proxy]}/api/v1{address}"
        called = time.monotonic()
        answer: requests.Response | None
        try:
            answer = self.sessions[proxy].request(method, url, timeout=PATIENCE_SECONDS, **options)
        except requests.RequestException:
            answer = None
        returned = time.monotonic()
        if answer is not None and answer.status_code == 500:
            self.traffic.problems.append(f"{method} {address}: {answer.text[:300]}")  # a defect, whatever happened
        return called, returned, answer if answer is not None and answer.status_code < 500 else None

    def _record(
        self, kind: str, path: str, asked: tuple[float, float, requests.Response | None], good: int | tuple[int, ...],
        **facts: Any,
    ) -> bool:  # fmt: skip
        """Write down how it ended; whether it was done."""
        called, returned, answer = asked
        outcome, note = Outcome.UNKNOWN, ""
        if answer is not None:
            done = answer.status_code in (good if isinstance(good, tuple) else (good,))
            outcome = Outcome.OK if done else _OUTCOMES.get(answer.status_code, Outcome.UNKNOWN)
            if not done:
                note = str(answer.status_code)
                if answer.status_code not in _OUTCOMES:
                    self.traffic.problems.append(f"{kind} {path}: {answer.status_code} {answer.text[:300]}")
        self.traffic.record(Operation(self.name, kind, path, called, returned, outcome, note=note, **facts))
        return outcome is Outcome.OK

    # ------------------------------------------------------------ files

    def read(self, path: str, proxy: int | None = None) -> bool:
        called, returned, answer = asked = self._ask("GET", file_path("files", path), proxy)
        if answer is None or answer.status_code not in (200, 404):
            return self._record("read", path, asked, 200)
        value = None
        if answer.status_code == 200:
            value = content_digest(answer.content)
            if answer.headers["ETag"].strip('"') != value:
                self.traffic.problems.append(f"read {path}: {value} was served as {answer.headers['ETag']}")
            self.seen[path] = value
            self.versions[path] = version = answer.headers["X-Lockstep-Version"]
            self.read_as[version] = value
        self.traffic.record(Operation(self.name, "read", path, called, returned, Outcome.OK, value))
        return True

    def write(self, path: str) -> bool:
        return self._write(path)

    def write_if_same(self, path: str) -> bool:
        """On condition that the file is still what this person saw last."""
        seen = self.seen.get(path)
        return self.read(path) if seen is None else self._write(path, seen, **{"If-Match": f'"{seen}"'})

    def create(self, path: str) -> bool:
        return self._write(path, ABSENT, **{"If-None-Match": "*"})

    def _write(
        self, path: str, condition: str | None = None, number: int = 0, releases: bool = False, **headers: str
    ) -> bool:
        content = self._content()
        value = content_digest(content)
        asked = self._ask("PUT", file_path("files", path), data=content, headers=headers)
        facts = {"value": value, "condition": condition, "lock_number": number, "releases": releases}
        if not self._record("write", path, asked, (200, 201), **facts):
            return False
        self.seen[path] = value
        return True

    def copy(self, path: str) -> bool:
        """One version of a path that this person has read, onto another path, if it is still there."""
        sources = [source for source in self.versions if source != path]
        if not sources:
            return self.read(path)
        source = self.rng.choice(sources)
        version = self.versions[source]
        body = {
            "source": {"bucket": "files", "path": source, "version": version},
            "bucket": "files",
            "path": path,
        }
        asked = self._ask("POST", "/copy", json=body)
        return self._record("write", path, asked, (200, 201), value=self.read_as[version])

    def _content(self) -> bytes:
        """Mostly new bytes; now and then what was written before, which is linked instead of sent."""
        if self.written and self.rng.random() < 0.06:
            return self.rng.choice(self.written)
        self.count += 1
        content = f"{self.name} {self.count} ".encode() + self.rng.randbytes(self.rng.randint(*self.rng.choice(SIZES)))
        if len(content) < 1000:
            self.written.append(content)
        return content

    def delete(self, path: str) -> bool:
        seen = self.seen.get(path) if self.rng.random() < 0.5 else None
        headers = {} if seen is None else {"If-Match": f'"{seen}"'}
        called, returned, answer = asked = self._ask("DELETE", file_path("files", path), headers=headers)
        if answer is not None and answer.status_code == 200 and not answer.json()["existed"]:
            self.traffic.record(Operation(self.name, "delete", path, called, returned, Outcome.MISSING))
            return True
        return self._record("delete", path, asked, 200, condition=seen)

    # ------------------------------------------------------------ locks

    def acquire(self, path: str) -> bool:
        lease = self.rng.choice(LEASES)
        body = {"paths": [f"files/{path}"], "lease_seconds": lease, "queue": False}
        asked = self._ask("POST", "/locks", json=body)
        answer = asked[2]
        number = answer.json()["lock"]["number"] if answer is not None and answer.status_code == 200 else 0
        if number:
            self.locks[path] = number
            self.leases[number] = lease
        return self._record("acquire", path, asked, 200, lock_number=number, lease=lease)

    def write_locked(self, path: str) -> bool:
        """Under a lock whose lease may be over: then it has to be refused."""
        number = self.locks[path]
        done = self._write(path, number=number, **{"X-Lockstep-Lock": str(number)})
        if not done and self.rng.random() < 0.3:
            self.locks.pop(path)
        return done

    def write_and_release(self, path: str) -> bool:
        number = self.locks.pop(path)
        headers = {"X-Lockstep-Lock": str(number), "X-Lockstep-Release-Lock": "true"}
        return self._write(path, number=number, releases=True, **headers)

    def renew(self, path: str) -> bool:
        """As long as before: a shorter lease would be allowed too, and would say nothing about when the lock ends."""
        number = self.locks[path]
        lease = self.leases[number]
        asked = self._ask("PUT", f"/locks/lock-{number}")
        return self._record("renew", path, asked, 200, lock_number=number, lease=lease)

    def release(self, path: str) -> bool:
        number = self.locks.pop(path)
        return self._record("release", path, self._ask("DELETE", f"/locks/lock-{number}"), 204, lock_number=number)

    def take_away(self, path: str) -> bool:
        """What an administrator may do to whoever holds the lock."""
        holders = [client.locks[path] for client in self.traffic._clients if path in client.locks]
        if not holders:
            return self.read(path)
        number = self.rng.choice(holders)
        asked = self._ask("DELETE", f"/locks/lock-{number}?break=true")
        # Told that it is gone, nothing was broken; told that it was done, just this lock was: as by its holder.
        return self._record("release", path, asked, 204, lock_number=number)


def save_history(history: list[Operation], folder: Path, seed: int) -> Path:
    """Keep a history for another look; see `recheck`."""
    file = folder / f"history-{seed}.json"
    rows = [{**asdict(operation), "outcome": operation.outcome.value} for operation in history]
    file.write_text(json.dumps(rows))
    return file


def load_history(file: Path) -> list[Operation]:
    """A history that `save_history` kept."""
    return [Operation(**{**row, "outcome": Outcome(row["outcome"])}) for row in json.loads(file.read_text())]


def judge(traffic: Traffic, folder: Path, seed: int) -> None:
    """Fail the test, with the history kept, when something was told that cannot be true."""
    violation = check(traffic.history)
    if violation is None and not traffic.problems:
        return
    file = save_history(traffic.history, folder, seed)
    again = f"python -c \"from tests.cluster.history import *; print(check(load_history(Path('{file}'))))\""
    raise AssertionError(
        "\n".join([*traffic.problems[:5], str(violation or "linearizable"), f"kept in {file}; to look again:", again])
    )
