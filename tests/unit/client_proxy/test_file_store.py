from __future__ import annotations

from typing import Any

import msgspec
import pytest

from client_proxy.core.receipt import Receipt
from client_proxy.core.requests import Copy, Delete, Read, Stat, Write
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.messages.files import (
    COPY,
    DELETE,
    LIST,
    VERSIONS,
    CommittedReply,
    DeleteReply,
    ListPage,
    ListRequest,
    Preconditions,
    VersionsReply,
    VersionsRequest,
)
from tests.fakes.proxy_rig import ProxyRig, noise


def answer(rig: ProxyRig, path: str, reply: Any) -> list[Any]:
    """Let the directory answer calls to `path`; gives the requests as they arrive."""
    seen: list[Any] = []
    rig.directory.replies[path] = lambda request: seen.append(request) or reply
    return seen


def test_every_read_asks_the_directory_and_a_cached_one_asks_nobody_else(rig: ProxyRig) -> None:
    """No byte is served before the directory has named the version: that is one lookup a read, and no more."""
    rig.publish("file", noise(1, 4096))
    for _ in range(3):
        rig.read("file")
    assert rig.directory.calls.count("/v1/lookup") == 3


def test_an_opened_file_stays_the_version_it_was(rig: ProxyRig) -> None:
    """A write in the middle of a read changes the path, not what is being read."""
    old = noise(2, 12_000_000)
    rig.publish("file", old)
    with rig.files.open(Read("ann", "files", "file")) as opened:
        blocks = opened.blocks()
        got = [next(blocks)]
        rig.files.write(Write("bob", "files", "file", size=3), [b"new"])
        got += list(blocks)
    assert b"".join(got) == old
    assert rig.read("file")[0] == b"new"


def test_an_older_version_can_be_read(rig: ProxyRig) -> None:
    """A version is named by its id, and stays readable after newer ones."""
    first = rig.publish("file", b"first")
    rig.publish("file", b"second")
    with rig.files.open(Read("ann", "files", "file", version=first.version)) as opened:
        assert b"".join(opened.blocks()) == b"first"
    assert rig.files.stat(Stat("ann", "files", "file")).size == len(b"second")


def test_a_missing_file_and_a_delete_marker_are_not_found(rig: ProxyRig) -> None:
    """There is nothing to read in either, and the refusal says which it is."""
    with pytest.raises(NotFound):
        rig.files.open(Read("ann", "files", "nothing"))
    rig.publish("file", b"").delete_marker = True
    with pytest.raises(NotFound, match="is a delete marker") as caught:
        rig.files.open(Read("ann", "files", "file"))
    assert caught.value.facts["delete_marker"] is True
    assert rig.files.stat(Stat("ann", "files", "file")).delete_marker


def test_a_write_tells_the_directory_everything_it_was_given(rig: ProxyRig) -> None:
    """Lock, conditions, type and metadata reach the directory as the client gave them."""
    conditions = Preconditions(if_none_match=["*"])
    rig.files.write(
        Write(
            "ann",
            "files",
            "file",
            size=7,
            lock_number=5,
            release_lock=True,
            preconditions=conditions,
            content_type="text/plain",
            metadata={"colour": "green"},
        ),
        [b"content"],
    )
    item = rig.directory.begun[0]
    assert (item.credential, item.bucket, item.path, item.size) == ("ann", "files", "file", 7)
    assert (item.lock_number, item.release_lock, item.preconditions) == (5, True, conditions)
    assert (item.content_type, item.metadata) == ("text/plain", {"colour": "green"})


def test_changes_without_bytes_carry_a_write_id_of_their_own(rig: ProxyRig) -> None:
    """Delete and copy are safe to repeat: an answer lost on the way is asked for again under the same id."""
    version = rig.publish("file", b"content")
    deleted = answer(rig, DELETE.path, DeleteReply(cursor=9, existed=True))
    copied = answer(rig, COPY.path, CommittedReply(cursor=9, version=version, copies=2))
    rig.directory.drop_replies = 1
    assert rig.files.delete(Delete("ann", "files", "file", version="v1", lock_number=3)).existed
    rig.directory.drop_replies = 1
    assert (
        rig.files.copy(Copy("ann", "files", "copy", source_bucket="files", source_path="file", move=True)).copies == 2
    )
    for requests in (deleted, copied):
        assert len(requests) == 2
        assert requests[0] == requests[1]
    assert deleted[0].write_id != copied[0].write_id
    assert (deleted[0].version, deleted[0].lock_number, copied[0].move) == ("v1", 3, True)


def test_listings_pass_their_place_on(rig: ProxyRig) -> None:
    """A page asks for what comes after the one before."""
    reply = ListPage(files=[], prefixes=["a/"], next_after="a/")
    pages = answer(rig, LIST.path, reply)
    assert rig.files.list(ListRequest("ann", "files", prefix="a", delimiter="/", limit=1)).next_after == "a/"
    rig.files.list(ListRequest("ann", "files", prefix="a", delimiter="/", limit=1, after="a/"))
    encoded = rig.files.list_encoded(ListRequest("ann", "files", after="b"))
    assert [page.after for page in pages] == ["", "a/", "b"]
    assert bytes(encoded) == encode(reply)
    history = answer(rig, VERSIONS.path, VersionsReply(versions=[], next_after=None))
    rig.files.versions(VersionsRequest("ann", "files", "file", after=("file", "v1")))
    assert (history[0].path, history[0].after) == ("file", ("file", "v1"))


def test_the_receipt_of_a_write_says_where_the_copies_are(rig: ProxyRig) -> None:
    """Copies, cursor and master are those that the commit named."""
    committed = rig.files.write(Write("ann", "files", "file", size=7), [b"content"])
    receipt = Receipt.of_write(committed)
    version = committed.version
    assert receipt == Receipt(version.digest, version.version, committed.cursor, "", 1, "1")
    assert msgspec.structs.asdict(version)["size"] == 7
