"""The whole API in its plainest form: dictionaries beside the cluster.

`ApiModel` says what every request must answer and what follows from it. It knows nothing of chunks, tickets, file
servers or transactions; it is what a person who has read the documents would expect. Refusals are (status, code).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.digest import EMPTY_DIGEST, Digest
from lockstep_store.wire.manifest import Manifest

ADMIN = "admin"
PLACE_SECONDS = 30.0

Path = tuple[str, str]
"""(bucket, path)."""


class Refused(Exception):
    """What the answer must be instead of a success."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Content:
    """Bytes and the names that they must have."""

    data: bytes
    manifest: Manifest

    @classmethod
    def of(cls, data: bytes) -> Content:
        return cls(data, Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(data)))

    @property
    def digest(self) -> Digest:
        return self.manifest.digest


@dataclass
class Version:
    """One version of one path; a delete marker has no content."""

    id: str
    content: Content | None
    author: str
    null: bool
    content_type: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    lock_number: int = 0

    @property
    def digest(self) -> Digest:
        return self.content.digest if self.content is not None else EMPTY_DIGEST


@dataclass
class Bucket:
    """A bucket and the versions of each of its paths, oldest first."""

    owner: str
    versioning: str
    shared: bool
    paths: dict[str, list[Version]] = field(default_factory=dict)

    def current(self, path: str) -> Version | None:
        versions = self.paths.get(path)
        return versions[-1] if versions and versions[-1].content is not None else None

    def find(self, path: str, id: str | None) -> Version | None:
        """The version of that id, the one that stands for "null", or the current one for None."""
        if id is None:
            return self.current(path)
        return next((v for v in self.paths.get(path, []) if v.id == id or (id == "null" and v.null)), None)

    def names(self, prefix: str, delimiter: str) -> tuple[list[str], list[str]]:
        """Current files and common prefixes below `prefix`, each in order."""
        files, prefixes = [], []
        for path in sorted(self.paths, key=str.encode):
            if self.current(path) is None or not path.startswith(prefix):
                continue
            end = path.find(delimiter, len(prefix)) if delimiter else -1
            if end < 0:
                files.append(path)
            elif path[: end + len(delimiter)] not in prefixes:
                prefixes.append(path[: end + len(delimiter)])
        return files, prefixes


@dataclass
class Claim:
    """A lock (with its number), or a place in line (without)."""

    request_id: str
    who: str
    paths: frozenset[Path]
    lease: float
    ends: float
    number: int = 0


