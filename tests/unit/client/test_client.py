"""The public client: credentials, bytes in and out, locks that fence writes, and changes to follow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

import lockstep_store as lockstep
from tests.fakes.rest import RestServer
from tests.unit.people import noise


@pytest.fixture
def client(server: RestServer) -> Iterator[lockstep.Client]:
    with lockstep.connect(server.url, ca=server.ca_file, username="ann", password="secret") as client:
        yield client


def test_each_kind_of_credential_logs_in(server: RestServer, client: lockstep.Client) -> None:
    """A password, the token it gave and an API key are all the same person."""
    token = client.transport.credential
    key = client.create_key("job").key
    for credential in ({"token": token}, {"api_key": key}):
        with lockstep.connect(server.url, ca=str(server.ca_file), **credential) as other:
            assert other.me().name == "ann"


@pytest.mark.parametrize(
    "given",
    [{"token": "a", "api_key": "b"}, {"username": "ann"}, {"password": "x"}, {"token": "a", "username": "b"}],
)
def test_half_a_credential_or_two_are_a_mistake(server: RestServer, given: dict[str, str]) -> None:
    """Nothing is guessed: the call fails before anything is sent."""
    with pytest.raises(TypeError, match="one of token, api_key"):
        lockstep.connect(server.url, ca=server.ca_file, **given)
    assert server.requests == []


def test_a_wrong_password_is_refused(server: RestServer, client: lockstep.Client) -> None:
    """It is an error of `connect` itself, not of the first call after it."""
    with pytest.raises(lockstep.NotLoggedIn):
        lockstep.connect(server.url, ca=server.ca_file, username="ann", password="other")


def test_neither_secret_is_shown(client: lockstep.Client) -> None:
    """A client in a log or a traceback shows where it goes, not its credential."""
    assert client.transport.credential
    assert client.transport.credential not in repr(client)
    assert client.url in repr(client)


@pytest.mark.parametrize("size", [0, 1, 300_000, 5_000_000])
def test_bytes_and_streams_come_back_as_they_were(client: lockstep.Client, size: int) -> None:
    """What was put is what is got, whole, streamed, and in part, whichever way it was given."""
    content = noise(size, size)
    assert client.put("bytes", content).created
    assert client.put("stream", io.BytesIO(content)).version.size == size
    assert client.get("bytes") == client.get("stream") == b"".join(client.stream("bytes")) == content
    if size > 10:
        with client.open("bytes", start=3, stop=10) as part:
            assert b"".join(part) == content[3:10]


def test_damaged_bytes_are_never_returned(server: RestServer, client: lockstep.Client) -> None:
    """A bit that changed on the way is noticed, and fetched again while that can help."""
    server.core.save("f", b"content")
    server.harm("corrupt", "GET", "/f", after=2)
    assert client.get("f") == b"content"
    server.harm("corrupt", "GET", "/f", after=2, times=99)
    with pytest.raises(lockstep.BadRequest):
        client.get("f")


def test_options_of_a_write_reach_the_cluster(client: lockstep.Client) -> None:
    """Type, metadata and conditions are those of the version that is made."""
    saved = client.put("f", b"one", content_type="text/plain", metadata={"house": "7"}, if_none_match="*")
    assert (saved.version.content_type, saved.version.metadata) == ("text/plain", {"house": "7"})
    with pytest.raises(lockstep.PreconditionFailed):
        client.put("f", b"two", if_none_match="*")
    with pytest.raises(lockstep.PreconditionFailed):
        client.put("f", b"two", if_match=client.put("other", b"other").version.digest)
    assert client.put("f", b"two", if_match=saved.version.digest).version.size == 3


def test_a_lock_is_held_renewed_and_released(server: RestServer, client: lockstep.Client) -> None:
    """Inside the block the lock is this account's, after it nobody's."""
    with client.lock("f", wait=10) as lock:
        held = client.locks().locks
        assert [(one.account, one.number) for one in held] == [("ann", lock.number)]
        client.put("f", b"under the lock", lock=lock)
        assert client.versions("f")[0].lock_number == lock.number
    assert client.locks().locks == []


def test_a_lock_of_somebody_else_is_an_error_that_names_them(server: RestServer, client: lockstep.Client) -> None:
    """Without waiting the answer comes at once, with the holder in its sentence."""
    server.core.save("f", b"x")
    server.core.take_lock("f", "bob")
    with pytest.raises(lockstep.Locked, match="bob"):
        client.lock("f")
    with pytest.raises(lockstep.Locked, match="bob"):
        client.put("f", b"y")
    assert client.locks().waiters == []


def test_a_write_under_a_lock_that_was_lost_is_refused(server: RestServer, client: lockstep.Client) -> None:
    """The number decides: a writer that slept through its lease overwrites nothing."""
    with client.lock("f") as lock:
        server.core.drop_lock(lock.lock.id)
        with pytest.raises(lockstep.LockStale):
            client.put("f", b"late", lock=lock)
    assert server.core.content("f") is None


def test_a_write_can_release_its_lock(server: RestServer, client: lockstep.Client, tmp_path: Path) -> None:
    """The commit ends the lock, and the holder knows: it is neither renewed nor released again."""
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    for write in (
        lambda lock: client.put("f", b"bytes", lock=lock, release=True),
        lambda lock: client.upload(source, "f", lock=lock, release=True),
    ):
        with client.lock("f") as lock:
            write(lock)
            assert client.locks().locks == []
            asked = len(server.requests)
        assert len(server.requests) == asked


def test_several_paths_are_locked_together(client: lockstep.Client) -> None:
    """One lock with one number covers all of them, in the bucket that was named."""
    client.create_bucket("album")
    with client.lock(["a", "b"], bucket="album") as lock:
        assert [(one.bucket, one.path) for one in lock.lock.paths] == [("album", "a"), ("album", "b")]
        client.put("a", b"1", bucket="album", lock=lock)
        client.put("b", b"2", bucket="album", lock=lock.number)


def test_changes_come_in_order_and_can_be_resumed(client: lockstep.Client) -> None:
    """A watcher yields what was committed below its prefix; its cursor is where the next one goes on."""
    for name in ("log/1", "other", "log/2"):
        client.put(name, b"x")
    first = client.watch("log/", cursor=0)
    assert next(iter(first)).path == "log/1"
    second = client.watch("log/", bucket="files", cursor=first.cursor)
    assert [change.path for change in second.until_now()] in (["log/2"], ["log/1", "log/2"])
    assert client.changes(0).changes[0].kind == "write"


def test_copies_and_moves_between_buckets(client: lockstep.Client) -> None:
    """Source and target each are in the bucket that was named for them."""
    client.create_bucket("album")
    client.put("f", b"content")
    client.copy("f", "g", to_bucket="album")
    client.move("g", "h", bucket="album")
    assert [file.path for file in client.list(bucket="album")] == ["h"]
    assert client.get("h", bucket="album") == client.get("f") == b"content"


def test_folders_travel_both_ways(client: lockstep.Client, tmp_path: Path) -> None:
    """A folder sent and fetched is the same folder; the second run moves nothing."""
    (tmp_path / "site/img").mkdir(parents=True)
    (tmp_path / "site/index.html").write_bytes(b"<h1>")
    (tmp_path / "site/img/a.png").write_bytes(noise(7, 100_000))
    assert client.upload_folder(tmp_path / "site", "web/").moved == 2
    assert client.upload_folder(tmp_path / "site", "web/").skipped == 2
    assert client.download_folder("web/", tmp_path / "back").complete
    assert (tmp_path / "back/img/a.png").read_bytes() == noise(7, 100_000)
