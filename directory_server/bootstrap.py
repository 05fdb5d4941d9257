"""Builds a directory server from its components. Only this module creates them; `serving` runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

from directory_server.access.decisions import standing_by_name
from directory_server.api.router import DirectoryApi
from directory_server.api.thread_shares import DirectoryShares
from directory_server.cluster.authorities import Authorities
from directory_server.cluster.directory_clock import DirectoryClock, read_time, write_time
from directory_server.cluster.draining import Draining
from directory_server.cluster.enrolment import Enrolment
from directory_server.cluster.membership import Membership, Timing
from directory_server.cluster.programs import ProgramMembers
from directory_server.cluster.storage_keys import StorageKeys
from directory_server.cluster.totals import ClusterTotals
from directory_server.components import AboutFiles, Components
from directory_server.features import access_logs, object_lock, share_links, trash
from directory_server.features.folders.calls import Folders
from directory_server.features.identities.services import IdentityServices
from directory_server.features.lifecycle.expiry_in_replies import LifecycleDates
from directory_server.features.lifecycle.job import Lifecycle
from directory_server.features.named_keys import NamedKeys
from directory_server.features.notifications.outbox import Outbox
from directory_server.features.notifications.targets import Targets
from directory_server.features.s3_settings import S3Settings
from directory_server.features.uploads.calls import Uploads
from directory_server.features.uploads.steps import UploadWrites
from directory_server.files import buckets
from directory_server.files.analytics import note_today
from directory_server.files.commits import Commits
from directory_server.files.hooks import Feature, Hooks, no_data_key
from directory_server.files.journal import Changes
from directory_server.files.lookups import Lookups
from directory_server.files.namespace import Namespace
from directory_server.files.searches import Searches
from directory_server.files.stored_keys import ticket_key
from directory_server.files.writes import Writes
from directory_server.identity_providers.providers import IdentityProviders
from directory_server.locks.lock_manager import LockManager
from directory_server.maintenance.backup import Backups
from directory_server.maintenance.condition import DirectoryCondition
from directory_server.maintenance.epochs import Epochs
from directory_server.maintenance.fsck import Fsck
from directory_server.maintenance.garbage_collector import Collector
from directory_server.maintenance.housekeeping import Housekeeping
from directory_server.maintenance.inventory import Inventories
from directory_server.maintenance.late_records import PATIENCE, LateRecords
from directory_server.maintenance.recovery import Recovery
from directory_server.maintenance.redo_log import SEALING_CONTEXT, RedoLog
from directory_server.maintenance.search_filling import SearchFilling
from directory_server.metadata.store import MetadataStore, Reader
from directory_server.people.access_keys import S3Keys
from directory_server.people.accounts import Accounts
from directory_server.people.administrator import ensure_administrator
from directory_server.people.audit import AuditJournal
from directory_server.people.log_ins import LogIns
from directory_server.people.organisation import Organisation
from directory_server.people.own_second_factor import OwnSecondFactor
from directory_server.people.quotas import Quotas
from directory_server.people.second_factors import SecondFactors
from directory_server.people.single_sign_on import SingleSignOn
from directory_server.people.users import Users
from directory_server.read_leases.lasting import forget_leases, lasting_leases
from directory_server.repair.planner import RepairPlanner
from directory_server.repair.report import RepairReports
from directory_server.settings import Settings, program_version
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.runtime.storage.key_protection import key_protection
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.tickets import TicketSigner


class DirectoryServer:
    """A directory without a port: `wsgi` answers calls until `stop`; the jobs run from `start` on."""

    def __init__(
        self,
        settings: Settings,
        store: MetadataStore,
        authority: CertificateAuthority,
        storage_keys_file: Path,
        clock: Clock,
    ) -> None:
        self.store = store
        self._settings = settings
        administrator = ensure_administrator(store, settings.credentials_file, clock.wall())
        buckets.ensure_files_bucket(store, administrator, clock.wall())
        with store.read() as reader:
            self.clock = DirectoryClock(clock, read_time(reader))
        store.last_in_each_transaction(self.clock.save_in)
        self.read_leases = lasting_leases(store, clock.monotonic)
        self._ticket_key = ticket_key(store)
        protection = key_protection(settings.key_passphrase_file)
        sealer = cache(lambda: Sealer(KeyRing.load(storage_keys_file, protection)))
        self.redo_log = RedoLog(store, self.clock, lambda: authority.derive_keys(SEALING_CONTEXT))
        self._build_people_and_cluster(sealer)
        self.s3_keys.seal_all()
        self.second_factors.end_sessions_without()
        self.programs = ProgramMembers(self.clock, authority)
        self.authorities = Authorities(self.clock, authority, self.programs)
        self.enrolment = Enrolment(store, self.clock, authority, lambda: sealer().ring.text, self._all_urls)
        self._build_features(sealer)
        self._build_maintenance()
        self._build_files()
        self.shares = DirectoryShares(settings.threads)
        self.wsgi = Api("directory_server", settings.id, authority.verify_peer_token, self.shares.of)
        self.epochs.watch(self._hold_calls)
        DirectoryApi(self.wsgi, self._components())
        self._jobs = self._make_jobs()
        # Before the first call: renews the leases of locks that survived a restart, or the first write would end them.
        self.locks.start()

    def _build_people_and_cluster(self, sealer: Callable[[], Sealer]) -> None:
        store, settings = self.store, self._settings
        self.audit = AuditJournal(store, self.clock)
        self.s3_keys = S3Keys(store, self.clock, sealer)
        self.accounts = Accounts(store, self.clock, self.s3_keys, audit=self.audit)
        self.second_factors = SecondFactors(store, self.clock, sealer, settings.require_second_factor)
        is_open, seconds = settings.registration_open, settings.token_seconds
        self.log_ins = LogIns(
            store, self.clock, self.accounts, self.second_factors, registration_open=is_open, token_seconds=seconds
        )
        self.users = Users(store, self.clock, self.log_ins, self.accounts, self.second_factors, self.audit)
        self.identity_providers = IdentityProviders(store, self.clock, sealer)
        self.quotas = Quotas(store, self.audit)
        self.locks = LockManager(store, self.clock, may_lock=self._may_lock, audit=self.audit)
        self.users.end_locks = self.locks.end_account
        timing = Timing(settings.heartbeat_seconds, settings.suspect_seconds, settings.down_seconds)
        self.membership = Membership(store, self.clock, timing)
        self.collector = Collector(store, self.clock, settings.ticket_seconds)
        self.repair = RepairPlanner(
            store, self.clock, self.membership, self.collector, settings.copies, settings.repair_grace_seconds
        )

    def _all_urls(self) -> str:
        return ",".join(dict.fromkeys([self._settings.url, *(url for url, _ in self.store.other_servers() if url)]))

    def _build_features(self, sealer: Callable[[], Sealer]) -> None:
        store, day = self.store, self._settings.lifecycle_day_seconds
        self.named_keys = NamedKeys(store, self.clock, sealer, self.accounts)
        self.targets = Targets(store, self.clock, sealer)
        self.share_links = share_links.ShareLinks(store, self.clock, self.accounts, self.audit)
        sealed = (self.s3_keys, self.named_keys, self.targets, self.second_factors, self.identity_providers)
        self.storage_keys = StorageKeys(store, self.clock, sealer, self.membership, sealed)
        self.outbox = Outbox(store, self.clock, self.accounts, self.targets.wake)
        self._hooks = make_hooks([LifecycleDates(day).feature, self.outbox.feature], self.named_keys)

    def _build_maintenance(self) -> None:
        store, settings = self.store, self._settings
        self.recovery = Recovery(store, self.clock, self.locks, self.repair.held, self._hooks)
        self.epochs = Epochs(store, self.clock, self.recovery, settings.copies, settings.down_seconds, settings.folder)
        patience = PATIENCE * settings.down_seconds
        self.late_records = LateRecords(
            store, self.clock, self.recovery, self.redo_log, lambda: self.epochs.expected, patience, self._forget_older
        )
        self.epochs.is_settled, self.targets.may_deliver = self.late_records.is_settled, lambda: self.epochs.is_open
        self.collector.keeps, self.collector.remember = self.recovery.keeps, self.repair.surplus.remember
        self.inventories = Inventories(store, self.recovery, self.repair.held)
        self.fsck = Fsck(store, self.clock, self.membership, self.inventories)
        surplus, ticket_seconds = self.repair.surplus, settings.ticket_seconds
        removers = (
            *(self.accounts.remove_ended, self.audit.trim, self.s3_keys.remove_ended, self.enrolment.remove_ended),
            self.share_links.remove_ended,
            lambda tx: surplus.remove_ended(tx, self.clock.now() - ticket_seconds),
            lambda tx: self.folders.remove_ended(tx),
            lambda tx: note_today(tx, self.clock.wall()),
        )
        self.housekeeping = Housekeeping(store, self.clock, ticket_seconds, removers)

    def _build_files(self) -> None:
        store, settings, hooks, leases = self.store, self._settings, self._hooks, self.read_leases
        self.lookups = Lookups(store, self.clock, self.accounts, self.locks, self.membership, hooks, leases)
        people, announced, day = self.accounts, leases.announced, settings.lifecycle_day_seconds
        self.namespace = Namespace(store, self.clock, people, self.locks, settings.copies, hooks, announced)
        self.trash = trash.Trash(store, self.clock, people, self.locks, self.namespace, hooks, day)
        self.folders = Folders(store, self.clock, people, self.namespace, announced)
        self.changes = Changes(store, self.accounts)
        signer = TicketSigner(self._ticket_key)
        self.writes = Writes(
            store,
            self.clock,
            self.accounts,
            self.locks,
            self.membership,
            signer,
            settings.copies,
            settings.ticket_seconds,
            hooks,
            self.collector.note_open,
            announced,
        )
        self.quotas.watch(partial(setattr, self.writes, "demand_room"))
        self.commits = Commits(
            store,
            self.clock,
            self.locks,
            signer,
            settings.copies,
            settings.ticket_seconds,
            hooks,
            self.repair.surplus.given_up,
            self.collector.note_done,
            self.membership.note_counted,
            announced,
        )
        self.uploads = Uploads(store, self.clock, self.accounts, self.membership, hooks)
        self.lifecycle = Lifecycle(store, self.clock, self.uploads, hooks, day)

    def _components(self) -> Components:
        store, settings, hooks, factors = self.store, self._settings, self._hooks, self.second_factors
        revoke_server = partial(self.programs.revoke_if_known, "file_server")
        clock, providers = self.clock, self.identity_providers
        return Components(
            store=store,
            clock=self.clock,
            accounts=self.accounts,
            log_ins=self.log_ins,
            second_factor=OwnSecondFactor(self.log_ins, factors, self.accounts),
            identity_providers=self.identity_providers,
            sign_on=SingleSignOn(store, self.clock, self.identity_providers, self.log_ins, self.accounts, factors),
            audit=self.audit,
            users=self.users,
            organisation=Organisation.of(store, self.clock, self.audit),
            quotas=self.quotas,
            s3_keys=self.s3_keys,
            identities=IdentityServices.of(store, clock, self.accounts, self.s3_keys, self.audit, providers),
            s3_settings=S3Settings(store, self.clock, self.accounts, hooks),
            share_links=self.share_links,
            about_files=AboutFiles.of(store, clock, self.accounts, self.audit, hooks, settings.copies, self.membership),
            access_logs=access_logs.AccessLogs(store, self.clock.wall),
            named_keys=self.named_keys,
            buckets=buckets.Buckets(store, self.clock, hooks, self.locks.end_bucket, private=settings.private_buckets),
            lookups=self.lookups,
            searches=Searches(store, self.clock, self.accounts),
            read_leases=self.read_leases,
            namespace=self.namespace,
            folders=self.folders,
            trash=self.trash,
            changes=self.changes,
            writes=self.writes,
            commits=self.commits,
            uploads=self.uploads,
            locks=self.locks,
            membership=self.membership,
            repair=self.repair,
            repair_reports=RepairReports(store, self.repair),
            draining=Draining(store, self.membership, settings.copies, settings.repair_grace_seconds, revoke_server),
            collector=self.collector,
            enrolment=self.enrolment,
            programs=self.programs,
            storage_keys=self.storage_keys,
            authorities=self.authorities,
            totals=ClusterTotals(store),
            condition=DirectoryCondition(store, self.epochs, self.recovery, clock, settings.data),
            inventories=self.inventories,
            recovery=self.recovery,
            epochs=self.epochs,
            fsck=self.fsck,
            targets=self.targets,
            outbox=self.outbox,
            backups=Backups(store, self.clock, settings.data, program_version()),
            redo_log=self.redo_log,
            late_records=self.late_records,
            ticket_key=self._ticket_key.hex(),
            copies=settings.copies,
            version=program_version(),
        )

    def _make_jobs(self) -> list[BackgroundJob]:
        checking, rotating = BackgroundJob("fsck", self.fsck.step), BackgroundJob("authority", self.authorities.step)
        resealing = BackgroundJob("storage keys", self.epochs.held(self.storage_keys.step))
        providers = BackgroundJob("identity providers", self.identity_providers.step)
        moving = BackgroundJob("folders", self.epochs.held(self.folders.job.step))
        woken = [checking, resealing, providers, rotating, moving]
        self.fsck.wake, self.storage_keys.wake, self.authorities.wake = checking.wake, resealing.wake, rotating.wake
        self.identity_providers.wake, self.folders.wake = providers.wake, moving.wake
        return [
            *woken,
            BackgroundJob("leases", self.locks.step),
            BackgroundJob("repair", self.repair.step),
            BackgroundJob("housekeeping", self.epochs.held(self.housekeeping.step)),
            BackgroundJob("late records", self.late_records.step),
            BackgroundJob("lifecycle", self.epochs.held(self.lifecycle.step)),
            BackgroundJob("trash", self.epochs.held(self.trash.step)),
            BackgroundJob("metadata check", self.store.check_some),
            BackgroundJob("search index", SearchFilling(self.store).step),
        ]

    def start(self) -> None:
        """Start the background jobs."""
        for job in self._jobs:
            job.start()
        self.targets.start()

    def add_job(self, job: BackgroundJob) -> None:
        """Add a background job that starts and stops with this server."""
        self._jobs.append(job)

    def answer_waiting(self) -> None:
        """Answer all callers that wait for a lock, a change or the end of a lease."""
        self.locks.close()
        self.changes.close()
        self.read_leases.close()

    def stop(self) -> None:
        """Answer waiting callers, stop the jobs, save the time and close the store."""
        self.answer_waiting()
        for job in self._jobs:
            job.stop()
        self.targets.stop()
        try:
            self.store.write(lambda tx: write_time(tx, self.clock.now()))
            self.store.write(lambda tx: forget_leases(tx, self.read_leases))
        except LockstepError as error:
            log.error("could not save the directory's time: %s", error)
        self.store.close()

    def _hold_calls(self, is_open: bool) -> None:
        """Check calls and lock grants only until the metadata is known to be current: the checks are on every path."""
        held, demand_active = self.epochs.admit, self.store.demand_active

        def admit(path: str) -> None:
            demand_active()
            if not is_open:
                held(path)

        self.wsgi.admit = admit if not is_open or self._settings.metadata else None
        self.locks.may_grant = None if is_open else lambda: self.epochs.is_open

    def _forget_older(self) -> None:
        """Forget what was read from a backup, now that later changes were made again."""
        self.membership.reload()
        self.accounts.forget_all()
        self.named_keys.forget_all()
        self.targets.reload()
        self.identity_providers.reload()
        self.quotas.count_missing()
        self.repair.examine_all()

    def _may_lock(self, tx: Reader, bucket: str, path: str, account: str) -> None:
        """Raise Forbidden unless the account may write the file: who may write it may lock it."""
        standing_by_name(tx, bucket, account, self.clock.wall()).demand("s3:PutObject", path)


def make_hooks(features: Sequence[Feature] = (), named_keys: NamedKeys | None = None) -> Hooks:
    """Register `features`, and those that need no object."""
    data_key = no_data_key if named_keys is None else named_keys.open
    own = [module.FEATURE for module in (object_lock, access_logs, share_links, trash)]
    return Hooks([*own, *features], UploadWrites(), data_key)
