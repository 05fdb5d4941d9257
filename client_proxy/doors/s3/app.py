"""Puts the S3 door together."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.callers import Callers
from client_proxy.doors.s3.auth.gate import Gate
from client_proxy.doors.s3.buckets.buckets import BucketHandlers
from client_proxy.doors.s3.buckets.configurations import ConfigurationHandlers
from client_proxy.doors.s3.buckets.cors import Cors
from client_proxy.doors.s3.buckets.lifecycle import LifecycleHandlers
from client_proxy.doors.s3.buckets.posted_bucket import PostedBuckets
from client_proxy.doors.s3.call import BrowserHandlers, Handlers
from client_proxy.doors.s3.door import S3Door
from client_proxy.doors.s3.events.access_log import AccessLog
from client_proxy.doors.s3.events.bucket_logging import BucketLoggingHandlers
from client_proxy.doors.s3.events.notifications import NotificationHandlers
from client_proxy.doors.s3.multipart.complete_upload import CompleteHandlers, CompletionFiles
from client_proxy.doors.s3.multipart.upload_listings import MultipartListingHandlers
from client_proxy.doors.s3.multipart.upload_part import PartFiles, PartHandlers
from client_proxy.doors.s3.multipart.uploads import UploadHandlers
from client_proxy.doors.s3.objects.attributes import AttributeHandlers
from client_proxy.doors.s3.objects.copy_object import CopyFiles, CopyHandlers
from client_proxy.doors.s3.objects.delete_object import DeleteFiles, DeleteHandlers
from client_proxy.doors.s3.objects.get_object import GetFiles, GetHandlers
from client_proxy.doors.s3.objects.listings import FileListings, ListingHandlers
from client_proxy.doors.s3.objects.object_lock import ObjectLockHandlers
from client_proxy.doors.s3.objects.post_form import PostForm
from client_proxy.doors.s3.objects.put_object import PutFiles, PutHandlers
from client_proxy.doors.s3.objects.rename_object import RenameHandlers
from client_proxy.doors.s3.objects.tagging import TaggingHandlers
from client_proxy.doors.s3.protocol.routing import POST_FORM, POSTED_BUCKET, PREFLIGHT, QUERY, UNSIGNED_QUERY
from client_proxy.doors.s3.query.api import QueryApi, QueryHandlers
from client_proxy.doors.s3.query.iam import IamHandlers, IamKeyHandlers
from client_proxy.doors.s3.query.sts import StsHandlers
from client_proxy.doors.s3.rate_class import limits_by_operation
from client_proxy.doors.s3.security.acls import AclHandlers
from client_proxy.doors.s3.security.policies import PolicyHandlers
from client_proxy.doors.s3.stored_settings import StoredSettings
from client_proxy.rate_limits.limiter import RateLimits
from lockstep_store.runtime.clock import Clock
from lockstep_store.wire.messages.s3 import S3_SIGNING_KEY


class S3Files(PutFiles, GetFiles, DeleteFiles, CopyFiles, FileListings, PartFiles, CompletionFiles, Protocol):
    """The file store as the whole door uses it."""


def create_door(
    files: S3Files,
    directory: Directory,
    clock: Clock,
    access_log: AccessLog,
    *,
    proxy_id: str,
    domain: str = "",
    list_shared: bool = False,
    limits: RateLimits | None = None,
) -> S3Door:
    """The door over a proxy's file store and directory client.

    `domain` is that of virtual-host addresses. With `list_shared`, ListBuckets names buckets of others, too. The caller
    runs the steps of `access_log`. `limits`: rate limits; none by default.
    """
    gate = Gate(partial(directory.call, S3_SIGNING_KEY), Callers(directory).identify, clock.wall, clock.monotonic)
    settings = StoredSettings(directory)
    cors = Cors(settings, directory, clock.monotonic)
    put = PutHandlers(files)
    buckets = BucketHandlers(directory, list_shared=list_shared)
    handlers = {
        **cors.handlers(),
        **put.handlers(),
        **buckets.handlers(),
        **_content_handlers(files, directory, clock),
        **_setting_handlers(settings, files, directory, access_log),
    }
    return S3Door(
        gate,
        handlers,
        proxy_id=proxy_id,
        access_log=access_log,
        domain=domain,
        browsers=_browser_handlers(gate, directory, clock, cors, put, buckets),
        cors_headers=cors.headers_for,
        limits=limits_by_operation(limits) if limits is not None else None,
    )


def _content_handlers(files: S3Files, directory: Directory, clock: Clock) -> Handlers:
    """The operations on objects and uploads, except writing an object at once."""
    return {
        **GetHandlers(files).handlers(),
        **DeleteHandlers(files).handlers(),
        **CopyHandlers(files).handlers(),
        **RenameHandlers(files).handlers(),
        **UploadHandlers(files, directory, clock.wall).handlers(),
        **CompleteHandlers(files, directory).handlers(),
        **MultipartListingHandlers(directory).handlers(),
        **PartHandlers(files, directory).handlers(),
        **AttributeHandlers(files).handlers(),
        **ListingHandlers(files).handlers(),
    }


def _setting_handlers(
    settings: StoredSettings, files: S3Files, directory: Directory, access_log: AccessLog
) -> Handlers:
    """The operations on settings of buckets and versions, except CORS."""
    return {
        **BucketLoggingHandlers(settings, access_log.forget).handlers(),
        **AclHandlers(settings).handlers(),
        **PolicyHandlers(settings).handlers(),
        **ConfigurationHandlers(settings, directory, files.keys.forget).handlers(),
        **LifecycleHandlers(settings).handlers(),
        **NotificationHandlers(settings, directory).handlers(),
        **TaggingHandlers(settings).handlers(),
        **ObjectLockHandlers(settings).handlers(),
    }


def _browser_handlers(
    gate: Gate, directory: Directory, clock: Clock, cors: Cors, put: PutHandlers, buckets: BucketHandlers
) -> BrowserHandlers:
    """What S3's description lacks."""
    query = QueryApi(query_handlers(directory), clock.wall)
    return {
        PREFLIGHT: cors.preflight,
        POST_FORM: PostForm(gate, put, clock.wall).answer,
        POSTED_BUCKET: PostedBuckets(gate, buckets.create).answer,
        QUERY: query.answer,
        UNSIGNED_QUERY: query.answer,
    }


def query_handlers(directory: Directory) -> QueryHandlers:
    """The operations of STS and IAM."""
    services = (StsHandlers(directory), IamHandlers(directory), IamKeyHandlers(directory))
    return {name: one for each in services for name, one in each.handlers().items()}
