"""Refusals of clients that are over their rate limit come late, and wait without a thread."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lockstep_store.runtime.http import late_replies
from lockstep_store.runtime.http.late_replies import LateReplies
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.tls.contexts import people_context
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from tests.fakes.lasting_ports import lasting_ports
from tests.waiting import wait_until

THREADS = 4
HELD = 3 * THREADS
FOR_EVER = 1000.0


def _app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    """The path's first word is the status; `limited` makes it the reply to a request that a limit counted."""
    status, _, kind = environ["PATH_INFO"][1:].partition("/")
    limit = [("RateLimit", '"login";r=0;t=9')] if kind == "limited" else []
    start(f"{status} -", [("Content-Length", "4"), *limit])
    return [b"text"]


class Served(NamedTuple):
    service: Service
    port: int
    context: ssl.SSLContext

    @property
    def late(self) -> LateReplies:
        assert self.service._exchanges is not None
        return self.service._exchanges.late

    def ask(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.context)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    ensure_authority(tmp_path)
    identity = ensure_identity(tmp_path, "client_proxy", "1")
    (port,) = lasting_ports(1)
    files = {"cert_file": identity.cert_file, "key_file": identity.key_file}
    service = Service(_app, host="127.0.0.1", port=port, threads=THREADS, **files).start()
    yield Served(service, port, people_context(identity.ca_file))
    service.stop()


def test_refused_clients_wait_without_a_thread(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """With three times as many held as there are threads, others are answered; all get their refusal in the end."""
    monkeypatch.setattr(late_replies, "HOLD_SECONDS", FOR_EVER)
    answers: list[tuple[int, bytes]] = []
    paths = [f"/{status}/limited" for status in (429, 503)] * (HELD // 2)
    threads = [threading.Thread(target=lambda path=path: answers.append(served.ask(path))) for path in paths]
    for thread in threads:
        thread.start()
    wait_until(lambda: served.late.held == HELD)
    for path in ("/200/limited", "/404/limited", "/429/", "/503/"):
        assert served.ask(path) == (int(path[1:4]), b"text"), "nobody else is held"
    assert answers == []
    served.service.stop()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [(429, b"text")] * (HELD // 2) + [(503, b"text")] * (HELD // 2)


def test_a_refusal_comes_by_itself(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment, on a connection that stays good."""
    monkeypatch.setattr(late_replies, "HOLD_SECONDS", 0.01)
    connection = http.client.HTTPSConnection("127.0.0.1", served.port, timeout=60, context=served.context)
    for path in ("/429/limited", "/200/", "/429/limited"):
        connection.request("GET", path)
        assert connection.getresponse().read() == b"text"
    connection.close()


def test_what_is_held_is_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a refusal is sent at once, as if nothing were held."""
    monkeypatch.setattr(late_replies, "HOLD_SECONDS", FOR_EVER)
    monkeypatch.setattr(late_replies, "MAX_HELD", 0)
    assert served.ask("/429/limited") == (429, b"text")


def test_one_that_cannot_be_sent_stops_no_other() -> None:
    """A client may have left meanwhile."""
    late, sent = LateReplies(), threading.Event()
    late.start()
    assert late.hold(lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    assert late.hold(sent.set)
    late.stop()
    assert sent.is_set()
    assert not late.hold(sent.set), "a stopped service holds nothing"
    LateReplies().stop()
