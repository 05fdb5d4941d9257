"""Files at the WebDAV door: written and read as they are, with conditions and ranges."""

from __future__ import annotations

import pytest

from tests.fakes.webdav import DavPerson, DavRig, header, message


def test_a_file_is_the_same_at_every_door(olga: DavPerson, bucket: str) -> None:
    made = olga.put(f"{bucket}/a.txt", b"from a desktop", Content_Type="text/plain")
    assert (made.status, made.body) == (201, b"")
    assert olga.api("GET", f"/files{bucket}/a.txt").body == b"from a desktop"
    assert olga.api("PUT", f"/files{bucket}/a.txt", b"from the API").status == 200
    answer = olga.get(f"{bucket}/a.txt")
    assert answer.body == b"from the API"
    assert header(answer, "ETag") != header(made, "ETag")
    assert header(answer, "Content-Security-Policy") == "sandbox"
    assert header(answer, "Content-Disposition") == "attachment"
    assert olga.put(f"{bucket}/a.txt", b"again").status == 204


def test_head_and_propfind_say_what_get_says(olga: DavPerson, bucket: str) -> None:
    olga.put(f"{bucket}/a.bin", b"12345")
    got, head = olga.get(f"{bucket}/a.bin"), olga.ask("HEAD", f"{bucket}/a.bin")
    assert head.body == b""
    for name in ("ETag", "Content-Length", "Last-Modified", "Content-Type"):
        assert header(head, name) == header(got, name) != ""
    assert olga.property(f"{bucket}/a.bin", "getetag") == header(got, "ETag")
    assert olga.property(f"{bucket}/a.bin", "getcontentlength") == "5"
    assert olga.property(f"{bucket}/a.bin", "getlastmodified") == header(got, "Last-Modified")


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [("bytes=2-4", 206, b"234"), ("bytes=-3", 206, b"789"), ("bytes=7-", 206, b"789"), ("bytes=20-", 416, None)],
)
def test_ranges(olga: DavPerson, bucket: str, asked: str, status: int, body: bytes | None) -> None:
    olga.put(f"{bucket}/digits", b"0123456789")
    answer = olga.get(f"{bucket}/digits", Range=asked)
    assert answer.status == status
    assert body is None or answer.body == body
    assert header(answer, "Content-Range").endswith("/10")


def test_conditions_are_judged_at_the_commit(olga: DavPerson, bucket: str) -> None:
    path = f"{bucket}/a"
    first = header(olga.put(path, b"1", If_None_Match="*"), "ETag")
    assert olga.put(path, b"2", If_None_Match="*").status == 412
    second = header(olga.put(path, b"2", If_Match=first), "ETag")
    assert olga.put(path, b"3", If_Match=first).status == 412
    assert olga.ask("DELETE", path, If_Match=first).status == 412
    assert olga.put(path, b"3", If=f"([{first}])").status == 412
    assert olga.put(path, b"3", If=f"([{first}]) ([{second}])").status == 204
    assert olga.get(path, If_None_Match=second).status == 200
    assert olga.get(path, If_None_Match=header(olga.get(path), "ETag")).status == 304
    assert olga.get(path).body == b"3"


def test_a_folder_must_exist_before_something_is_put_into_it(olga: DavPerson, bucket: str) -> None:
    answer = olga.put(f"{bucket}/no/such/file")
    assert answer.status == 409
    assert "create it first" in message(answer)
    assert olga.put("/no-such-bucket/file").status in (404, 409)
    assert olga.put(f"{bucket}/folder/").status == 405


def test_uploads_in_chunks_arrive_whole(olga: DavPerson, bucket: str) -> None:
    """The Finder sends no length, but says what it will be."""
    body = bytes(range(256)) * 5000
    sent = olga.put(f"{bucket}/a", body, chunked="yes", X_Expected_Entity_Length=str(len(body)))
    assert sent.status == 201
    assert olga.get(f"{bucket}/a").body == body
    short = olga.put(f"{bucket}/a", body[:-1], chunked="yes", X_Expected_Entity_Length=str(len(body)))
    assert short.status == 400
    assert "nothing was stored" in message(short)
    assert olga.put(f"{bucket}/a", body[:-1], chunked="yes").status == 204
    assert olga.get(f"{bucket}/a").body == body[:-1]


def test_a_part_of_a_file_cannot_be_written(olga: DavPerson, bucket: str) -> None:
    olga.put(f"{bucket}/a", b"whole")
    answer = olga.put(f"{bucket}/a", b"part", Content_Range="bytes 0-3/5")
    assert answer.status == 400
    assert olga.get(f"{bucket}/a").body == b"whole"


def test_the_door_is_another_way_to_the_same_quota(rig: DavRig, bucket: str, olga: DavPerson) -> None:
    """A full bucket is 507, and a client that asks sees how much is left."""
    name = bucket[1:]
    set_to = rig.cluster.ask("PATCH", f"/quotas/buckets/{name}", b'{"quotas": {"bytes": 1000}}')
    assert set_to.status == 200, set_to.body
    olga.put(f"{bucket}/a", b"x" * 400)
    assert olga.property(f"{bucket}/", "quota-used-bytes") == "400"
    assert olga.property(f"{bucket}/", "quota-available-bytes") == "600"
    full = olga.put(f"{bucket}/b", b"x" * 700)
    assert full.status == 507
    assert olga.names(f"{bucket}/") == [f"/dav{bucket}/a"]
