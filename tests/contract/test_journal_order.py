"""The order that every engine gives the journal (directory_server/files/journal.py relies on it)."""

from __future__ import annotations

import threading
from collections.abc import Callable

from directory_server.metadata.statements import journal as statements
from directory_server.metadata.store import MetadataStore, Tx
from tests.contract.store_rows import journal


def _cursors_after(store: MetadataStore, cursor: int) -> list[int]:
    with store.read() as reader:
        rows = reader.all(statements.EVERYTHING, after=cursor, until=cursor + 10_000, count=10_000)
        return [row[0] for row in rows]


def test_no_smaller_cursor_appears_after_a_larger_one_was_seen(store: MetadataStore) -> None:
    """A reader that goes on from its last cursor misses nothing, while writers commit and fail."""
    writers, each = 6, 40

    def write() -> None:
        for number in range(each):
            if number % 5 == 4:
                _refused(store)
            else:
                store.write(lambda tx: [journal(tx), journal(tx)])

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    while any(thread.is_alive() for thread in threads):
        seen += _cursors_after(store, seen[-1] if seen else 0)
    seen += _cursors_after(store, seen[-1] if seen else 0)
    assert seen == sorted(set(seen))
    assert seen == _cursors_after(store, 0)
    assert len(seen) == writers * each * 2 * 4 // 5


def _refused(store: MetadataStore) -> None:
    def fails(tx: Tx) -> None:
        journal(tx)
        raise LookupError

    try:
        store.write(fails)
    except LookupError:
        return
    raise AssertionError("a write that raises must raise")


def test_a_transactions_changes_become_visible_together(store: MetadataStore) -> None:
    """A snapshot has all of a commit or nothing of it, so a move is never seen with one of its sides only."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            store.write(lambda tx: [journal(tx), journal(tx)])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(200):
            assert len(_cursors_after(store, 0)) % 2 == 0
    finally:
        stop.set()
        thread.join(60)


def test_cursors_never_fall_over_a_restart(open_store: Callable[..., MetadataStore]) -> None:
    """The first cursor after a restart is larger than every one before it."""
    first = open_store()
    last = first.write(journal)
    first.close()
    assert open_store().write(journal) > last
