"""A person at a proxy, as tests need one: the HTTPS API with the answers unpacked, and documented retries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import requests

from tests.cluster.cluster_harness import ClusterHarness

RETRY_SECONDS = 90.0


class Person:
    """One client of proxy number `proxy` (from 1), the administrator unless a token is given."""

    def __init__(self, cluster: ClusterHarness, proxy: int = 1, token: str | None = None) -> None:
        self.url = cluster.proxy_urls[proxy - 1]
        self.session = cluster.session()
        if token is not None:
            del self.session.headers["X-Api-Key"]
            self.session.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request to `/api/v1` + path, whatever its answer."""
        options.setdefault("timeout", 60)
        return self.session.request(method, f"{self.url}/api/v1{path}", **options)

    def patiently(self, method: str, path: str, **options: Any) -> requests.Response:
        """The same, asked again while the answer is 503 or the connection is cut, as the documents tell clients to."""
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                answer = self.ask(method, path, **options)
                if answer.status_code != 503 or time.monotonic() > deadline:
                    return answer
            except requests.ConnectionError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def put(self, path: str, content: bytes, bucket: str = "files", **headers: str) -> dict[str, Any]:
        """Write a file; the committed answer. Headers are given as `X_Lockstep_Lock="3"`."""
        answer = self.patiently("PUT", file_path(bucket, path), data=content, headers=named(headers))
        assert answer.status_code in (200, 201), f"PUT {path}: {answer.status_code} {answer.text}"
        assert "2/2" in answer.headers["X-Lockstep-Copies"]
        return dict(answer.json())

    def get(self, path: str, bucket: str = "files") -> bytes:
        """A file's current content."""
        answer = self.patiently("GET", file_path(bucket, path))
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text[:300]}"
        return answer.content

    @contextmanager
    def lock(self, path: str, lease_seconds: float = 60.0) -> Iterator[int]:
        """Hold the lock on a path, waiting in line for it; gives the lock number. A write may have released it.

        A short lease may be over before anybody was told of the lock, on a machine that stands still for a moment:
        then the place in line is gone, and another one is taken.
        """
        body: dict[str, Any] = {"paths": [f"files/{path}"], "wait_seconds": 10, "lease_seconds": lease_seconds}
        deadline = time.monotonic() + 120
        while True:
            answer = self.patiently("POST", "/locks", json=body)
            if answer.status_code == 200:
                break
            assert time.monotonic() < deadline, f"no lock on {path} within two minutes: {answer.text}"
            if answer.status_code == 202:
                body["request_id"] = answer.json()["waiter"]["id"]
                continue
            assert answer.json()["code"] in ("locked", "lock_stale"), answer.text
            body.pop("request_id", None)
        lock = answer.json()["lock"]
        try:
            yield int(lock["number"])
        finally:
            self.patiently("DELETE", f"/locks/{lock['id']}")


def file_path(bucket: str, path: str) -> str:
    """The API's address of a file."""
    return f"/files/{bucket}/{quote(path, safe='/')}"


def named(headers: dict[str, str]) -> dict[str, str]:
    """Keyword arguments as header names."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


def new_token(cluster: ClusterHarness, name: str, password: str = "correct horse") -> str:
    """A bearer token of a person who may be new."""
    with Person(cluster) as person:
        answer = person.ask("POST", "/auth/login", json={"username": name, "password": password})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])
