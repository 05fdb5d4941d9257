"""The door as a whole: what it says before a log-in, whom it lets see what, and methods that it does not have."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest

from client_proxy.core.requests import Write
from tests.fakes.webdav import DavPerson, DavRig, header, hrefs, message
from tests.fakes.wsgi import ask

METHODS = ("GET", "HEAD", "PUT", "DELETE", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK")


def test_options_says_what_there_is_without_a_log_in(rig: DavRig) -> None:
    answer = ask(rig.door, "OPTIONS", "/dav/anything")
    assert answer.status == 200
    assert header(answer, "DAV") == "1, 2, 3"
    assert set(METHODS) < set(header(answer, "Allow").split(", "))


def test_no_other_site_s_page_may_ask(olga: DavPerson, bucket: str) -> None:
    """A browser asks first, and no reply allows it; a form, which it sends without asking, does nothing."""
    asked = olga.ask("OPTIONS", f"{bucket}/a", Origin="https://elsewhere", Access_Control_Request_Method="PUT")
    assert not any(name.lower().startswith("access-control") for name in asked.headers)
    assert olga.ask("POST", f"{bucket}/a", b"x").status == 405
    assert olga.names(f"{bucket}/") == []


@pytest.mark.parametrize("method", METHODS)
def test_every_other_method_needs_a_log_in(rig: DavRig, method: str, bucket: str) -> None:
    for path in ("/dav/", f"/dav{bucket}/file", "/dav/no-such-bucket/file"):
        answer = ask(rig.door, method, path)
        assert answer.status == 401
        assert header(answer, "WWW-Authenticate") == 'Basic realm="lockstep", charset="UTF-8"'


def test_the_root_lists_the_buckets_that_one_may_see(olga: DavPerson, eve: DavPerson, bucket: str) -> None:
    assert f"/dav{bucket}/" in olga.names("/")
    assert f"/dav{bucket}/" not in eve.names("/")
    assert hrefs(eve.ask("PROPFIND", "", Depth="0")) == ["/dav/"]


@pytest.mark.parametrize("method", METHODS)
def test_without_rights_nothing_is_shown(olga: DavPerson, eve: DavPerson, bucket: str, method: str) -> None:
    """A file that is there and one that is not get the same refusal, and nothing changes."""
    olga.put(f"{bucket}/secret", b"what olga wrote")
    headers = {"Destination": f"/dav{bucket}/elsewhere", "Depth": "0"}
    if method in ("MOVE", "DELETE"):
        del headers["Depth"]
    there, missing = (eve.ask(method, f"{bucket}/{name}", **headers) for name in ("secret", "missing"))
    assert there.status in (400, 403, 404), there.body
    assert there.status == missing.status
    assert there.body.replace(b"secret", b"missing") == missing.body.replace(b"secret", b"missing")
    assert b"what olga wrote" not in there.body
    assert olga.names(f"{bucket}/") == [f"/dav{bucket}/secret"]


def test_an_unknown_method_is_refused(olga: DavPerson, bucket: str) -> None:
    answer = olga.ask("REPORT", f"{bucket}/")
    assert answer.status == 405
    assert "PROPFIND" in header(answer, "Allow")


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/Not_A_Bucket/x", "bucket name"),
        ("{bucket}/a/../b", "'..'"),
        ("{bucket}/a//b", "two slashes"),
        ("{bucket}/%ff", "UTF-8"),
        ("{bucket}/a%01", "control character"),
    ],
)
def test_names_that_there_cannot_be_are_explained(olga: DavPerson, bucket: str, path: str, word: str) -> None:
    answer = olga.put(path.format(bucket=bucket))
    assert answer.status == 400
    assert word in message(answer)


@pytest.mark.parametrize(
    "name", ["sp ace+plus", "100%", "q?h#", "Grüße/日本語", "a&b<c>'\"", "semi;colon:@", "e\u0301"]
)
def test_odd_names_go_both_ways(olga: DavPerson, bucket: str, name: str) -> None:
    folder = name.partition("/")[0]
    if "/" in name:
        assert olga.ask("MKCOL", f"{bucket}/{quote(folder)}").status == 201
    assert olga.put(f"{bucket}/{quote(name)}", name.encode()).status == 201
    assert olga.api("GET", f"/files{bucket}/{quote(name)}").body == name.encode()
    (found,) = olga.names(f"{bucket}/")
    assert unquote(found).rstrip("/") == f"/dav{bucket}/{folder}"
    assert olga.get(f"{bucket}/{quote(name)}").body == name.encode()


def test_names_that_only_s3_can_say_are_left_out_of_listings(olga: DavPerson, bucket: str, rig: DavRig) -> None:
    credential = olga.api_headers["Authorization"].removeprefix("Bearer ")
    for path in ("fine", "a//b", "../up", "/root"):
        rig.files.write(Write(credential, bucket[1:], path, size=1), [b"x"])
    assert olga.names(f"{bucket}/") == [f"/dav{bucket}/a/", f"/dav{bucket}/fine"]
    assert olga.names(f"{bucket}/a/") == []