class ApiModel:
    """The state that the cluster must have. The test moves `now` together with the cluster's clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.buckets: dict[str, Bucket] = {}
        self.held: list[Claim] = []
        self.queue: list[Claim] = []
        self.ended: list[Claim] = []

    # ------------------------------------------------------------ who may

    def usable(self, bucket: str, who: str) -> Bucket:
        """The bucket, when there is one and `who` may use it."""
        found = self.buckets.get(bucket)
        if found is None:
            raise Refused(404, "not_found")
        if not (found.shared or who in (found.owner, ADMIN)):
            raise Refused(403, "forbidden")
        return found

    def owned(self, bucket: str, who: str) -> Bucket:
        """The same for changing the bucket itself."""
        found = self.usable(bucket, who)
        if who not in (found.owner, ADMIN):
            raise Refused(403, "forbidden")
        return found

    def check_write(self, at: Path, who: str, number: int | None) -> int:
        """The lock's number that covers the write, or 0."""
        lock = self.lock_on(at)
        if number is None:
            if lock is not None:
                raise Refused(423, "locked")
            return 0
        if lock is None or lock.number != number or lock.who != who:
            raise Refused(409, "lock_stale")
        return number

    def check_conditions(self, current: Version | None, if_match: str | None, if_none_match: str | None) -> None:
        """Conditions are on the current version's digest, or `*`."""
        digest = str(current.digest) if current is not None else None
        if if_match is not None and (digest is None or if_match not in ("*", digest)):
            raise Refused(412, "precondition_failed")
        if if_none_match is not None and digest is not None and if_none_match in ("*", digest):
            raise Refused(412, "precondition_failed")

    # ------------------------------------------------------------ files

    def put(self, bucket: str, path: str, version: Version) -> None:
        """`version` becomes the newest of its path; without versioning it takes the place of the one before."""
        kept = self.buckets[bucket]
        versions = kept.paths.setdefault(path, [])
        version.null = kept.versioning != "enabled"
        if version.null:
            versions[:] = [other for other in versions if not other.null]
        versions.append(version)

    def delete(self, bucket: str, path: str, marker: Version) -> Version | None:
        """Let the path stop being current: the marker made, or the version removed, or None when it was not there."""
        kept = self.buckets[bucket]
        current = kept.current(path)
        if current is None:
            return None
        if kept.versioning != "off":
            self.put(bucket, path, marker)
            return marker
        self.remove(bucket, path, current)
        return current

    def remove(self, bucket: str, path: str, version: Version) -> None:
        """Remove one version for good."""
        versions = self.buckets[bucket].paths[path]
        versions.remove(version)
        if not versions:
            del self.buckets[bucket].paths[path]

    # ------------------------------------------------------------ locks

    def lock_on(self, at: Path) -> Claim | None:
        return next((claim for claim in self.held if at in claim.paths), None)

    def free(self, paths: frozenset[Path], earlier: Iterable[Claim]) -> bool:
        """Whether nobody holds any of `paths`, and nobody who came earlier waits for one."""
        return not any(paths & claim.paths for claim in (*self.held, *earlier))

    def settle(self) -> None:
        """End what is over, then grant in the order of arrival, to those that still may use the buckets; numbers of
        new grants are learnt when they show."""
        self.ended += [claim for claim in self.held if claim.ends <= self.now]
        self.held = [claim for claim in self.held if claim.ends > self.now]
        self.queue = [claim for claim in self.queue if claim.ends > self.now]
        while True:
            ready = next(
                (c for place, c in enumerate(self.queue) if self.free(c.paths, self.queue[:place])),
                None,
            )
            if ready is None:
                return
            self.queue.remove(ready)
            if not self.may_lock(ready):
                continue
            ready.ends, ready.number = self.now + ready.lease, -1
            self.held.append(ready)

    def place(self, claim: Claim) -> int:
        """Place in line: 1 is next."""
        before = self.queue[: self.queue.index(claim)] if claim in self.queue else self.queue
        return 1 + sum(bool(other.paths & claim.paths) for other in before)

    def would_deadlock(self, who: str, paths: frozenset[Path]) -> bool:
        """Whether a wait of `who` for `paths` would close a cycle."""
        waits: dict[str, set[str]] = {}
        line = [*self.queue, Claim("", who, paths, 0, 0)]
        for place, claim in enumerate(line):
            before = {other.who for other in [*self.held, *line[:place]] if other.paths & claim.paths}
            waits.setdefault(claim.who, set()).update(before - {claim.who})
        seen: set[str] = set()
        border = set(waits[who])
        while border:
            seen |= border
            border = {other for person in border for other in waits.get(person, ())} - seen
        return who in seen

    def may_lock(self, claim: Claim) -> bool:
        """Whether its person may use all of the claim's buckets now."""
        try:
            return all(self.usable(bucket, claim.who) for bucket, _ in claim.paths)
        except Refused:
            return False

    def end(self, claim: Claim) -> None:
        """A lock is released or broken."""
        self.held.remove(claim)
        self.ended.append(claim)
        self.settle()

    def delete_bucket(self, bucket: str) -> None:
        """Its locks, and the places in line for it, end with it."""
        del self.buckets[bucket]
        over = [claim for claim in (*self.held, *self.queue) if any(name == bucket for name, _ in claim.paths)]
        self.ended += [claim for claim in self.held if claim in over]
        self.held = [claim for claim in self.held if claim not in over]
        self.queue = [claim for claim in self.queue if claim not in over]
        self.settle()


def wanted_range(text: str, size: int) -> tuple[int, int] | None:
    """`a-b`, `a-` or `-n` as [start, stop) of a file; None for the whole; Refused when no byte is in it."""
    first, _, last = text.partition("-")
    if not first:
        if not int(last):
            raise Refused(416, "range_not_satisfiable")
        return (max(0, size - int(last)), size) if size else None
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Refused(416, "range_not_satisfiable")
    return start, min(size, int(last) + 1) if last else size
