"""The journal of security events, for administrators: log-ins, refusals, keys, accounts. Bounded.

Refused log-ins are written too, so that an attack shows. Those of one name and address within a few seconds are written
once: an attacker must not make the directory flush for every guess.
"""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import bindparam, delete, insert, select

from directory_server.metadata.schema import audit
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.people.access_keys import PeopleClock
from lockstep_store.runtime.bounded import ExpiringMap
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.users import MAX_EVENTS, AuditEvent, AuditReply, AuditRequest

QUIET_SECONDS = 5.0
_MAX_DETAIL = 500
_COLUMNS = ("at", "kind", "account", "subject", "address", "detail")
_INSERT = Statement(insert(audit).values({name: bindparam(name) for name in _COLUMNS}))
_READ = Statement(
    select(audit.c.id, *(audit.c[name] for name in _COLUMNS))
    .where(audit.c.id > bindparam("after"))
    .order_by(audit.c.id)
    .limit(bindparam("count"))
)
_NEWEST = Statement(select(audit.c.id).order_by(audit.c.id.desc()).limit(1))
_TRIM = Statement(delete(audit).where(audit.c.id <= bindparam("through")))


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
        tx.run(
            _INSERT,
            at=self._clock.wall(),
            kind=kind,
            account=account,
            subject=subject,
            address=address,
            detail=detail[:_MAX_DETAIL],
        )

    def read(self, request: AuditRequest) -> AuditReply:
        """Return events after `after`, the oldest first."""
        with self._store.read() as reader:
            rows = reader.all(_READ, after=request.after, count=request.limit)
        return AuditReply([AuditEvent(row[0], row[1], row[2], row[3], row[4], row[5], row[6]) for row in rows])

    def trim(self, tx: Tx) -> None:
        """Drop the oldest events beyond the bound."""
        newest = tx.one(_NEWEST)
        if newest is not None:
            tx.run(_TRIM, through=newest[0] - MAX_EVENTS)


class NoAudit:
    """Notes nothing, for components without a journal."""

    def note(self, kind: str, account: str, *, subject: str = "", address: str = "", detail: str = "") -> None:
        """Do nothing."""

    def write(self, tx: Tx, kind: str, account: str, subject: str = "", address: str = "", detail: str = "") -> None:
        """Do nothing."""
