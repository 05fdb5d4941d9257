"""Tenants: the cluster's administrators make and delete them. An account's name says its tenant."""

from __future__ import annotations

from directory_server.metadata.statements import journal, people, quotas
from directory_server.metadata.statements import tenants as rows
from directory_server.metadata.statements.tenants import TenantRow
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.access_keys import PeopleClock
from directory_server.people.audit import AuditJournal
from directory_server.people.look_alikes import skeleton
from directory_server.people.person import Person
from lockstep_store.wire.errors import AlreadyExists, Conflict
from lockstep_store.wire.messages.tenants import MAX_TENANTS, CreateTenantRequest, TenantInfo, TenantsReply
from lockstep_store.wire.names import TENANT_SEPARATOR as SEPARATOR
from lockstep_store.wire.names import check_tenant, quoted


class Tenants:
    """Thread-safe. Callers have checked that `by` is an administrator of the cluster."""

    def __init__(self, store: MetadataStore, clock: PeopleClock, audit: AuditJournal) -> None:
        self._store = store
        self._clock = clock
        self._audit = audit

    def all(self) -> TenantsReply:
        """Return every tenant, by name."""
        with self._store.read() as reader:
            return TenantsReply([_info(reader, one) for one in rows.every_tenant(reader)])

    def create(self, by: Person, request: CreateTenantRequest) -> TenantInfo:
        """Make a tenant. AlreadyExists for a taken name, or one that looks like another tenant's.

        Conflict if names of accounts or of buckets' owners begin with it already.
        """
        name = check_tenant(request.name)

        def work(tx: Tx) -> TenantInfo:
            known = rows.every_tenant(tx)
            for other in known:
                if skeleton(other.name) == skeleton(name):
                    looks = "exists already" if other.name == name else f"looks like {other.name!r}"
                    raise AlreadyExists(f"tenant {name!r} {looks}: choose another name")
            if len(known) >= MAX_TENANTS:
                raise Conflict(f"there are {MAX_TENANTS} tenants already: delete one first")
            rows.insert_tenant(tx, name, request.description, self._clock.wall())
            made = rows.require(tx, name)
            if made.accounts or made.buckets:  # of a version in which such a name meant nothing
                raise Conflict(
                    f"accounts or owners of buckets have names that begin with {quoted(f'{name}{SEPARATOR}')}, and "
                    "would belong to the tenant: delete them first, or choose another name"
                )
            self._audit.write(tx, "tenant made", by.account, name)
            return _info(tx, made)

        return self._store.write(work)

    def delete(self, by: Person, name: str) -> None:
        """Delete a tenant with its groups and quota. Conflict while it has accounts or buckets."""

        def work(tx: Tx) -> None:
            found = rows.require(tx, name)
            if found.accounts or found.buckets:
                raise Conflict(
                    f"tenant {name!r} still has accounts ({found.accounts}) and buckets ({found.buckets}): delete "
                    "those first",
                    accounts=found.accounts,
                    buckets=found.buckets,
                )
            rows.delete_tenant(tx, name)
            quotas.drop_quotas(tx, quotas.TENANT, name)
            journal.forget_past_buckets(tx, name)
            self._audit.write(tx, "tenant deleted", by.account, name)

        self._store.write(work)


def _info(reader: Reader, row: TenantRow) -> TenantInfo:
    administrators = people.administrators(reader, row.name)
    return TenantInfo(row.name, row.created_at, row.accounts, row.buckets, row.description, administrators)
