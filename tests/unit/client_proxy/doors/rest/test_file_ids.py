"""Ids of files: the same for everybody and every time, and nothing to anybody else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from client_proxy.doors.rest.file_ids import MAX_ID, FileIds
from lockstep_store.wire.errors import NotFound, Unavailable
from lockstep_store.wire.messages.file_ids import FILE_ID_KEY, FILE_ID_KEY_BYTES, FileIdKeyReply
from lockstep_store.wire.names import MAX_PATH_BYTES


class KeyHolder:
    """A directory that knows one call."""

    def __init__(self, key: bytes = b"k" * FILE_ID_KEY_BYTES) -> None:
        self.key = key
        self.calls = 0
        self.is_up = True

    def call(self, call: Any, request: Any) -> Any:
        assert call is FILE_ID_KEY
        self.calls += 1
        if not self.is_up:
            raise Unavailable("the directory does not answer")
        return FileIdKeyReply(self.key.hex())


def made(**more: Any) -> FileIds:
    return FileIds(KeyHolder(**more))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["a", "plans/2026/roof.pdf", "a b/ü€😀", "folder/", "x" * MAX_PATH_BYTES])
def test_every_proxy_gives_and_understands_the_same_id(path: str) -> None:
    """It has the letters that addresses may have."""
    id = made().of("photos", path)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", id)
    assert len(id) <= MAX_ID
    assert made().of("photos", path) == id
    assert made().named(id) == ("photos", path)


def test_an_id_reveals_nothing_of_the_name() -> None:
    """Names of about the same length have ids of the same length, which share nothing."""
    ids = [made().of("photos", path) for path in ("a", "b", "secret-merger.pdf")]
    assert len({len(id) for id in ids}) == 1
    assert len({id[:8] for id in ids}) == 3
    assert made(key=b"o" * FILE_ID_KEY_BYTES).of("photos", "a") != ids[0]


@pytest.mark.parametrize("id", ["", "a", "%", "é", "AAAA", "A" * 64, "A" * (MAX_ID + 1), "../../etc", "a=b"])
def test_what_is_no_id_is_no_file(id: str) -> None:
    with pytest.raises(NotFound):
        made().named(id)


def test_an_altered_id_is_no_file() -> None:
    """In any of its bytes, and under another cluster's key."""
    id = made().of("photos", "roof.pdf")
    for at in range(0, len(id) - 1):
        other = id[:at] + ("A" if id[at] != "A" else "B") + id[at + 1 :]
        with pytest.raises(NotFound):
            made().named(other)
    with pytest.raises(NotFound):
        made(key=b"o" * FILE_ID_KEY_BYTES).named(id)


def test_the_key_is_asked_for_once_it_is_needed_until_it_is_known() -> None:
    """A directory that does not answer is asked again."""
    holder = KeyHolder()
    ids = FileIds(holder)  # type: ignore[arg-type]
    assert holder.calls == 0
    holder.is_up = False
    with pytest.raises(Unavailable):
        ids.of("photos", "a")
    holder.is_up = True
    assert ids.named(ids.of("photos", "a")) == ("photos", "a")
    assert holder.calls == 2
