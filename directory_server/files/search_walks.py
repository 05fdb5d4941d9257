"""Where a search looks in one bucket, and in which order: each walk yields steps that a later page can go on from.

1. names that are the text, 2. names that begin with it, 3. paths that contain its words, 4. similar names. The third
and fourth read the newest files first, BLOCK at a time, and order each block by how well the paths fit; so a page
costs no more when a million paths fit. Where a person may list only a part of the bucket, or that part is small, the
third and fourth read its paths instead: what is elsewhere must not even cost time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from directory_server.files.search_text import SearchText
from directory_server.metadata.statements import search as rows
from directory_server.metadata.statements.listings import FIRST, LAST
from directory_server.metadata.store import Reader
from lockstep_store.wire.messages.search import Match

BLOCK = 500
READ_BLOCK = 2000
"""Paths that are read one after the other, without the index."""
READ_COST = 0.1
"""What reading a path costs, of what looking at a file costs."""

Key = int | str
"""An id, or a path or name. Those of one walk are of one kind."""
Rank = Callable[[str], int | None]


class WalkPlace(NamedTuple):
    """Where a walk is: in the block that begins behind `block`, behind the step (`rank`, `at`)."""

    block: Key
    rank: int
    at: Key


class Step(NamedTuple):
    """A path that fits, or None where paths were only read."""

    place: WalkPlace
    path: str | None
    cost: float


class Part(NamedTuple):
    """The part of a bucket to search: paths that begin with `prefix`. `number` is the bucket's in the index."""

    bucket: str
    prefix: str
    number: int | None
    by_path: bool
    """Read the paths themselves: the person may list only these, or they are few."""

    @property
    def end(self) -> str:
        return self.prefix + LAST


Walk = Callable[[Part, WalkPlace | None], Iterator[Step]]


class Walks:
    """The walks of one search, in one snapshot."""

    def __init__(self, reader: Reader, text: SearchText) -> None:
        self._reader = reader
        self._text = text
        self.in_order: list[tuple[Match, Walk]] = [("listed", self._part)]
        if text.words:
            self.in_order = [
                ("name", self._named),
                ("beginning", self._beginning),
                ("part", self._part),
                ("similar", self._similar),
            ]

    def _named(self, part: Part, start: WalkPlace | None) -> Iterator[Step]:
        if part.by_path or part.number is None or not self._text.name:
            return
        name, path = self._text.name, str(start.at) if start else ""
        while True:
            found = self._reader.all(rows.OF_NAME, number=part.number, name=name, path=path, count=BLOCK)
            for _, path in found:
                yield Step(WalkPlace(name, 0, path), path, READ_COST)
            if len(found) < BLOCK:
                return

    def _beginning(self, part: Part, start: WalkPlace | None) -> Iterator[Step]:
        if part.by_path or part.number is None or not self._text.name:
            return
        begins = self._text.name
        name, path = (str(start.block), str(start.at)) if start else (begins, LAST)
        while True:
            found = self._reader.all(rows.OF_NAME, number=part.number, name=name, path=path, count=BLOCK)
            if len(found) < BLOCK:
                end, count = begins + LAST, BLOCK - len(found)
                found += self._reader.all(rows.AFTER_NAME, number=part.number, name=name, end=end, count=count)
            for name, path in found:
                yield Step(WalkPlace(name, 0, path), path, READ_COST)
            if len(found) < BLOCK:
                return

    def _part(self, part: Part, start: WalkPlace | None) -> Iterator[Step]:
        text = self._text

        def rank(path: str) -> int | None:
            return None if not part.by_path and text.is_named(path) else text.rank(path)

        if part.by_path:
            return self._read_paths(part, start, rank)
        if not text.is_indexed:
            return self._read_newest(part, start, rank)
        return self._look_up(part, start, text.all_words, rank)

    def _similar(self, part: Part, start: WalkPlace | None) -> Iterator[Step]:
        text = self._text

        def rank(path: str) -> int | None:
            return 0 if text.is_similar(path) else None

        if part.by_path:
            return self._read_paths(part, start, rank)
        return self._look_up(part, start, text.mistyped, rank)

    def _look_up(
        self, part: Part, start: WalkPlace | None, any_of: list[tuple[str, ...]], rank: Rank
    ) -> Iterator[Step]:
        def read(low: int, high: int) -> list[tuple[int, str]]:
            return [(row[0], row[1]) for row in self._reader.containing(any_of, low, high, BLOCK)]

        return self._newest_first(part, start, read, BLOCK, rank)

    def _read_newest(self, part: Part, start: WalkPlace | None, rank: Rank) -> Iterator[Step]:
        def read(low: int, high: int) -> list[tuple[int, str]]:
            return [(row[0], row[1]) for row in self._reader.all(rows.NEWEST, low=low, high=high, count=READ_BLOCK)]

        return self._newest_first(part, start, read, READ_BLOCK, rank)

    def _newest_first(
        self,
        part: Part,
        start: WalkPlace | None,
        read: Callable[[int, int], list[tuple[int, str]]],
        count: int,
        rank: Rank,
    ) -> Iterator[Step]:
        if part.number is None:
            return
        low, high = rows.ids_of(part.number)
        if start is not None:
            high = min(high, int(start.block))
        while True:
            block = read(low, high)
            yield from _ranked(high, ((-id, path) for id, path in block), start, rank)
            start = None
            if len(block) < count:
                return
            high = block[-1][0] - 1
            yield Step(WalkPlace(high, -1, ""), None, len(block) * READ_COST)

    def _read_paths(self, part: Part, start: WalkPlace | None, rank: Rank) -> Iterator[Step]:
        begin = str(start.block) if start else part.prefix
        while True:
            found = self._reader.all(rows.PATHS, bucket=part.bucket, start=begin, end=part.end, count=READ_BLOCK)
            yield from _ranked(begin, ((path, path) for (path,) in found), start, rank)
            start = None
            if len(found) < READ_BLOCK:
                return
            begin = found[-1][0] + FIRST
            yield Step(WalkPlace(begin, -1, ""), None, len(found) * READ_COST)


def _ranked(block: Key, found: Iterable[tuple[Any, str]], start: WalkPlace | None, rank: Rank) -> Iterator[Step]:
    """Steps of a block, the best first, behind `start`."""
    ranked = [(how, at, path) for at, path in found if (how := rank(path)) is not None]
    behind = None if start is None or start.rank < 0 else (start.rank, start.at)
    for how, at, path in sorted(ranked):
        if behind is None or (how, at) > behind:
            yield Step(WalkPlace(block, how, at), path, READ_COST)
