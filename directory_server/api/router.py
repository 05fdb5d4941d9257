"""Wires the directory's calls to its components: files, locks and people here, the others by subject.

A handler neither parses nor decides. Message types check shapes and bounds, the runner checks the caller's role, and
the components decide everything else.
"""

from __future__ import annotations

from directory_server.api.analytics import AnalyticsApi
from directory_server.api.cluster import ClusterApi
from directory_server.api.file_access import FileAccessApi
from directory_server.api.file_facts import FileFactsApi
from directory_server.api.file_servers import HolderApi
from directory_server.api.folders import FolderApi
from directory_server.api.groups import GroupApi
from directory_server.api.identities import IdentityApi
from directory_server.api.maintenance import MaintenanceApi
from directory_server.api.notifications import NotificationApi
from directory_server.api.quotas import QuotaApi
from directory_server.api.search import SearchApi
from directory_server.api.second_factor import SecondFactorApi
from directory_server.api.share_links import ShareApi
from directory_server.api.single_sign_on import SignOnApi
from directory_server.api.tenants import TenantApi
from directory_server.api.trash import TrashApi
from directory_server.api.users import UserApi
from directory_server.components import PROXY, Components
from directory_server.files.many_deletions import delete_many
from directory_server.metadata.statements import access
from directory_server.metrics import DirectoryMetrics
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.errors import Forbidden
from lockstep_store.wire.messages import files as m
from lockstep_store.wire.messages import journal as jm
from lockstep_store.wire.messages import kms as km
from lockstep_store.wire.messages import locks as lm
from lockstep_store.wire.messages import people as am
from lockstep_store.wire.messages import s3 as s3
from lockstep_store.wire.messages import uploads as um
from lockstep_store.wire.messages.base import CredentialRequest, Nothing
from lockstep_store.wire.messages.buckets import (
    BUCKETS,
    CHANGE_BUCKET,
    CREATE_BUCKET,
    DELETE_BUCKET,
    GET_BUCKET,
    BucketRequest,
)
from lockstep_store.wire.messages.read_leases import READ_LEASES, ReadLeasesReply, ReadLeasesRequest
from lockstep_store.wire.messages.writes import BEGIN, GIVE_UP, BeginReply, BeginRequest
from lockstep_store.wire.names import check_bucket, check_key


class DirectoryApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        self._components = components
        self._serve_files(api)
        self._serve_locks(api)
        self._serve_people(api)
        self._serve_s3(api)
        FolderApi(api, components)
        TrashApi(api, components)
        HolderApi(api, components)
        ClusterApi(api, components)
        MaintenanceApi(api, components)
        NotificationApi(api, components)
        SecondFactorApi(api, components)
        UserApi(api, components)
        GroupApi(api, components)
        TenantApi(api, components)
        SignOnApi(api, components)
        IdentityApi(api, components)
        QuotaApi(api, components)
        ShareApi(api, components)
        FileAccessApi(api, components)
        FileFactsApi(api, components)
        AnalyticsApi(api, components)
        SearchApi(api, components)
        DirectoryMetrics(api, components)

    # ------------------------------------------------------------ files and buckets

    def _serve_files(self, api: Api) -> None:
        lookups, namespace = self._components.lookups, self._components.namespace
        buckets = self._components.buckets
        limited = self._components.accounts.anyone  # for calls that ask for the limits of a key
        anyone = self._components.accounts.identify  # for calls that a bucket's policy decides about
        api.serve(m.LOOKUP, lambda request, _: lookups.lookup(request.items, request.lease_session), PROXY)
        api.serve(READ_LEASES, self._poll_leases, PROXY)
        api.serve(BEGIN, self._begin, PROXY)
        api.serve(GIVE_UP, lambda request, _: self._components.writes.give_up(request), PROXY)
        api.serve(m.LIST, lambda request, _: lookups.list(request), PROXY)
        api.serve(m.VERSIONS, lambda request, _: lookups.versions(request), PROXY)
        api.serve(m.DELETE, lambda request, _: namespace.delete(request), PROXY)
        api.serve(m.DELETE_MANY, self._delete_many, PROXY)
        api.serve(m.COPY, lambda request, _: namespace.copy(request), PROXY)
        api.serve(jm.CHANGES, lambda request, _: self._components.changes.read(request), PROXY)
        api.serve(BUCKETS, lambda request, _: buckets.all(limited(request.credential)), PROXY)
        api.serve(GET_BUCKET, lambda request, _: buckets.get(anyone(request.credential), request.bucket), PROXY)
        api.serve(CREATE_BUCKET, lambda request, _: buckets.create(limited(request.credential), request), PROXY)
        api.serve(CHANGE_BUCKET, lambda request, _: buckets.change(anyone(request.credential), request), PROXY)
        api.serve(DELETE_BUCKET, self._delete_bucket, PROXY)

    def _poll_leases(self, request: ReadLeasesRequest, _: PeerIdentity) -> ReadLeasesReply:
        # Whoever takes over waits for leases that were extended before, and knows of none that would be now.
        self._components.store.confirm_active()
        return self._components.read_leases.poll(request)

    def _begin(self, request: BeginRequest, _: PeerIdentity) -> BeginReply:
        for id in {id for item in request.items for id in item.exclude}:
            self._components.membership.report_unreachable(id)
        return self._components.writes.begin(request.items)

    def _delete_many(self, request: m.DeleteManyRequest, _: PeerIdentity) -> m.DeleteManyReply:
        components = self._components
        return delete_many(
            components.store,
            components.accounts.identify,
            components.namespace.delete_in,
            request.items,
            components.read_leases.announced,
        )

    def _delete_bucket(self, request: BucketRequest, _: PeerIdentity) -> Nothing:
        self._components.buckets.delete(self._components.accounts.identify(request.credential), request.bucket)
        return Nothing()

    # ------------------------------------------------------------ locks

    def _serve_locks(self, api: Api) -> None:
        api.serve(lm.ACQUIRE, self._acquire, PROXY)
        api.serve(lm.RENEW, self._renew, PROXY)
        api.serve(lm.RELEASE, self._release, PROXY)
        api.serve(lm.LOCKS, self._locks, PROXY)
        api.serve(lm.LOCK_CHANGES, lambda request, _: self._components.locks.changes.wait(request), PROXY)

    def _acquire(self, request: lm.AcquireRequest, _: PeerIdentity) -> lm.AcquireReply:
        person = self._components.accounts.authenticate(request.credential)
        if person.read_only:
            raise Forbidden(f"{person.account} may only read: locks are for people who write")
        for path in request.paths:
            check_bucket(path.bucket)
            check_key(path.path)
        return self._components.locks.acquire(person.account, person.session, request.client, request)

    def _renew(self, request: lm.RenewRequest, _: PeerIdentity) -> lm.LockInfo:
        person = self._components.accounts.authenticate(request.credential)
        return self._components.locks.renew(person.account, request.lock_id, request.lease_seconds)

    def _release(self, request: lm.ReleaseRequest, _: PeerIdentity) -> Nothing:
        person = self._components.accounts.authenticate(request.credential)
        if request.break_lock:
            self._components.locks.break_lock(request.lock_id, person, request.reason)
        else:
            self._components.locks.release(person.account, request.lock_id)
        return Nothing()

    def _locks(self, request: lm.LocksRequest, _: PeerIdentity) -> lm.LocksReply:
        """List locks and places with the paths that the person may see: names in a private bucket are private too.

        Who asks about paths sees their own locks on them, and those that stop them from writing; administrators see
        everything, also what is left from a bucket that is gone.
        """
        person = self._components.accounts.authenticate(request.credential)
        locks = self._components.locks
        reply = locks.list_on(request.on) if request.on else locks.list(request.after, request.limit)
        if person.admin:
            return reply
        usable = {bucket.name for bucket in self._components.buckets.all(person).buckets}
        elsewhere = {path for lock in reply.locks for path in lock.paths if path.bucket not in usable}
        writable = locks.may_lock(person.account, elsewhere.intersection(request.on))
        for lock in reply.locks:
            if not request.on or lock.account != person.account:
                lock.paths = [path for path in lock.paths if path.bucket in usable or path in writable]
        for waiter in reply.waiters:
            waiter.paths = [path for path in waiter.paths if path.bucket in usable]
        reply.locks = [lock for lock in reply.locks if lock.paths]
        reply.waiters = [waiter for waiter in reply.waiters if waiter.paths]
        return reply

    # ------------------------------------------------------------ people

    def _serve_people(self, api: Api) -> None:
        accounts = self._components.accounts
        who = accounts.authenticate
        api.serve(am.LOGIN, lambda request, _: self._components.log_ins.log_in(request), PROXY)
        api.serve(am.LOGOUT, self._log_out, PROXY)
        api.serve(am.WHO_AM_I, lambda request, _: accounts.who_am_i(request.credential), PROXY)
        api.serve(am.API_KEYS, lambda request, _: accounts.api_keys(who(request.credential)), PROXY)
        api.serve(
            am.CREATE_API_KEY, lambda request, _: accounts.create_api_key(who(request.credential), request.name), PROXY
        )
        api.serve(am.REVOKE_API_KEY, self._revoke_api_key, PROXY)

    def _serve_s3(self, api: Api) -> None:
        keys, who = self._components.s3_keys, self._components.accounts.authenticate
        api.serve(s3.S3_KEYS, lambda request, _: keys.all(who(request.credential)), PROXY)
        audit = self._components.audit

        def create(request: s3.CreateS3KeyRequest, _: PeerIdentity) -> s3.S3KeyInfo:
            made = keys.create(who(request.credential), request)
            audit.note("key made", made.account, subject=f"S3 key {made.access_key_id}", detail=made.name)
            return made

        def rotate(request: s3.S3KeyRequest, _: PeerIdentity) -> s3.S3KeyInfo:
            made = keys.rotate(who(request.credential), request)
            audit.note("key revoked", made.account, subject=f"S3 key {request.access_key_id}")
            audit.note("key made", made.account, subject=f"S3 key {made.access_key_id}", detail=made.name)
            return made

        def revoke(request: s3.S3KeyRequest, _: PeerIdentity) -> Nothing:
            person = who(request.credential)
            keys.revoke(person, request)
            audit.note("key revoked", person.account, subject=f"S3 key {request.access_key_id}")
            return Nothing()

        api.serve(s3.CREATE_S3_KEY, create, PROXY)
        api.serve(s3.ROTATE_S3_KEY, rotate, PROXY)
        api.serve(s3.REVOKE_S3_KEY, revoke, PROXY)
        api.serve(s3.S3_SIGNING_KEY, lambda request, _: keys.signing_key(request), PROXY)
        uploads = self._components.uploads
        api.serve(um.CREATE_UPLOAD, lambda request, _: uploads.create(request), PROXY)
        api.serve(um.UPLOADS, lambda request, _: uploads.list(request), PROXY)
        api.serve(um.UPLOAD_PARTS, lambda request, _: uploads.parts(request), PROXY)
        api.serve(um.ABORT_UPLOAD, lambda request, _: uploads.abort(request), PROXY)
        self._serve_named_keys(api)
        settings = self._components.s3_settings
        api.serve(km.BUCKET_ENCRYPTION, lambda request, _: settings.encryption_of_bucket(request), PROXY)
        api.serve(s3.BUCKET_SETTING, lambda request, _: settings.of_bucket(request), PROXY)
        api.serve(s3.PUT_BUCKET_SETTING, self._put_bucket_setting, PROXY)
        api.serve(s3.BUCKET_CORS, lambda request, _: settings.cors_of_bucket(request), PROXY)
        access_logs = self._components.access_logs
        api.serve(s3.BUCKET_ACCESS_LOG, lambda request, _: access_logs.of_bucket(request), PROXY)
        api.serve(s3.OBJECT_SETTINGS, lambda request, _: settings.of_version(request), PROXY)
        api.serve(s3.PUT_OBJECT_SETTING, lambda request, _: settings.put_of_version(request), PROXY)

    def _serve_named_keys(self, api: Api) -> None:
        keys, administrator = self._components.named_keys, self._components.accounts.administrator

        def all_keys(request: CredentialRequest, _: PeerIdentity) -> km.KmsKeysReply:
            administrator(request.credential)
            return keys.all()

        def create(request: km.KmsKeyRequest, _: PeerIdentity) -> km.KmsKeyInfo:
            administrator(request.credential)
            return keys.create(request.key)

        def enable(request: km.EnableKmsKeyRequest, _: PeerIdentity) -> km.KmsKeyInfo:
            administrator(request.credential)
            return keys.enable(request.key, enabled=request.enabled)

        def rotate(request: km.KmsKeyRequest, _: PeerIdentity) -> km.KmsKeyInfo:
            administrator(request.credential)
            return keys.rotate(request.key)

        api.serve(km.KMS_KEYS, all_keys, PROXY)
        api.serve(km.CREATE_KMS_KEY, create, PROXY)
        api.serve(km.ENABLE_KMS_KEY, enable, PROXY)
        api.serve(km.ROTATE_KMS_KEY, rotate, PROXY)
        api.serve(km.NEW_DATA_KEY, lambda request, _: keys.new_data_key(request), PROXY)

    def _put_bucket_setting(self, request: s3.PutBucketSettingRequest, _: PeerIdentity) -> Nothing:
        reply = self._components.s3_settings.put_of_bucket(request)
        if request.name in access.NAMES:
            account = self._components.accounts.identify(request.credential).account
            self._components.audit.note("access changed", account, subject=request.bucket, detail=request.name)
        return reply

    def _log_out(self, request: CredentialRequest, _: PeerIdentity) -> Nothing:
        self._components.accounts.log_out(request.credential)
        return Nothing()

    def _revoke_api_key(self, request: am.RevokeApiKeyRequest, _: PeerIdentity) -> Nothing:
        accounts = self._components.accounts
        accounts.revoke_api_key(accounts.authenticate(request.credential), request.key_id)
        return Nothing()
