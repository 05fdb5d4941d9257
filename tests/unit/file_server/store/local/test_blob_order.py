"""The walk over all blobs in digest order, which reads the index slice by slice."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from file_server.store.local import blob_order
from lockstep_store.wire.digest import Digest
from tests.fakes.blobs import put
from tests.unit.file_server.store.local.store_lab import Lab

LIMIT = 7


def fill(lab: Lab, count: int, first: int = 0) -> list[Digest]:
    return [put(lab.store, b"%d" % number) for number in range(first, first + count)]


def walk(lab: Lab, between: Callable[[int], None] = lambda page: None) -> list[Digest]:
    """Every page's digests, one list; `between` is called after each page."""
    named: list[Digest] = []
    after: Digest | None = None
    for page in range(1000):
        digests, after = lab.store.blobs_by_digest(after, LIMIT)
        named += digests
        if after is None:
            return named
        between(page)
    raise AssertionError("the walk has no end")


@pytest.mark.parametrize("slice_blobs", [1, LIMIT, 2 * LIMIT + 1, 1000])
@pytest.mark.parametrize("count", [0, 1, LIMIT, 6 * LIMIT, 6 * LIMIT + 3])
def test_a_walk_names_every_blob_once_in_order(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, slice_blobs: int, count: int
) -> None:
    """Whatever fits into memory at a time, and wherever the slices end."""
    monkeypatch.setattr(blob_order, "SLICE_BLOBS", slice_blobs)
    digests = fill(lab, count)
    assert walk(lab) == sorted(digests)
    assert walk(lab) == sorted(digests), "the next walk"


def test_a_walk_may_go_on_from_anywhere(lab: Lab, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The directory shortens pages, and a walk begins again when a server registers."""
    monkeypatch.setattr(blob_order, "SLICE_BLOBS", 10)
    digests = sorted(fill(lab, 40))
    source = random.Random(seed)
    for _ in range(100):
        place = source.randrange(len(digests))
        page, end = lab.store.blobs_by_digest(digests[place], LIMIT)
        assert page == digests[place + 1 : place + 1 + LIMIT]
        assert end == (page[-1] if len(page) == LIMIT else None)


def test_a_blob_dropped_during_a_walk_is_not_named(lab: Lab) -> None:
    """The directory would count a copy that is gone. One that is stored again keeps its place."""
    contents = {put(lab.store, b"%d" % number): b"%d" % number for number in range(20)}
    digests = sorted(contents)
    dropped, again = digests[-1], digests[-2]

    def change(page: int) -> None:
        if page == 0:
            for digest in (dropped, again):
                assert lab.store.drop_blob(digest, lab.store.generation(digest) or 0)
            put(lab.store, contents[again])

    assert walk(lab, change) == digests[:-1]


def test_a_blob_read_twice_is_named_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that is dropped and stored again while the rows are read has a second row behind the first."""
    digests = fill(lab, 5)
    monkeypatch.setattr(lab.store._index, "blob_digests", lambda: iter(digests + digests[:2]))
    assert walk(lab) == sorted(digests)


def test_the_end_of_a_walk_frees_its_memory(lab: Lab) -> None:
    """Nothing is kept until the next day's walk."""
    fill(lab, 20)
    lab.store.blobs_by_digest(None, LIMIT)
    assert lab.store._order._sorted
    walk(lab)
    assert not lab.store._order._sorted
