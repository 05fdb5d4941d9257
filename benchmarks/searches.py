"""Measures searches among a million names: the processor time of a first page, and what the index costs a commit.

It calls the directory's search on a real metadata store in this process, as its handler does.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measurements import Measurement
from directory_server.files.moment import WallClock
from directory_server.files.searches import Searches
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statements import files, search
from directory_server.metadata.statements.buckets import Bucket, insert_bucket
from directory_server.metadata.store import Tx
from directory_server.people.person import Person
from lockstep_store.runtime.clock import SystemClock
from lockstep_store.wire.messages.search import SearchFilters, SearchRequest

BUCKET = "searched"
FILES_AT_A_TIME = 10_000
COMMITS = 400
GOAL_MS = 50.0
WORDS = (
    *("report", "draft", "image", "scan", "budget", "meeting", "notes", "design", "logo", "invoice", "contract"),
    *("photo", "summer", "client", "final", "review", "data", "model", "train", "index"),
)
QUERIES = {
    "a frequent word": "report",
    "a name": "{name}",
    "a number in few names": "0123456",
    "two words": "contract final",
    "a long part of many names": "contract_review-0",
    "one letter": "r",
    "two letters in the middle": "w-",
    "nothing": "xyzzy",
    "a typing error": "{mistyped}",
    "a folder of a twentieth": "reports/",
}


class _Somebody:
    def identify(self, _: str) -> Person:
        return Person("ann", False, "")

    authenticate = identify


def _path(number: int) -> str:
    """Always the same name for a number."""
    chosen = random.Random(number)
    first, second, third, fourth = (chosen.choice(WORDS) for _ in range(4))
    return f"{first}s/{second}-{number % 500}/{third}_{fourth}-{number:07}.{chosen.choice(('pdf', 'txt', 'jpg'))}"


def _insert(tx: Tx, number: int) -> None:
    tx.run(
        files.INSERT_CURRENT,
        bucket=BUCKET,
        path=_path(number),
        version=f"{number:016}",
        digest=os.urandom(32),
        size=4096,
        content_type="text/plain",
        metadata="{}",
        author="ann",
        created_at=1.79e9 + number / 200,
        lock_number=0,
        null_version=True,
        cursor=number,
    )


def measure(folder: Path, count: int) -> list[Measurement]:
    """The first page of each query of `QUERIES` among `count` files, and the cost of a commit that adds one."""
    folder.mkdir(parents=True)
    store = SqliteStore(folder / "metadata.db")
    try:
        store.write(lambda tx: insert_bucket(tx, Bucket(BUCKET, "ann", "off", False, 0.0)))
        for first in range(0, count, FILES_AT_A_TIME):
            store.write(
                lambda tx, first=first: [_insert(tx, n) for n in range(first, min(count, first + FILES_AT_A_TIME))]
            )  # type: ignore[misc]
        while not store.write(lambda tx: search.fill(tx, FILES_AT_A_TIME)):
            pass
        return [*_pages(store, count), _commit(store, count)]
    finally:
        store.close()


def _pages(store: SqliteStore, count: int) -> list[Measurement]:
    clock: WallClock = SystemClock()
    searches = Searches(store, clock, _Somebody())
    name = _path(count // 3).rpartition("/")[2]
    results = []
    for what, query in QUERIES.items():
        text = query.format(name=name, mistyped=name[:3] + name[4:])
        times, hits, ends = [], 0, True
        for _ in range(9):
            started = time.process_time()
            page = searches.search(SearchRequest("", text, limit=20))
            times.append((time.process_time() - started) * 1e3)
            hits, ends = len(page.hits), page.next_after is None
        detail = f"{hits} hits{'' if ends else ' and more'} for {text!r}; slowest of {len(times)}: {max(times):.1f} ms"
        label = f"first page of a search for {what} among {count:,} files"
        results.append(Measurement(label, statistics.median(times), "ms", GOAL_MS, "less", detail))
    started = time.process_time()
    searches.search(SearchRequest("", filters=SearchFilters(author="nobody")))
    taken = (time.process_time() - started) * 1e3
    label = f"a page without hits, by a filter alone, among {count:,} files"
    return [*results, Measurement(label, taken, "ms", 2 * GOAL_MS, "less", "one page")]


def _commit(store: SqliteStore, count: int) -> Measurement:
    """Processor time and bytes in the log of commits with the index's triggers and without them, in turns."""
    checks = store._checks
    assert checks is not None
    times: dict[bool, list[float]] = {True: [], False: []}
    sizes: dict[bool, list[int]] = {True: [], False: []}

    def adding(number: int) -> Callable[[Tx], None]:
        return lambda tx: _insert(tx, number)

    for turn in range(COMMITS):
        indexed = turn % 2 == 0
        store.write(lambda tx: None)
        writer = store._writer
        assert writer is not None
        if not indexed:
            (trigger,) = writer.execute("SELECT sql FROM temp.sqlite_schema WHERE name = 'search_path_new'").fetchone()
            writer.execute("DROP TRIGGER search_path_new")
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        before, started = checks.place(), time.process_time()
        store.write(adding(count + turn))
        times[indexed].append(time.process_time() - started)
        place = checks.place()
        sizes[indexed].append(4 * (place.frames - (before.frames if place.salts == before.salts else 0)))
        if not indexed:
            writer.execute(trigger.replace("CREATE TRIGGER", "CREATE TEMP TRIGGER"))
    with_index, without = (statistics.median(times[one]) * 1e6 for one in (True, False))
    more_kib = statistics.mean(sizes[True]) - statistics.mean(sizes[False])
    return Measurement(
        "processor time that the search index adds to a commit of a new file",
        with_index - without,
        "µs",
        300.0,
        "less",
        f"{without:.0f} µs without it for the file's row alone; {more_kib:.1f} KiB more in the log",
    )
