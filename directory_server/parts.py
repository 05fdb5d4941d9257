"""Everything that answers the directory's calls, as `bootstrap` built it, for the modules that wire it to them."""

from __future__ import annotations

from dataclasses import dataclass

from directory_server.accounts import Accounts
from directory_server.backup import Backups
from directory_server.buckets import Buckets
from directory_server.changes import Changes
from directory_server.collector import Collector
from directory_server.commits import Commits
from directory_server.departures import Departures
from directory_server.directory_clock import DirectoryClock
from directory_server.enrolment import Enrolment
from directory_server.fsck import Fsck
from directory_server.inventory import Inventories
from directory_server.kms import NamedKeys
from directory_server.lock_manager import LockManager
from directory_server.membership import Membership
from directory_server.metadata.store import MetadataStore
from directory_server.namespace import Namespace
from directory_server.notifications.outbox import Outbox
from directory_server.notifications.targets import Targets
from directory_server.recovery import Recovery
from directory_server.repair import Repair
from directory_server.repair_report import RepairReports
from directory_server.s3_keys import S3Keys
from directory_server.s3_settings import S3Settings
from directory_server.totals import Totals
from directory_server.uploads import Uploads
from directory_server.writes import Writes

PROXY = ("client_proxy",)
FILE_SERVER = ("file_server",)
BOTH = ("client_proxy", "file_server")


@dataclass(frozen=True)
class Parts:
    """Everything that answers calls."""

    store: MetadataStore
    clock: DirectoryClock
    accounts: Accounts
    s3_keys: S3Keys
    s3_settings: S3Settings
    named_keys: NamedKeys
    buckets: Buckets
    namespace: Namespace
    changes: Changes
    writes: Writes
    commits: Commits
    uploads: Uploads
    locks: LockManager
    membership: Membership
    repair: Repair
    repair_reports: RepairReports
    departures: Departures
    collector: Collector
    enrolment: Enrolment
    totals: Totals
    inventories: Inventories
    recovery: Recovery
    fsck: Fsck
    backups: Backups
    targets: Targets
    outbox: Outbox
    ticket_key: str
    copies: int
    version: str
