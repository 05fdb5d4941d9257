"""Statements on two tables, and works that share a commit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, insert, select, update

from directory_server.metadata import schema
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import MetadataStore, Tx


def address_file(folder: Path) -> Path:
    """The file with the address of a test's database."""
    return folder / "postgresql.url"


def _postgres(folder: Path, **options: Any) -> MetadataStore:
    from directory_server.metadata.engines.postgres.store import PostgresStore

    return PostgresStore(address_file(folder).read_text(), **options)


ENGINES: dict[str, Callable[..., MetadataStore]] = {
    "sqlite": lambda folder, **options: SqliteStore(folder / "metadata.db", **options),
    "postgres": _postgres,
}
only_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

GET = Statement(select(schema.setting.c.value).where(schema.setting.c.name == bindparam("key")))
PUT = Statement(insert(schema.setting).values(name=bindparam("name"), value=bindparam("value")))
SET = Statement(update(schema.setting).where(schema.setting.c.name == bindparam("key")).values(value=bindparam("to")))
ALL = Statement(select(schema.setting.c.name).order_by(schema.setting.c.name))
NOTE = Statement(
    insert(schema.journal)
    .values({c.name: bindparam(c.name) for c in schema.journal.c if c.name != "cursor"})
    .returning(schema.journal.c.cursor)
)
FORGET = Statement(delete(schema.journal))
_found = select(schema.setting.c.name).cte("found")
FORGET_FOUND = Statement(delete(schema.setting).where(schema.setting.c.name.in_(select(_found.c.name))))


def put(store: MetadataStore, name: str, value: str = "") -> None:
    store.write(lambda tx: tx.run(PUT, name=name, value=value))


def names(store: MetadataStore) -> list[str]:
    with store.read() as reader:
        return [row[0] for row in reader.all(ALL)]


def journal(tx: Tx, kind: str = "") -> int:
    row = tx.one(NOTE, kind=kind, bucket="", path="", version="", at=0.0)
    assert row is not None
    return int(row[0])


def in_one_transaction(store: MetadataStore, works: list[Callable[[Tx], Any]]) -> list[Any]:
    """Make `works` share a commit, behind one that is held up; return results and exceptions."""
    started, go = threading.Event(), threading.Event()
    results: list[Any] = [None] * len(works)

    def hold(tx: Tx) -> None:
        started.set()
        go.wait(60)

    def submit(index: int) -> None:
        try:
            results[index] = store.write(works[index])
        except Exception as error:
            results[index] = error

    holder = threading.Thread(target=store.write, args=(hold,))
    holder.start()
    started.wait(60)
    threads = [threading.Thread(target=submit, args=(index,)) for index in range(len(works))]
    for index, thread in enumerate(threads):
        thread.start()
        while thread.is_alive() and _queued(store) <= index:
            pass
    go.set()
    for thread in [holder, *threads]:
        thread.join(60)
    return results


def _queued(store: MetadataStore) -> int:
    return len(store._group._queue)  # type: ignore[attr-defined]
