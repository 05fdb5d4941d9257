"""Counts what accounts, buckets and tenants with quotas use, in the transaction of each change.

Triggers of the writer's connection count, so no statement that makes or removes a version, however it comes about, can
be forgotten, a savepoint that is undone takes its counts along, and without quotas no further statement runs. They note
each count that rises above its quota. Whether it is still above is judged at the end of the savepoint: a move makes the
new version before it removes the old one.

Delete markers have no content and are not counted, so that deleting is always possible. Content counts for its author,
and parts for the account that began their upload.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from directory_server.metadata.statements.quotas import Counted

_NOTE = "lockstep_note_usage"


class UsageCounter:
    """Counts on one connection. Only its thread may use it.

    `risen` has the counts that have risen above their quota, and have not been judged yet.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.risen: list[Counted] = []
        connection.create_function(_NOTE, 3, self._note)
        connection.execute("BEGIN").close()
        for trigger in _triggers():
            connection.execute(trigger).close()
        connection.execute("COMMIT").close()

    def _note(self, scope: str, name: str, resource: str) -> None:
        self.risen.append((scope, name, resource))


def _triggers() -> Iterator[str]:
    yield (
        "CREATE TEMP TRIGGER usage_risen AFTER UPDATE OF used ON main.usage"  # noqa: S608 - our own names
        " WHEN NEW.used > OLD.used AND NEW.used > (SELECT allowed FROM quota q"
        " WHERE q.scope = NEW.scope AND q.name = NEW.name AND q.resource = NEW.resource)"
        f" BEGIN SELECT {_NOTE}(NEW.scope, NEW.name, NEW.resource); END"
    )
    for event, row, sign in (("INSERT", "NEW", "+"), ("DELETE", "OLD", "-")):
        owners = (("bucket", f"{row}.bucket"), ("account", f"{row}.author"), ("tenant", _tenant(f"{row}.bucket")))
        size = f"CASE resource WHEN 'bytes' THEN {row}.size ELSE 1 END"
        yield _trigger(event, "version", f"{row}.digest IS NOT NULL", owners, ("bytes", "versions"), f"{sign} {size}")
        yield _trigger(event, "current", "TRUE", owners, ("files",), f"{sign} 1")
        of_upload = f"FROM upload u WHERE u.id = {row}.upload"
        bucket = f"(SELECT u.bucket {of_upload})"
        begun = (("bucket", bucket), ("account", f"(SELECT u.account {of_upload})"), ("tenant", _tenant(bucket)))
        yield _trigger(event, "part", "TRUE", begun, ("bytes",), f"{sign} {row}.size")
    for row, sign in (("NEW", "+"), ("OLD", "-")):
        who = (("account", f"{row}.author"),)
        yield _trigger("UPDATE OF author", "current", "NEW.author <> OLD.author", who, ("files",), f"{sign} 1", row)


def _tenant(bucket: str) -> str:
    """Whose a bucket is: its owner's name up to the backslash, and the empty name without one."""
    return f"(SELECT substr(b.owner, 1, instr(b.owner, '\\') - 1) FROM bucket b WHERE b.name = {bucket})"  # noqa: S608 - our own names


def _trigger(
    event: str,
    table: str,
    condition: str,
    owners: tuple[tuple[str, str], ...],
    resources: tuple[str, ...],
    change: str,
    row: str = "",
) -> str:
    named = " OR ".join(f"resource = '{resource}'" for resource in resources)
    updates = " ".join(
        f"UPDATE usage SET used = used {change} WHERE scope = '{scope}' AND name = {name} AND ({named});"  # noqa: S608 - our own names
        for scope, name in owners
    )
    name = f"usage_{table}_{event.split()[0].lower()}{row.lower()}"
    return (
        f"CREATE TEMP TRIGGER {name} AFTER {event} ON main.{table}"  # noqa: S608 - our own names
        f" WHEN {condition} AND EXISTS (SELECT 1 FROM usage) BEGIN {updates} END"
    )
