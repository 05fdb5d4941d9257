"""Measures whether a page of a listing costs the directory the same in a bucket of a million keys as in a small one.

It calls the directory's listing on a real metadata store in this process, because requests would hide the difference.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measurements import MIB, Measurement
from directory_server.files import listing
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statements import files
from directory_server.metadata.store import Tx
from lockstep_store.wire.codec import encode
from lockstep_store.wire.messages.files import ListRequest
from lockstep_store.wire.messages.s3 import ETAG_ENTRY

BUCKET = "listed"
PAGE = 1000
FEW = 8 * PAGE
ROUNDS = 60
KEYS_AT_A_TIME = 10_000


def _name(number: int, count: int) -> str:
    """In the first quarter every key has a folder; the others are files beside each other."""
    return f"folders/{number:08}/file" if number < count // 4 else f"files/{number:08}"


def _filled(folder: Path, count: int) -> SqliteStore:
    folder.mkdir(parents=True)
    store = SqliteStore(folder / "metadata.db")

    def insert(numbers: range) -> Callable[[Tx], None]:
        def work(tx: Tx) -> None:
            for number in numbers:
                tx.run(
                    files.INSERT_CURRENT,
                    bucket=BUCKET,
                    path=_name(number, count),
                    version=f"{number:020}",
                    digest=os.urandom(32),
                    size=4096,
                    content_type="",
                    metadata=files.encode_metadata({ETAG_ENTRY: os.urandom(16).hex()}),
                    author="admin",
                    created_at=1.79e9 + number / 200,
                    lock_number=0,
                    null_version=True,
                    cursor=number,
                )

        return work

    for first in range(0, count, KEYS_AT_A_TIME):
        store.write(insert(range(first, min(count, first + KEYS_AT_A_TIME))))
    return store


def _page_of(store: SqliteStore, request: ListRequest) -> float:
    """Return the processor time of a full page, as the directory reads and encodes it."""
    started = time.process_time()
    with store.read() as reader:
        page = listing.list_columns(reader, request)
        body = encode(page)
    taken = time.process_time() - started
    if len(page.prefixes) + body.count(ETAG_ENTRY.encode()) != PAGE:
        raise RuntimeError(f"not a full page: {body[:200]!r}")
    return taken


def _requests(count: int, prefix: str, delimiter: str) -> Iterator[ListRequest]:
    """Full pages from different places, in turns."""
    first, last = (count // 4, count) if prefix == "files/" else (0, count // 4)
    for turn in range(ROUNDS):
        after = f"{prefix}{first + turn % 4 * (last - first - PAGE - 1) // 4:08}{delimiter}" if turn % 4 else ""
        yield ListRequest("", BUCKET, prefix, delimiter, PAGE, after)


def measure(folder: Path, keys: int) -> list[Measurement]:
    """The processor time of a page of 1,000 files, and of 1,000 folders, in a small bucket and in one with `keys`.

    The two buckets are measured in turns, so that other load on the machine affects both.
    """
    few, many = _filled(folder / "few", FEW), _filled(folder / "many", keys)
    try:
        before = _resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
        results = [_compared(few, many, keys, "files", ""), _compared(few, many, keys, "folders", "/")]
        grown = (_resident("VmHWM") - before) / MIB
    finally:
        few.close()
        many.close()
    detail = f"{2 * ROUNDS} pages of each bucket"
    return [*results, Measurement("memory that these pages took", grown, "MiB", 32.0, "less", detail)]


def _compared(few: SqliteStore, many: SqliteStore, keys: int, what: str, delimiter: str) -> Measurement:
    pairs = zip(*(_requests(count, f"{what}/", delimiter) for count in (FEW, keys)), strict=True)
    times = [(_page_of(few, small), _page_of(many, large)) for small, large in pairs]
    low, high = (statistics.median(pair[side] for pair in times) for side in (0, 1))
    return Measurement(
        f"a page of {PAGE:,} {what} out of {keys:,} keys",
        high / low,
        f"times that out of {FEW:,}",
        1.3,
        "less",
        f"{low * 1e3:.2f} ms, then {high * 1e3:.2f} ms of the directory's processor time",
    )


def _resident(what: str) -> int:
    """Return this process's resident memory (VmRSS), or its peak (VmHWM), in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))
