"""Checks the promises of docs/consistency.md after all faults have ended."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError
from tests.linearizability import Operation, Outcome, check
from tests.simulation.clients import BUCKET, COUNTER, Crowd, WrongBytes, digest_of
from tests.simulation.nodes import DIRECTORY, PEOPLE, World

if TYPE_CHECKING:
    from file_server.store.local.chunk_store import LocalChunkStore

JOURNAL = "SELECT cursor, kind, path FROM journal ORDER BY cursor"
SETTLE_SECONDS = 240.0
PAUSE_SECONDS = 6.0
FOLLOW_SECONDS = 60.0
"""So long after the last change, at most, until whoever follows the journal has seen all of it: longer than a person
waits for an answer that does not come."""


def settled(world: World, crowd: Crowd) -> list[str]:
    """Within minutes every file is readable through every proxy and has its copies on the disks; what is not so."""
    deadline = world.scheduler.now + SETTLE_SECONDS
    while True:
        missing = _unreadable(world, crowd) + _too_few_copies(world, crowd)
        if not missing or world.scheduler.now >= deadline:
            _let_follow(world, crowd)  # last of all: a write given up long ago may still be committed meanwhile
            return missing
        world.scheduler.sleep(PAUSE_SECONDS)


def _let_follow(world: World, crowd: Crowd) -> None:
    deadline = world.scheduler.now + FOLLOW_SECONDS
    while world.scheduler.now < deadline and len(crowd.follower.seen) < len(_journal_rows(world.folder)):
        world.scheduler.sleep(0.5)


def _unreadable(world: World, crowd: Crowd) -> list[str]:
    missing = []
    for path, proxy in itertools.product([*crowd.paths, COUNTER], world.proxies):
        try:
            crowd.read(PEOPLE[0], proxy, path)
        except (LockstepError, WrongBytes) as error:
            missing.append(f"{path} cannot be read through {proxy.name} after everything healed: {error}")
    return missing


def _too_few_copies(world: World, crowd: Crowd) -> list[str]:
    """Check that every version, current or old, has whole and verified copies."""
    missing = []
    for path, digest in _kept(world.folder):
        holding = [machine.name for machine in world.servers if _holds(machine.process.facts["server"].store, digest)]
        if len(holding) < world.copies:
            token = crowd.tokens.get(digest, "nobody's")
            missing.append(f"{path} ({token}) has whole copies only on {holding or 'no disk'}")
    return missing


def _journal_rows(folder: Path) -> list[tuple[int, str, str]]:
    connection = sqlite3.connect(folder / DIRECTORY / "metadata.db")
    rows = connection.execute(JOURNAL).fetchall()
    connection.close()
    return rows


def _kept(folder: Path) -> list[tuple[str, Digest]]:
    connection = sqlite3.connect(folder / DIRECTORY / "metadata.db")
    query = "SELECT path, digest FROM version WHERE bucket = ? AND digest IS NOT NULL ORDER BY id"
    rows = connection.execute(query, (BUCKET,)).fetchall()
    connection.close()
    return [(path, Digest(digest)) for path, digest in rows]


def _holds(store: LocalChunkStore, digest: Digest) -> bool:
    try:
        if store.generation(digest) is None:
            return False
        return all(len(store.read_chunk(chunk)) == length for chunk, length in store.manifest(digest).chunks)
    except LockstepError:
        return False


# ---------------------------------------------------------------- after the run


def of_history(crowd: Crowd) -> list[str]:
    """Check the clients' whole history."""
    wrong = list(crowd.problems)
    violation = check([*crowd.history, *_locks_broken(crowd)])
    if violation is not None:
        wrong.append(str(violation))
    wrong += _lock_numbers(crowd.history)
    wrong += _counter(crowd)
    return wrong


def _locks_broken(crowd: Crowd) -> list[Operation]:
    """No lock outlives the acceptance of older metadata."""
    return [
        Operation("administrator", "break", path, accepted.lost_at, accepted.gone_on_at, Outcome.OK)
        for accepted in crowd.world.accepted
        for path in [*crowd.paths, COUNTER]
    ]


def _lock_numbers(history: list[Operation]) -> list[str]:
    """Check that lock numbers over all paths are unique and rise."""
    grants = [each for each in history if each.kind == "acquire" and each.outcome is Outcome.OK]
    twice = [number for number, count in Counter(each.lock_number for each in grants).items() if count > 1]
    wrong = [f"lock number {number} was granted twice" for number in sorted(twice)]
    for earlier, later in itertools.permutations(grants, 2):
        if earlier.returned < later.called and earlier.lock_number > later.lock_number:
            wrong.append(f"lock numbers fell: {earlier}; then {later}")
    return wrong


def _counter(crowd: Crowd) -> list[str]:
    """The number that only a lock protects has counted every acknowledged increment, and no more than were tried."""
    added = [each for each in crowd.history if each.path == COUNTER and each.kind == "write"]
    known = sum(each.outcome is Outcome.OK for each in added)
    unknown = sum(each.outcome is Outcome.UNKNOWN for each in added)
    last = [each for each in crowd.history if each.path == COUNTER and each.kind == "read"][-1:]
    final = crowd.counted.get(last[0].value, 0) if last and last[0].value is not None else 0
    if known <= final <= known + unknown:
        return []
    return [f"the counter is {final} after {known} acknowledged increments and {unknown} unknown ones"]


def of_metadata(folder: Path, crowd: Crowd) -> list[str]:
    """The directory's metadata: the journal without gaps, no version that nobody wrote, none twice, right counts."""
    connection = sqlite3.connect(folder / DIRECTORY / "metadata.db")
    try:
        return [*_journal(connection, crowd), *_versions(connection, crowd), *_references(connection)]
    finally:
        connection.close()


def _journal(connection: sqlite3.Connection, crowd: Crowd) -> list[str]:
    rows = connection.execute(JOURNAL).fetchall()
    jumps = {accepted.newest for accepted in crowd.world.accepted}
    for before, after in itertools.pairwise([0, *(row[0] for row in rows)]):
        if after != before + 1 and not (before in jumps and after > before):
            return [f"the journal has gaps, the first behind {before}: {rows}"]
    seen = crowd.follower.seen
    if seen != rows:
        return [f"who followed the journal saw {seen}, and it is {rows}"]
    return []


def _versions(connection: sqlite3.Connection, crowd: Crowd) -> list[str]:
    wrong = []
    made: Counter[tuple[str, str]] = Counter()
    for path, digest in connection.execute("SELECT path, digest FROM version WHERE digest IS NOT NULL"):
        token = crowd.tokens.get(Digest(digest))
        if token is None:
            wrong.append(f"{path} has a version that nobody wrote")
        else:
            made[path, token] += 1
    for (path, token), count in made.items():
        if count > crowd.written[path, token]:
            wrong.append(f"{count} versions of {path} came from {crowd.written[path, token]} writes of {token}")
    return wrong


def _references(connection: sqlite3.Connection) -> list[str]:
    query = (
        "SELECT hex(blob.digest), refs, (SELECT count(*) FROM version WHERE version.digest = blob.digest) AS counted"
        " FROM blob WHERE refs != counted"
    )
    return [f"blob {digest[:16]} has {refs} references by its row, {counted} versions name it"
            for digest, refs, counted in connection.execute(query)]  # fmt: skip


__all__ = ["digest_of", "of_history", "of_metadata", "settled"]
