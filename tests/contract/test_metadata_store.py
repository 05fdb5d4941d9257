"""The promises of every metadata engine (directory_server/metadata/store.py)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from directory_server.metadata.store import ConstraintBroken, MetadataStore, Reader, Tx
from lockstep_store.wire.errors import LockstepError, Unavailable
from tests import ROOT
from tests.contract.store_rows import ALL, FORGET, FORGET_FOUND, GET, PUT, SET, in_one_transaction, journal, names, put


def test_a_write_is_there_after_reopening(open_store: Callable[..., MetadataStore]) -> None:
    """The next process reads every write that returned."""
    store = open_store()
    put(store, "a", "1")
    store.close()
    with open_store().read() as reader:
        assert reader.one(GET, key="a") == ("1",)


def test_a_write_that_raises_leaves_nothing(store: MetadataStore) -> None:
    """The error is raised, its transaction is undone, and the store goes on."""

    def fails(tx: Tx) -> None:
        tx.run(PUT, name="gone", value="")
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        store.write(fails)
    put(store, "kept")
    assert names(store) == ["kept"]
    assert store.problem == ""


def test_callers_sharing_a_commit_are_undone_alone(store: MetadataStore) -> None:
    """One caller's refusal undoes that caller's work and nobody else's."""

    def fails(tx: Tx) -> None:
        tx.run(PUT, name="gone", value="")
        raise LookupError

    works: list[Callable[[Tx], Any]] = [
        lambda tx: tx.run(PUT, name="a", value=""),
        fails,
        lambda tx: tx.run(PUT, name="b", value=""),
    ]
    first, second, third = in_one_transaction(store, works)
    assert (first, third) == (1, 1)
    assert isinstance(second, LookupError)
    assert names(store) == ["a", "b"]


def test_savepoints_nest(store: MetadataStore) -> None:
    """A savepoint undoes what is in it, down to the depth that raised, and the work goes on."""

    def work(tx: Tx) -> None:
        tx.run(PUT, name="outer", value="")
        with pytest.raises(LookupError), tx.savepoint():
            tx.run(PUT, name="middle", value="")
            with tx.savepoint():
                tx.run(PUT, name="inner", value="")
                raise LookupError
        with tx.savepoint():
            tx.run(PUT, name="later", value="")

    store.write(work)
    assert names(store) == ["later", "outer"]


def test_whatever_changes_rows_is_undone(store: MetadataStore) -> None:
    """Also a statement that begins with what it reads, and does nothing else in its savepoint."""
    put(store, "a")

    def work(tx: Tx) -> None:
        with pytest.raises(LookupError), tx.savepoint():
            tx.run(FORGET_FOUND)
            assert tx.all(ALL) == []
            raise LookupError
        tx.run(PUT, name="b", value="")

    store.write(work)
    assert names(store) == ["a", "b"]


def test_a_broken_constraint_is_told_and_survived(store: MetadataStore) -> None:
    """A key that exists raises ConstraintBroken, and with its savepoint undone the transaction can still be used."""

    def work(tx: Tx) -> None:
        tx.run(PUT, name="a", value="")
        with pytest.raises(ConstraintBroken), tx.savepoint():
            tx.run(PUT, name="a", value="")
        tx.run(PUT, name="b", value="")

    store.write(work)
    assert names(store) == ["a", "b"]


def test_run_tells_how_many_rows_changed(store: MetadataStore) -> None:
    """run() returns 0 for an update that matches no row."""
    put(store, "a")
    assert store.write(lambda tx: (tx.run(SET, key="a", to="x"), tx.run(SET, key="b", to="x"))) == (1, 0)


def test_a_read_is_one_moment(store: MetadataStore) -> None:
    """A snapshot does not see what is committed after its first read; the next snapshot does."""
    put(store, "a")
    with store.read() as reader:
        assert reader.all(ALL) == [("a",)]
        put(store, "b")
        assert reader.all(ALL) == [("a",)]
    assert names(store) == ["a", "b"]


def test_many_readers_at_once(store: MetadataStore) -> None:
    """More snapshots than kept connections can be open at the same time."""
    put(store, "a")
    readers = [store.read() for _ in range(30)]
    opened: list[Reader] = [reader.__enter__() for reader in readers]
    assert all(reader.all(ALL) == [("a",)] for reader in opened)
    for reader in readers:
        reader.__exit__(None, None, None)
    assert names(store) == ["a"]


