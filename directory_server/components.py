"""The components that serve the directory's calls. `bootstrap` builds them, `api` wires them to the calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from directory_server.cluster.authorities import Authorities
from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.cluster.draining import Draining
from directory_server.cluster.enrolment import Enrolment
from directory_server.cluster.membership import Membership
from directory_server.cluster.programs import ProgramMembers
from directory_server.cluster.storage_keys import StorageKeys
from directory_server.cluster.totals import ClusterTotals
from directory_server.features.access_logs import AccessLogs
from directory_server.features.file_access import FileAccess
from directory_server.features.file_facts import FileFacts
from directory_server.features.folders.calls import Folders
from directory_server.features.identities.services import IdentityServices
from directory_server.features.named_keys import NamedKeys
from directory_server.features.notifications.outbox import Outbox
from directory_server.features.notifications.targets import Targets
from directory_server.features.s3_settings import S3Settings
from directory_server.features.share_links import ShareLinks
from directory_server.features.trash import Trash
from directory_server.features.uploads.calls import Uploads
from directory_server.files.analytics import Analytics
from directory_server.files.buckets import Buckets
from directory_server.files.commits import Commits
from directory_server.files.hooks import Hooks
from directory_server.files.journal import Changes
from directory_server.files.lookups import Lookups
from directory_server.files.namespace import Namespace
from directory_server.files.searches import Searches
from directory_server.files.writes import Writes
from directory_server.identity_providers.providers import IdentityProviders
from directory_server.locks.lock_manager import LockManager
from directory_server.maintenance.backup import Backups
from directory_server.maintenance.condition import DirectoryCondition
from directory_server.maintenance.epochs import Epochs
from directory_server.maintenance.fsck import Fsck
from directory_server.maintenance.garbage_collector import Collector
from directory_server.maintenance.inventory import Inventories
from directory_server.maintenance.late_records import LateRecords
from directory_server.maintenance.recovery import Recovery
from directory_server.maintenance.redo_log import RedoLog
from directory_server.metadata.store import MetadataStore
from directory_server.people.access_keys import S3Keys
from directory_server.people.accounts import Accounts
from directory_server.people.audit import AuditJournal
from directory_server.people.log_ins import LogIns
from directory_server.people.organisation import Organisation
from directory_server.people.own_second_factor import OwnSecondFactor
from directory_server.people.quotas import Quotas
from directory_server.people.single_sign_on import SingleSignOn
from directory_server.people.users import Users
from directory_server.read_leases.ledger import LeaseLedger
from directory_server.repair.planner import RepairPlanner
from directory_server.repair.report import RepairReports

PROXY = ("client_proxy",)
FILE_SERVER = ("file_server",)
BOTH = ("client_proxy", "file_server")


@dataclass(frozen=True)
class AboutFiles:
    """What people ask and say about files beside their content."""

    access: FileAccess
    facts: FileFacts
    analytics: Analytics

    @classmethod
    def of(
        cls,
        store: MetadataStore,
        clock: DirectoryClock,
        accounts: Accounts,
        audit: AuditJournal,
        hooks: Hooks,
        copies: int,
        membership: Membership,
    ) -> Self:
        return cls(
            FileAccess(store, clock, accounts, audit),
            FileFacts(store, clock, accounts, hooks),
            Analytics(store, clock, accounts, copies, membership.stored_bytes),
        )


@dataclass(frozen=True)
class Components:
    """The objects that serve the directory's calls."""

    store: MetadataStore
    clock: DirectoryClock
    accounts: Accounts
    log_ins: LogIns
    second_factor: OwnSecondFactor
    identity_providers: IdentityProviders
    sign_on: SingleSignOn
    audit: AuditJournal
    users: Users
    organisation: Organisation
    quotas: Quotas
    s3_keys: S3Keys
    identities: IdentityServices
    s3_settings: S3Settings
    share_links: ShareLinks
    about_files: AboutFiles
    access_logs: AccessLogs
    named_keys: NamedKeys
    buckets: Buckets
    lookups: Lookups
    searches: Searches
    read_leases: LeaseLedger
    namespace: Namespace
    folders: Folders
    trash: Trash
    changes: Changes
    writes: Writes
    commits: Commits
    uploads: Uploads
    locks: LockManager
    membership: Membership
    repair: RepairPlanner
    repair_reports: RepairReports
    draining: Draining
    collector: Collector
    enrolment: Enrolment
    programs: ProgramMembers
    storage_keys: StorageKeys
    authorities: Authorities
    totals: ClusterTotals
    condition: DirectoryCondition
    inventories: Inventories
    recovery: Recovery
    epochs: Epochs
    fsck: Fsck
    backups: Backups
    redo_log: RedoLog
    late_records: LateRecords
    targets: Targets
    outbox: Outbox
    ticket_key: str
    copies: int
    version: str
