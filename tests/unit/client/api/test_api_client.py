"""The client of the API: whom it trusts, what it tries again, and how refusals come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep_store.client.api.answers import WriteOptions, label
from lockstep_store.client.api.body import Body
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.api.transport import ApiTransport
from lockstep_store.wire.errors import (
    NotFound,
    NotLoggedIn,
    PeerUnreachable,
    PreconditionFailed,
    RateLimited,
    SetupError,
    Unavailable,
    Undecided,
)
from tests.fakes.rest import RestServer, make_identity
from tests.unit.people import client


def test_every_version_of_a_file_is_listed(server: RestServer, api: ApiCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with more versions than one answer holds is told whole, newest first."""
    monkeypatch.setattr("client_proxy.doors.rest.versions.MAX_LISTING", 3)
    made = [server.core.save("notes", f"{number}".encode()).version for number in range(7)]
    assert [one.version for one in api.versions("notes")] == made[::-1]


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:5000", "127.0.0.1:5000", "ftp://x", "https://"])
def test_only_an_https_address_is_accepted(url: str) -> None:
    """A password is never sent in the clear, whatever address was given."""
    with pytest.raises(SetupError, match="https://"):
        ApiTransport(url)


def test_the_environment_cannot_change_whom_we_trust(
    server: RestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REQUESTS_CA_BUNDLE and proxies of the environment are not looked at."""
    other = make_identity(tmp_path)
    for name, value in (
        ("REQUESTS_CA_BUNDLE", str(other.ca_file)),
        ("CURL_CA_BUNDLE", str(other.ca_file)),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ):
        monkeypatch.setenv(name, value)
    assert client(server).health().healthy


def test_another_authority_is_refused_at_once_and_in_words(server: RestServer, tmp_path: Path) -> None:
    """A certificate that the CA file does not vouch for ends the attempt before anything is sent."""
    other = make_identity(tmp_path)
    api = ApiCalls(ApiTransport(server.url, other.ca_file, sleep=lambda seconds: pytest.fail("tried again")))
    with pytest.raises(PeerUnreachable, match="does not trust"):
        api.login("ann", "secret")
    assert server.requests == []
    api.close()


def test_a_ca_file_without_a_certificate_is_named(server: RestServer, tmp_path: Path) -> None:
    """Another file in its place does not look like a lost connection, and is not tried again."""
    wrong = tmp_path / "setup.cfg"
    wrong.write_text("[metadata]\n")
    api = ApiCalls(ApiTransport(server.url, wrong, sleep=lambda seconds: pytest.fail("tried again")))
    with pytest.raises(SetupError, match=r"setup\.cfg has no certificate: name the cluster's ca\.pem with --ca"):
        api.login("ann", "secret")
    api.close()


def test_nobody_there_is_said_after_a_few_attempts(server: RestServer) -> None:
    """A proxy that does not run is reported in one sentence, after bounded attempts."""
    pauses: list[float] = []
    url = server.url
    api = ApiCalls(ApiTransport("https://127.0.0.1:1", server.ca_file, sleep=pauses.append))
    with pytest.raises(PeerUnreachable, match="does not answer"):
        api.login("ann", "secret")
    assert 1 <= len(pauses) <= 5
    assert url
    api.close()


@pytest.mark.parametrize("kind", ["refuse", "lose_answer"])
def test_reads_are_tried_again(server: RestServer, api: ApiCalls, kind: str) -> None:
    """A read that is cut or told "not now" is repeated, within bounds."""
    server.core.save("f", b"content")
    server.harm(kind, "HEAD", times=2)
    assert api.stat("f").size == 7
    server.harm("refuse", "HEAD", times=99)
    with pytest.raises(Unavailable):
        api.stat("f")


def test_a_delete_whose_answer_is_lost_is_not_repeated(server: RestServer, api: ApiCalls) -> None:
    """What cannot be repeated safely is left to the person."""
    server.core.save("f", b"content")
    server.harm("lose_answer", "DELETE")
    with pytest.raises(PeerUnreachable):
        api.delete("f")
    assert server.core.calls.count("delete") == 1


def test_a_proxy_that_waited_itself_is_not_waited_for_again_and_again(server: RestServer) -> None:
    """Each of its answers takes as long as it waits for the directory: a person hears of it after the second."""
    waited: list[float] = []
    transport = ApiTransport(
        server.url, server.ca_file, sleep=lambda _: None, monotonic=lambda: waited.append(8.0) or sum(waited)
    )
    server.harm("refuse", "GET", times=99)
    with pytest.raises(Unavailable):
        transport.request("GET", "/api/v1/health")
    assert [method for method, _ in server.requests] == ["GET", "GET"]
    transport.close()


@pytest.mark.parametrize(("refusal", "asked"), [(Undecided, 1), (Unavailable, 4)])
def test_what_may_have_been_done_is_not_asked_for_again(
    server: RestServer, api: ApiCalls, monkeypatch: pytest.MonkeyPatch, refusal: type[Unavailable], asked: int
) -> None:
    """A second attempt would find what the first one did, and tell the person that the file is not there."""
    calls: list[str] = []

    def refuse(*_: object, **options: object) -> None:
        calls.append("copy")
        raise refusal("the reply was lost: check before you try again")

    monkeypatch.setattr(server.core, "copy", refuse)
    with pytest.raises(refusal):
        api.move("a", "b")
    assert len(calls) == asked


@pytest.mark.parametrize(("seconds", "asked", "paused"), [(7, 4, [7, 7, 7]), (60, 1, [])])
def test_a_rate_limit_is_waited_for_if_that_is_short(
    server: RestServer, monkeypatch: pytest.MonkeyPatch, seconds: int, asked: int, paused: list[int]
) -> None:
    """Nothing was done, so any call is repeated after the time that the proxy names, or fails if that is long."""
    calls: list[str] = []
    pauses: list[float] = []

    def refuse(*_: object, **options: object) -> None:
        calls.append("copy")
        facts = {"retry_after": seconds, "policy": "write-key-minute", "limit": 1, "window_seconds": 60}
        raise RateLimited("too many writes", **facts)

    monkeypatch.setattr(server.core, "copy", refuse)
    api = ApiCalls(ApiTransport(server.url, server.ca_file, sleep=pauses.append, monotonic=lambda: 0.0))
    api.login("ann", "correct horse")
    with pytest.raises(RateLimited, match="too many writes") as refused:
        api.move("a", "b")
    assert (len(calls), pauses) == (asked, paused)
    assert refused.value.facts["retry_after"] == seconds
    api.close()


def test_refusals_come_back_as_their_classes(server: RestServer, api: ApiCalls) -> None:
    """A caller catches the class that the cluster raised, with its sentence."""
    with pytest.raises(NotFound, match=r"absent\.txt does not exist"):
        api.stat("absent.txt")
    server.core.save("f", b"x")
    with pytest.raises(PreconditionFailed, match="exists already"):
        api.put_body("f", Body([b"y"], 1), WriteOptions(if_none_match="*"))
    api.logout()
    with pytest.raises(NotLoggedIn):
        api.me()


def test_listings_come_page_by_page(server: RestServer, api: ApiCalls) -> None:
    """A listing longer than a page is complete and in order."""
    names = [f"n{index:04}" for index in range(1203)]
    for name in names:
        server.core.save(name, b"")
    assert [file.path for file in api.list()] == names
    assert len(list(api.list_pages())) == 2


@pytest.mark.parametrize("path", ["a b", "ü/🦊", "a%2Fb", "q?x=1#y", "a//b", "folder/", "~x", "+&=;,", "'\"<>"])
def test_every_name_is_kept_as_given(server: RestServer, api: ApiCalls, path: str) -> None:
    """What a URL would change is quoted, so that the name arrives as it is."""
    api.put_body(path, Body([b"content"], 7))
    assert server.core.content(path) == b"content"
    assert api.stat(path).size == 7


def test_names_are_shown_as_they_are_typed() -> None:
    """A file of the bucket `files` is its path; others, and paths with a colon, carry their bucket."""
    assert label("files", "a/b.txt") == "a/b.txt"
    assert label("files", "a:b") == "files:a:b"
    assert label("other", "x") == "other:x"
