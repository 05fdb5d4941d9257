"""Puts the S3 door together."""

from __future__ import annotations

from client_proxy.needs import Directory
from client_proxy.s3.access_log import AccessLog
from client_proxy.s3.acls import AclHandlers
from client_proxy.s3.attributes import AttributeHandlers
from client_proxy.s3.bucket_logging import BucketLoggingHandlers
from client_proxy.s3.buckets import BucketHandlers
from client_proxy.s3.configurations import ConfigurationHandlers
from client_proxy.s3.copies import CopyHandlers
from client_proxy.s3.cors import Cors
from client_proxy.s3.door import S3Door
from client_proxy.s3.gate import Gate
from client_proxy.s3.handling import BrowserHandlers
from client_proxy.s3.kept_settings import KeptSettings
from client_proxy.s3.lifecycle import LifecycleHandlers
from client_proxy.s3.listings import ListingHandlers
from client_proxy.s3.multipart import MultipartHandlers
from client_proxy.s3.multipart_listings import MultipartListingHandlers
from client_proxy.s3.needs import S3Files
from client_proxy.s3.notifications import NotificationHandlers
from client_proxy.s3.object_lock import ObjectLockHandlers
from client_proxy.s3.objects import ObjectHandlers
from client_proxy.s3.policies import PolicyHandlers
from client_proxy.s3.post_form import PostForm
from client_proxy.s3.routing import POST_FORM, PREFLIGHT
from client_proxy.s3.tagging import TaggingHandlers
from client_proxy.s3.upload_parts import PartHandlers
from wire.clock import Clock
from wire.s3_messages import S3_SIGNING_KEY


def create_door(
    files: S3Files, directory: Directory, clock: Clock, access_log: AccessLog, *, proxy_id: str, domain: str = ""
) -> S3Door:
    """The door over a proxy's file store and directory client. `domain` is that of virtual-host addresses; whoever
    made the access log has its steps taken."""
    gate = Gate(lambda request: directory.call(S3_SIGNING_KEY, request), clock.wall, clock.monotonic)
    settings = KeptSettings(directory)
    cors = Cors(settings, directory, clock.monotonic)
    objects = ObjectHandlers(files)
    copies = CopyHandlers(files, objects.preconditions)
    form = PostForm(gate, objects, clock.wall)
    browsers: BrowserHandlers = {PREFLIGHT: cors.preflight, POST_FORM: form.answer}
    handlers = {
        **cors.handlers(),
        **objects.handlers(),
        **copies.handlers(),
        **MultipartHandlers(files, directory, objects.preconditions, clock.wall).handlers(),
        **MultipartListingHandlers(directory).handlers(),
        **PartHandlers(files, directory, copies.source_version).handlers(),
        **AttributeHandlers(files).handlers(),
        **ListingHandlers(files).handlers(),
        **BucketHandlers(directory).handlers(),
        **BucketLoggingHandlers(settings, access_log.forget).handlers(),
        **AclHandlers(settings).handlers(),
        **PolicyHandlers(settings).handlers(),
        **ConfigurationHandlers(settings, directory, files.keys.forget).handlers(),
        **LifecycleHandlers(settings).handlers(),
        **NotificationHandlers(settings, directory).handlers(),
        **TaggingHandlers(settings).handlers(),
        **ObjectLockHandlers(settings).handlers(),
    }
    return S3Door(
        gate,
        handlers,
        proxy_id=proxy_id,
        access_log=access_log,
        domain=domain,
        browsers=browsers,
        cors_headers=cors.headers_for,
    )
