"""Quotas: what an administrator allows accounts, buckets and tenants. Everybody sees their own.

The store judges versions, bytes and files in the transaction of each change (see metadata/store.py). Buckets, locks,
places in line, keys and followers are judged where somebody wants one more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from directory_server.metadata.statements import buckets, people, tenants
from directory_server.metadata.statements import quotas as rows
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.audit import AuditJournal
from directory_server.people.person import Person
from lockstep_store.wire.errors import BadRequest, Forbidden
from lockstep_store.wire.messages.quotas import (
    BUILT_IN,
    COUNTED_RESOURCES,
    RESOURCES,
    QuotaInfo,
    QuotaReply,
    QuotaScope,
    QuotasReply,
    Resource,
)
from lockstep_store.wire.names import TENANT_SEPARATOR, quoted, tenant_of

DemandRoom = Callable[[Reader, str, str, Callable[[], int]], None]


class Quotas:
    """Shows and sets quotas. Thread-safe."""

    def __init__(self, store: MetadataStore, audit: AuditJournal) -> None:
        self._store = store
        self._audit = audit
        self._counted: frozenset[tuple[str, str]] = frozenset()
        self._judge_early: Callable[[DemandRoom | None], None] = lambda demand: None
        self.count_missing()

    def watch(self, judge_early: Callable[[DemandRoom | None], None]) -> None:
        """Call `judge_early` now and whenever that changes: with `demand_room`, or None if there are no such quotas."""
        self._judge_early = judge_early
        self._note(self._counted)

    def show(self, person: Person, scope: QuotaScope, name: str) -> QuotaReply:
        """Return the quotas of an account, bucket or tenant and what it has; Forbidden for those of others."""
        with self._store.read() as reader:
            _demand_sight(reader, person, scope, name)
            return _reply(reader, scope, name)

    def all(self, by: Person) -> QuotasReply:
        """Return what has a quota, by scope and name. The caller has checked that `by` is an administrator."""
        with self._store.read() as reader:
            owners = dict.fromkeys((scope, name) for scope, name, _, _ in rows.every_quota(reader))
            found = [one for one in owners if by.administers(_owner(reader, *one))]
            return QuotasReply([_reply(reader, scope, name) for scope, name in found])

    def set(self, by: Person, scope: QuotaScope, name: str, values: Mapping[str, int | None]) -> QuotaReply:
        """Set or remove quotas. The caller has checked that `by` is an administrator.

        Counting what is there takes about a second for a million versions, in which nobody writes. A quota below what
        is there refuses more, and removes nothing.
        """
        unknown = sorted(values.keys() - set(RESOURCES[scope]))
        if unknown:
            raise BadRequest(f"a quota of {scope}s has no {', '.join(unknown)}; it has {', '.join(RESOURCES[scope])}")

        def work(tx: Tx) -> QuotaReply:
            if scope == rows.TENANT and not by.admin:
                raise Forbidden(f"only an administrator of the cluster may set the quotas of tenant {name!r}")
            _demand_existence(tx, by, scope, name)
            if not by.admin:
                _demand_bounds(scope, values)
            for resource, value in values.items():
                rows.set_quota(tx, scope, name, resource, value)
            shown = ", ".join(f"{key}={'none' if value is None else value}" for key, value in values.items())
            self._audit.write(tx, "quota set", by.account, f"{scope} {name}", detail=shown)
            counted = _counted(tx)
            tx.after_commit(lambda: self._note(counted))
            return _reply(tx, scope, name)

        return self._store.write(work)

    def count_missing(self) -> None:
        """Count what has a quota and is not counted yet: after a restore, and after late redo records."""

        def work(tx: Tx) -> frozenset[tuple[str, str]]:
            for scope, name, resource, _ in rows.every_quota(tx):
                if resource in COUNTED_RESOURCES and rows.used(tx, scope, name, resource) is None:
                    rows.count_again(tx, scope, name, resource)
            return _counted(tx)

        self._note(self._store.write(work))

    def demand_room(self, reader: Reader, bucket: str, account: str, added: Callable[[], int]) -> None:
        """Refuse a write before its bytes are sent, as far as is known now; the commit decides. QuotaExceeded.

        Only accounts and buckets with such quotas cost a statement.
        """
        for scope, name in ((rows.BUCKET, bucket), (rows.ACCOUNT, account), (rows.TENANT, tenant_of(account))):
            if (scope, name) in self._counted:
                size = added()
                if size > 0:
                    rows.demand_counted_room(reader, scope, name, "bytes", size)

    def _note(self, counted: frozenset[tuple[str, str]]) -> None:
        self._counted = counted
        self._judge_early(self.demand_room if counted else None)


def _counted(reader: Reader) -> frozenset[tuple[str, str]]:
    return frozenset((scope, name) for scope, name, resource, _ in rows.every_quota(reader) if resource == "bytes")


def _demand_sight(reader: Reader, person: Person, scope: QuotaScope, name: str) -> None:
    owner = _owner(reader, scope, name)
    if not person.administers(owner) and (scope == rows.TENANT or person.account != owner):
        raise Forbidden(f"only its owner and administrators may see the quotas of {scope} {quoted(name)}")
    _demand_existence(reader, person, scope, name)


def _demand_existence(reader: Reader, person: Person, scope: QuotaScope, name: str) -> None:
    hidden = bool(person.tenant) and tenant_of(_owner(reader, scope, name)) != person.tenant
    if scope == rows.BUCKET:
        if hidden:
            raise buckets.missing(name)
        buckets.require(reader, name)
    elif scope == rows.TENANT:
        if hidden:
            raise tenants.missing(name)
        tenants.require(reader, name)
    elif hidden or reader.one(people.ACCOUNT, name=name) is None:
        raise people.missing(name)


def _demand_bounds(scope: QuotaScope, values: Mapping[str, int | None]) -> None:
    """Raise Forbidden above a built-in bound: those protect what all tenants share."""
    for resource, value in values.items():
        bound = BUILT_IN.get((scope, resource))
        if value is not None and bound is not None and value > bound:
            raise Forbidden(
                f"an {scope} of a tenant may have at most {bound} {resource}: only an administrator of the cluster may "
                "allow more"
            )


def _owner(reader: Reader, scope: QuotaScope, name: str) -> str:
    """Return the account whose quotas they are; for a tenant's, what the names of its accounts begin with."""
    if scope == rows.BUCKET:
        found = buckets.find(reader, name)
        return found.owner if found is not None else ""
    return f"{name}{TENANT_SEPARATOR}" if scope == rows.TENANT else name


def _reply(reader: Reader, scope: QuotaScope, name: str) -> QuotaReply:
    given = rows.quotas_of(reader, scope, name)
    return QuotaReply(scope, name, [_info(reader, scope, name, resource, given) for resource in RESOURCES[scope]])


def _info(reader: Reader, scope: QuotaScope, name: str, resource: Resource, given: Mapping[str, int]) -> QuotaInfo:
    counted = resource in COUNTED_RESOURCES
    used = (rows.used if counted else rows.count_now)(reader, scope, name, resource)
    built_in = None if resource in given else BUILT_IN.get((scope, resource))
    return QuotaInfo(resource, given.get(resource, built_in), used, built_in is not None)
