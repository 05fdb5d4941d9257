"""Statements about folders: the paths in them, and the changes of whole folders."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select, update

from directory_server.metadata.schema import current
from directory_server.metadata.schema_folders import folder_change, folder_problem
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements.listings import LAST
from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.errors import Problem
from lockstep_store.wire.messages.folders import FolderChange, FolderChangeKind, FolderChangeState, FolderProblem

FORGET_AT_ONCE = 100
_problems = decoder(Problem)


class FolderChangeRow(NamedTuple):
    """A row of `folder_change`, in the table's order."""

    id: str
    kind: FolderChangeKind
    bucket: str
    path: str
    to_bucket: str
    to_path: str
    account: str
    access: str
    limited_by: str
    state: FolderChangeState
    total: int
    done: int
    failed: int
    handled: int
    position: str
    cursor: int
    reason: str
    began_at: float
    ended_at: float | None
    ended_time: float | None

    def info(self) -> FolderChange:
        return FolderChange(
            id=self.id,
            kind=self.kind,
            bucket=self.bucket,
            path=self.path,
            account=self.account,
            state=self.state,
            total=self.total,
            done=self.done,
            failed=self.failed,
            began_at=self.began_at,
            to_bucket=self.to_bucket,
            to_path=self.to_path,
            ended_at=self.ended_at,
            cursor=self.cursor,
            reason=self.reason,
        )


_c = folder_change.c
_COLUMNS = tuple(_c[name] for name in FolderChangeRow._fields)
_BELOW = (
    current.c.bucket == bindparam("bucket"),
    current.c.path > bindparam("after"),
    current.c.path < bindparam("end"),
)
_PATHS = Statement(select(current.c.path).where(*_BELOW).order_by(current.c.path).limit(bindparam("count")))
_COUNT = Statement(select(func.count()).select_from(current).where(*_BELOW))
_ONE = Statement(select(*_COLUMNS).where(_c.id == bindparam("id")))
_OF_ACCOUNT = Statement(
    select(*_COLUMNS)
    .where(_c.account == bindparam("account"))
    .order_by(_c.began_at.desc(), _c.id)
    .limit(bindparam("count"))
)
_COUNT_RUNNING = Statement(
    select(func.count()).select_from(folder_change).where(_c.state == "running", _c.account == bindparam("account"))
)
_NEXT_RUNNING = Statement(
    select(*_COLUMNS).where(_c.state == "running", _c.id > bindparam("after")).order_by(_c.id).limit(1)
)
_INSERT = Statement(insert(folder_change).values({name: bindparam(name) for name in FolderChangeRow._fields}))
_CHANGING = ("state", "done", "failed", "handled", "position", "cursor", "reason", "ended_at", "ended_time")
_UPDATE = Statement(
    update(folder_change)
    .where(_c.id == bindparam("of_id"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGING})
)
_ENDED = select(_c.id).where(_c.ended_time < bindparam("before")).order_by(_c.id).limit(FORGET_AT_ONCE)
_FORGET_PROBLEMS = Statement(delete(folder_problem).where(folder_problem.c.change.in_(_ENDED)))
_FORGET = Statement(delete(folder_change).where(_c.id.in_(_ENDED)))
_theirs = select(_c.id).where(_c.account == bindparam("of_account"))
DELETE_ALL_OF = (
    Statement(delete(folder_problem).where(folder_problem.c.change.in_(_theirs))),
    Statement(delete(folder_change).where(_c.account == bindparam("of_account"))),
)
"""Delete an account's changes, also those that are running: they would go on in the name of its successor."""
_INSERT_PROBLEM = Statement(insert(folder_problem).values({c.name: bindparam(c.name) for c in folder_problem.c}))
_DELETE_PROBLEMS = Statement(delete(folder_problem).where(folder_problem.c.change == bindparam("of_change")))
_PROBLEMS = Statement(
    select(folder_problem.c.path, folder_problem.c.problem)
    .where(folder_problem.c.change == bindparam("of_change"), folder_problem.c.path > bindparam("after"))
    .order_by(folder_problem.c.path)
    .limit(bindparam("count"))
)


def paths_below(reader: Reader, bucket: str, folder: str, count: int, after: str = "") -> list[str]:
    """Return the first `count` paths of a folder behind the path `after`; the folder's own object is the first."""
    start = after or _before(folder)
    return [row[0] for row in reader.all(_PATHS, bucket=bucket, after=start, end=folder + LAST, count=count)]


def count_below(reader: Reader, bucket: str, folder: str) -> int:
    """Return how many files a folder has. Reads an index entry for each."""
    row = reader.one(_COUNT, bucket=bucket, after=_before(folder), end=folder + LAST)
    return int(row[0]) if row else 0


def find_change(reader: Reader, id: str) -> FolderChangeRow | None:
    """Return the change, or None."""
    row = reader.one(_ONE, id=id)
    return None if row is None else FolderChangeRow(*row)


def changes_of(reader: Reader, account: str, count: int) -> list[FolderChangeRow]:
    """Return the newest changes of an account."""
    return [FolderChangeRow(*row) for row in reader.all(_OF_ACCOUNT, account=account, count=count)]


def count_running(reader: Reader, account: str) -> int:
    """Return how many changes of an account are running."""
    row = reader.one(_COUNT_RUNNING, account=account)
    return int(row[0]) if row else 0


def next_running(reader: Reader, after: str) -> FolderChangeRow | None:
    """Return the running change with the smallest id above `after`."""
    row = reader.one(_NEXT_RUNNING, after=after)
    return None if row is None else FolderChangeRow(*row)


def insert_change(tx: Tx, change: FolderChangeRow) -> None:
    tx.run(_INSERT, **change._asdict())


def update_change(tx: Tx, change: FolderChangeRow) -> None:
    """Store how far the change is."""
    tx.run(_UPDATE, of_id=change.id, **{f"new_{name}": getattr(change, name) for name in _CHANGING})


def forget_ended(tx: Tx, before: float) -> None:
    """Delete some changes that ended before that directory time, with their problems."""
    tx.run(_FORGET_PROBLEMS, before=before)
    tx.run(_FORGET, before=before)


def insert_problem(tx: Tx, change: str, path: str, problem: Problem) -> None:
    tx.run(_INSERT_PROBLEM, change=change, path=path, problem=encode(problem).decode())


def delete_problems(tx: Tx, change: str) -> None:
    tx.run(_DELETE_PROBLEMS, of_change=change)


def problems_of(reader: Reader, change: str, after: str, count: int) -> list[FolderProblem]:
    """Return the first `count` problems of a change behind the path `after`."""
    rows = reader.all(_PROBLEMS, of_change=change, after=after, count=count)
    return [FolderProblem(path, _problems.decode(problem)) for path, problem in rows]


def _before(folder: str) -> str:
    """Return a text that is less than every path of the folder, and greater than every path before."""
    return folder[:-1] + chr(ord("/") - 1) + LAST
