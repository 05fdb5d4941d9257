"""The journal of security events, for administrators: log-ins, refusals, keys, accounts, programs. Bounded.

Refused log-ins are written too, so that an attack shows. Those of one name and address within a few seconds are written
once: an attacker must not make the directory flush for every guess. Nor can an account displace what others did, by
making and revoking keys without end: beyond the bound, the oldest events of the account with the most of them go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select

from directory_server.metadata.schema import audit
from directory_server.metadata.schema_groups import tenant
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements.tenants import of_tenant
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.people.access_keys import PeopleClock
from lockstep_store.runtime.bounded import ExpiringMap
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.users import MAX_EVENTS, AuditEvent, AuditReply, AuditRequest
from lockstep_store.wire.names import tenant_of

QUIET_SECONDS = 5.0
TRIM_EVERY = 1000
_MAX_DETAIL = 500
_EVERY = 1 << 62
_COLUMNS = ("at", "kind", "account", "subject", "address", "detail")
_ABOUT_ACCOUNTS = (
    *("account made", "account changed", "account deleted", "password reset", "second factor reset"),
    *("access revoked", "identity linked", "identity unlinked", "log-in refused", "link refused"),
)
"""Kinds of events whose subject is an account. Others have paths there, which may be written like its name."""
_INSERT = Statement(insert(audit).values({name: bindparam(name) for name in _COLUMNS}))
_READ = Statement(
    select(audit.c.id, *(audit.c[name] for name in _COLUMNS))
    .where(audit.c.id > bindparam("after"))
    .order_by(audit.c.id)
    .limit(bindparam("count"))
)
_READ_OF_TENANT = Statement(
    select(audit.c.id, *(audit.c[name] for name in _COLUMNS))
    .where(
        audit.c.id > bindparam("after"),
        # An earlier tenant of that name was somebody else.
        audit.c.at >= select(tenant.c.created_at).where(tenant.c.name == bindparam("tenant")).scalar_subquery(),
        or_(
            of_tenant(audit.c.account, bindparam("tenant")),
            and_(
                of_tenant(audit.c.subject, bindparam("tenant")),
                or_(*(audit.c.kind == kind for kind in _ABOUT_ACCOUNTS)),
            ),
        ),
    )
    .order_by(audit.c.id)
    .limit(bindparam("count"))
)
_BUSIEST = Statement(
    select(audit.c.account, func.count().label("events"))
    .group_by(audit.c.account)
    .order_by(func.count().desc(), audit.c.account)
)
_OLDEST_OF = Statement(
    select(audit.c.id)
    .where(audit.c.account == bindparam("of_account"))
    .order_by(audit.c.id)
    .limit(1)
    .offset(bindparam("offset"))
)
_TRIM = Statement(delete(audit).where(audit.c.account == bindparam("of_account"), audit.c.id < bindparam("before")))


class Auditor(Protocol):
    """Notes security events."""

    def note(self, kind: str, account: str, *, subject: str = "", address: str = "", detail: str = "") -> None: ...

    def write(
        self, tx: Tx, kind: str, account: str, subject: str = "", address: str = "", detail: str = ""
    ) -> None: ...


class AuditJournal:
    """Thread-safe."""

    def __init__(self, store: MetadataStore, clock: PeopleClock) -> None:
        self._store = store
        self._clock = clock
        self._written = TRIM_EVERY
        """Since the last `trim`, which reads everything."""
        self._recent: ExpiringMap[tuple[str, str, str, str], bool] = ExpiringMap(10_000, QUIET_SECONDS, clock.now)

    def note(self, kind: str, account: str, *, subject: str = "", address: str = "", detail: str = "") -> None:
        """Write one event. A failure is logged and changes nothing else: what is noted has happened already."""
        same = (kind, account, subject, address)
        if kind.endswith("refused"):
            if self._recent.get(same):
                return
            self._recent.set(same, True)
        try:
            self._store.write(lambda tx: self.write(tx, kind, account, subject, address, detail))
        except LockstepError as error:
            log.error("the security event %s of %s was not written: %s", kind, account, error)

    def write(self, tx: Tx, kind: str, account: str, subject: str = "", address: str = "", detail: str = "") -> None:
        """Write one event with the change that it is about."""
        self._written += 1
        tx.run(
            _INSERT,
            at=self._clock.wall(),
            kind=kind,
            account=account,
            subject=subject,
            address=address,
            detail=detail[:_MAX_DETAIL],
        )

    def read(self, request: AuditRequest, tenant: str = "") -> AuditReply:
        """Return events after `after`, the oldest first.

        With a tenant, what its accounts did and what was done to them; who did that from outside has no name.
        """
        with self._store.read() as reader:
            if tenant:
                rows = reader.all(_READ_OF_TENANT, after=request.after, count=request.limit, tenant=tenant)
            else:
                rows = reader.all(_READ, after=request.after, count=request.limit)
        events = [AuditEvent(row[0], row[1], row[2], row[3], row[4], row[5], row[6]) for row in rows]
        for event in events:
            if tenant and tenant_of(event.account) != tenant:
                event.account = ""
        return AuditReply(events)

    def trim(self, tx: Tx) -> None:
        """Drop events beyond the bound, if there are many new ones: the oldest of the accounts that have the most."""
        if self._written < TRIM_EVERY:
            return
        self._written = 0
        counts = {row[0]: row[1] for row in tx.all(_BUSIEST)}
        for account, kept in _fair_shares(counts, MAX_EVENTS).items():
            if kept < counts[account]:
                first = tx.one(_OLDEST_OF, of_account=account, offset=counts[account] - kept)
                tx.run(_TRIM, of_account=account, before=first[0] if first is not None else _EVERY)


def _fair_shares(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """How many events each account may keep: all of them, or as many as the others that may not keep all."""
    shares: dict[str, int] = {}
    left = most
    for place, (account, count) in enumerate(sorted(counts.items(), key=lambda item: (item[1], item[0]))):
        shares[account] = min(count, left // (len(counts) - place))
        left -= shares[account]
    return shares


class NoAudit:
    """Notes nothing, for components without a journal."""

    def note(self, kind: str, account: str, *, subject: str = "", address: str = "", detail: str = "") -> None:
        """Do nothing."""

    def write(self, tx: Tx, kind: str, account: str, subject: str = "", address: str = "", detail: str = "") -> None:
        """Do nothing."""