def test_a_reader_cannot_write(store: MetadataStore) -> None:
    """A snapshot rejects a statement that writes, and nothing is changed."""
    with store.read() as reader, pytest.raises((LockstepError, ConstraintBroken)):
        reader.one(PUT, name="a", value="")
    assert names(store) == []


def test_works_run_one_after_another(store: MetadataStore) -> None:
    """Read-and-add from 16 threads loses no addition: every work sees the results of those before it."""
    put(store, "count", "0")

    def add(tx: Tx) -> None:
        row = tx.one(GET, key="count")
        assert row is not None
        tx.run(SET, key="count", to=str(int(row[0]) + 1))

    threads = [threading.Thread(target=lambda: [store.write(add) for _ in range(25)]) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as reader:
        assert reader.one(GET, key="count") == ("400",)


def test_after_commit_follows_the_commit(store: MetadataStore) -> None:
    """after_commit calls run once the write can be read, and not for what was undone."""
    seen: list[list[str]] = []
    undone: list[str] = []

    def work(tx: Tx) -> None:
        tx.run(PUT, name="a", value="")
        tx.after_commit(lambda: seen.append(names(store)))
        with pytest.raises(LookupError), tx.savepoint():
            tx.after_commit(lambda: undone.append("inner"))
            raise LookupError

    def fails(tx: Tx) -> None:
        tx.after_commit(lambda: undone.append("whole"))
        raise LookupError

    store.write(work)
    with pytest.raises(LookupError):
        store.write(fails)
    put(store, "b")
    assert seen == [["a"]]
    assert undone == []


def test_work_at_both_ends_of_each_transaction(store: MetadataStore) -> None:
    """Registered works run in every transaction, before and after the caller's."""
    order: list[str] = []
    store.first_in_each_transaction(lambda tx: order.append("first"))
    store.last_in_each_transaction(lambda tx: order.append("last"))
    store.last_in_each_transaction(lambda tx: tx.run(SET, key="a", to="saved"))
    store.write(lambda tx: (order.append("work"), tx.run(PUT, name="a", value="")))
    assert order == ["first", "work", "last"]
    with store.read() as reader:
        assert reader.one(GET, key="a") == ("saved",)


def test_text_orders_by_its_bytes(store: MetadataStore) -> None:
    """Names come in the order of their UTF-8 bytes: capitals first, astral characters after all others."""
    given = ["a", "B", "é", "\uffee", "\U0001f600", "ab", "a/", "a!"]
    for name in given:
        put(store, name)
    assert names(store) == sorted(given, key=lambda name: name.encode())


def test_a_number_is_never_given_twice(open_store: Callable[..., MetadataStore]) -> None:
    """Journal cursors rise for ever, also when all rows are gone and the store was opened again."""
    store = open_store()
    last = [store.write(journal) for _ in range(3)][-1]
    store.write(lambda tx: tx.run(FORGET))
    store.close()
    assert open_store().write(journal) == last + 1


def test_a_closed_store_says_so(store: MetadataStore) -> None:
    """After close, which may be repeated, reads and writes raise an error that can be retried."""
    store.close()
    store.close()
    with pytest.raises(Unavailable):
        put(store, "a")
    with pytest.raises(Unavailable), store.read():
        pass


CHILD = """
import sys, threading
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.contract.store_rows import ENGINES, PUT
store = ENGINES[{engine!r}](Path({folder!r}))
say = threading.Lock()

def write(thread):
    for number in range(100_000):
        name = f"{{thread}}-{{number}}"
        store.write(lambda tx: tx.run(PUT, name=name, value=""))
        with say:
            print(name, flush=True)

for thread in range(8):
    threading.Thread(target=write, args=(thread,)).start()
"""


def test_a_killed_process_loses_nothing_acknowledged(
    engine: str, open_store: Callable[..., MetadataStore], tmp_path: Path
) -> None:
    """After SIGKILL in the middle of commits, every write that was acknowledged is there."""
    root = ROOT
    script = textwrap.dedent(CHILD).format(root=str(root), folder=str(tmp_path), engine=engine)
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        acknowledged = [child.stdout.readline().strip() for _ in range(500)]
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in child.stdout if line.endswith("\n")]
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    kept = set(names(open_store()))
    assert [name for name in acknowledged if name not in kept] == []
    assert len(acknowledged) >= 500
