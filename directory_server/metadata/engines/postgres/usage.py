"""Counts what accounts, buckets and tenants with quotas use, as SQLite's engine does: with triggers.

They tell the session of each count that rises above its quota, in a notice. Whether it is still above is judged at the
end of the savepoint.
"""
# ruff: noqa: S608 - the names in these statements are our own

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from directory_server.metadata.engines.postgres.redo import function, trigger
from directory_server.metadata.statements.quotas import Counted

if TYPE_CHECKING:
    from psycopg.errors import Diagnostic

_NOTICE = "lockstep: above a quota"


class Risen(list[Counted]):
    """The counts that have risen above their quota, and have not been judged yet."""

    def note(self, notice: Diagnostic) -> None:
        """Note what a notice says, if it is about a count."""
        if notice.message_primary == _NOTICE and notice.message_detail:
            scope, name, resource = json.loads(notice.message_detail)
            self.append((scope, name, resource))


def triggers() -> Iterator[str]:
    """Return the statements that make the triggers."""
    yield function(
        "usage_risen",
        "IF NEW.used > (SELECT q.allowed FROM quota q WHERE q.scope = NEW.scope AND q.name = NEW.name"
        f" AND q.resource = NEW.resource) THEN RAISE NOTICE USING MESSAGE = '{_NOTICE}',"
        " DETAIL = json_build_array(NEW.scope, NEW.name, NEW.resource)::text; END IF; RETURN NULL;",
    )
    yield trigger("usage_risen", "AFTER UPDATE OF used", "usage", "NEW.used > OLD.used")
    owner = "changed record; sign bigint;"
    changed = "IF TG_OP = 'DELETE' THEN changed := OLD; sign := -1; ELSE changed := NEW; sign := 1; END IF;"
    yield function(
        "usage_version",
        f"IF NOT EXISTS (SELECT 1 FROM usage) THEN RETURN NULL; END IF; {changed}"
        " IF changed.digest IS NULL THEN RETURN NULL; END IF;"
        + _count("changed.bucket", "changed.author", ("bytes", "versions"), "changed.size"),
        f"DECLARE {owner}",
    )
    yield function(
        "usage_current",
        f"IF NOT EXISTS (SELECT 1 FROM usage) THEN RETURN NULL; END IF; {changed}"
        + _count("changed.bucket", "changed.author", ("files",), "1"),
        f"DECLARE {owner}",
    )
    yield function(
        "usage_part",
        f"IF NOT EXISTS (SELECT 1 FROM usage) THEN RETURN NULL; END IF; {changed}"
        " SELECT u.bucket, u.account INTO begun FROM upload u WHERE u.id = changed.upload;"
        + _count("begun.bucket", "begun.account", ("bytes",), "changed.size"),
        f"DECLARE begun record; {owner}",
    )
    for table in ("version", "current", "part"):
        yield trigger(f"usage_{table}", "AFTER INSERT OR DELETE", table)
    yield function(
        "usage_author",
        "UPDATE usage u SET used = u.used + CASE u.name WHEN NEW.author THEN 1 ELSE -1 END WHERE u.scope = 'account'"
        " AND u.name IN (NEW.author, OLD.author) AND u.resource = 'files'; RETURN NULL;",
    )
    yield trigger("usage_author", "AFTER UPDATE OF author", "current", "NEW.author <> OLD.author")


def _count(bucket: str, account: str, resources: tuple[str, ...], size: str) -> str:
    """Add to the counts of a bucket, of its owner's tenant and of an account."""
    named = ", ".join(f"'{resource}'" for resource in resources)
    # The owner's name up to the backslash. Without one it is no tenant's: the empty name has no count.
    tenant = f"(SELECT left(b.owner, greatest(strpos(b.owner, '\\') - 1, 0)) FROM bucket b WHERE b.name = {bucket})"
    return (
        f" UPDATE usage u SET used = u.used + sign * CASE u.resource WHEN 'bytes' THEN {size} ELSE 1 END"
        f" WHERE u.resource IN ({named}) AND ((u.scope = 'bucket' AND u.name = {bucket}) OR (u.scope = 'account'"
        f" AND u.name = {account}) OR (u.scope = 'tenant' AND u.name = {tenant})); RETURN NULL;"
    )
