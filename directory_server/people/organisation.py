"""Groups and tenants: how accounts belong together."""

from __future__ import annotations

from dataclasses import dataclass

from directory_server.metadata.store import MetadataStore
from directory_server.people.access_keys import PeopleClock
from directory_server.people.audit import AuditJournal
from directory_server.people.groups import Groups
from directory_server.people.tenants import Tenants


@dataclass(frozen=True)
class Organisation:
    groups: Groups
    tenants: Tenants

    @classmethod
    def of(cls, store: MetadataStore, clock: PeopleClock, audit: AuditJournal) -> Organisation:
        """Build both on a directory's store."""
        return cls(Groups(store, clock, audit), Tenants(store, clock, audit))
