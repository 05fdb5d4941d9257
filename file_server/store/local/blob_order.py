"""Lists the blobs in the order of their digests, which no table of the index has.

The disk orders blobs by their stored names, which reveal nothing; the directory compares inventories in the order of
the digests. A walk therefore reads all rows, and keeps the next `SLICE_BLOBS` digests in memory, sorted; when they are
used up, it reads all rows again. Its cost grows with the square of the blobs: seconds at 300,000, about an hour of one
core at 10 million. Three cheaper ways were refused. An order on disk: among random digests, a position reveals most of
the value. Sorted runs in an encrypted temporary file: an inventory must work on a full disk too. An inventory in
another order: the directory would look up every blob one by one.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable
from itertools import groupby

from file_server.store.local.index_reader import IndexReader
from lockstep_store.wire.digest import DIGEST_BYTES, Digest

SLICE_BLOBS = 1 << 17
"""4 MiB while a walk is under way, and some 20 MiB while it sorts."""
_ABOVE_ALL = b"\xff" * (DIGEST_BYTES + 1)


class BlobOrder:
    """One walk at a time over the blobs of an index. Thread-safe. Raises sqlite3.Error."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._sorted, self._count = b"", 0
        self._begin: bytes = _ABOVE_ALL
        self._is_last = False

    def page(self, index: IndexReader, after: Digest | None, limit: int) -> tuple[list[Digest], Digest | None]:
        """Return those of the next `limit` blobs after `after` that are held now, and where the page ended.

        The end is None on the last page. A blob stored during a walk may be left out; a dropped one is not listed.
        """
        with self._guard:
            if after is None or after < self._begin or not self._reaches(self._place(after) + limit):
                self._read(index.blob_digests(), after, max(limit, SLICE_BLOBS))
            start = 0 if after is None else self._place(after)
            listed = [self._at(place) for place in range(start, min(start + limit, self._count))]
            end = listed[-1] if len(listed) == limit else None
            if end is None:
                self._forget()
        held = index.sizes(listed)
        return [digest for digest in listed if digest in held], end

    def _read(self, digests: Iterable[Digest], after: Digest | None, count: int) -> None:
        """Keep the first `count` digests above `after`."""
        above, below = after or b"", _ABOVE_ALL
        kept: list[Digest] = []
        for digest in digests:
            if above < digest < below:
                kept.append(digest)
                if len(kept) == 2 * count:
                    kept = _in_order(kept)[:count]
                    below = kept[-1]
        kept = _in_order(kept)
        self._is_last = below == _ABOVE_ALL and len(kept) <= count
        self._count = min(len(kept), count)
        self._sorted, self._begin = b"".join(kept[:count]), above

    def _reaches(self, place: int) -> bool:
        return self._is_last or place <= self._count

    def _place(self, after: Digest) -> int:
        return bisect_right(range(self._count), after, key=self._at)

    def _at(self, place: int) -> Digest:
        return Digest(self._sorted[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES])

    def _forget(self) -> None:
        self._sorted, self._count = b"", 0
        self._begin, self._is_last = _ABOVE_ALL, False


def _in_order(digests: list[Digest]) -> list[Digest]:
    """Return the digests sorted, each once: a blob that was stored again during the walk was read twice."""
    return [digest for digest, _ in groupby(sorted(digests))]
