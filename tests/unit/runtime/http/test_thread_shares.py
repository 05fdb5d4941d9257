"""Shares of threads: a bounded number of requests run, a bounded number wait, and the rest is refused at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lockstep_store.runtime.http.api import Api, RawReply, RawRequest
from lockstep_store.runtime.http.thread_shares import StreamPlace, ThreadShare
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.errors import Overloaded
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.people import WHO_AM_I, AccountInfo
from tests.fakes.wsgi import Answer, ask, request_environ
from tests.waiting import wait_until

CALLERS = ("client_proxy", "file_server")


def test_what_runs_and_what_waits_is_bounded() -> None:
    """With one running and one waiting, the next is refused; the waiting one runs when the first has left."""
    share = ThreadShare(1, 1, wait_seconds=600)
    share.enter()
    entered = threading.Event()

    def wait() -> None:
        share.enter()
        entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: share.in_line == 1)
    with pytest.raises(Overloaded, match="nothing was done"):
        share.enter()
    assert not entered.is_set()
    share.leave()
    waiting.join()
    assert entered.is_set()
    assert share.threads == 2


def test_nobody_waits_for_ever() -> None:
    """A request whose turn does not come is refused, and its place in the line is free for the next."""
    share = ThreadShare(1, 1, wait_seconds=0.001)
    share.enter()
    for _ in range(3):
        with pytest.raises(Overloaded):
            share.enter()
    share.leave()
    share.enter()


def test_a_streams_place_is_given_back_once() -> None:
    """The runner, the iterator and its end may all give it back."""
    share = ThreadShare(1, 0)
    share.enter()
    place = StreamPlace(share)
    assert place.held
    for _ in range(3):
        place.give_back()
        assert not place.held
    share.enter()
    with pytest.raises(Overloaded):
        share.enter()


@pytest.fixture
def share() -> ThreadShare:
    return ThreadShare(1, 0)


@pytest.fixture
def api(share: ThreadShare) -> Api:
    """A program whose routes are all of one share; the header names the caller's role."""
    api = Api("file_server", "1", lambda header: PeerIdentity(header, "1"), lambda path: share)

    def who(request: CredentialRequest, _: PeerIdentity) -> AccountInfo:
        if request.credential == "broken":
            raise RuntimeError
        return AccountInfo(request.credential, False, 0.0)

    def pieces() -> Iterator[bytes]:
        yield b"one"
        yield b"two"

    api.serve(WHO_AM_I, who, CALLERS)
    api.serve_raw("GET", "/whole", lambda request: RawReply(200, [], [b"whole"]), roles=CALLERS)
    api.serve_raw("GET", "/stream", lambda request: RawReply(200, [], pieces()), roles=CALLERS)
    api.serve_raw("GET", "/broken", _break, roles=CALLERS)
    return api


def _break(request: RawRequest) -> RawReply:
    raise RuntimeError


def _ask(api: Api, path: str, role: str = "client_proxy", method: str = "GET", body: bytes = b"") -> Answer:
    return ask(api, method, path, body, headers={"X-Lockstep-Peer": role})


def test_only_proxies_are_counted(api: Api, share: ThreadShare) -> None:
    """A full share refuses calls and streams of proxies with 503; other programs and pages do not notice."""
    share.enter()
    body = b'{"credential": "ann"}'
    for path, method in ((WHO_AM_I.path, "POST"), ("/whole", "GET"), ("/stream", "GET")):
        refused = _ask(api, path, method=method, body=body)
        assert (refused.status, refused.json["code"]) == (503, "overloaded")
        assert refused.headers["Retry-After"] == "1"
        assert _ask(api, path, "file_server", method, body).status == 200
    assert _ask(api, "/health").status == 200
    share.leave()
    assert _ask(api, "/whole").status == 200


def test_every_end_gives_the_thread_back(api: Api, share: ThreadShare) -> None:
    """Replies, failures, refused messages, and streams that are read or abandoned."""
    for _ in range(2):
        assert _ask(api, WHO_AM_I.path, method="POST", body=b'{"credential": "ann"}').status == 200
        assert _ask(api, WHO_AM_I.path, method="POST", body=b'{"credential": "broken"}').status == 500
        assert _ask(api, WHO_AM_I.path, method="POST", body=b"no json").status == 400
        assert _ask(api, "/whole").status == 200
        assert _ask(api, "/broken").status == 500
        assert _ask(api, "/stream").body == b"onetwo"
    environ = request_environ("GET", "/stream", headers={"X-Lockstep-Peer": "client_proxy"})
    abandoned = api(environ, lambda status, headers: None)
    assert next(iter(abandoned)) == b"one"
    assert _ask(api, "/whole").status == 503, "a streamed reply holds its thread"
    abandoned.close()  # type: ignore[attr-defined]
    assert _ask(api, "/whole").status == 200
