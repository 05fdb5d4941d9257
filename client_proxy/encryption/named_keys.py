"""The proxy's access to named keys (SSE-KMS): a bucket's default key, and data keys from the directory.

A bucket's default key encrypts every write, through whichever door. The proxy caches it for a few seconds, so a change
made through another proxy takes effect after that time.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from client_proxy.core.directory_calls import Directory
from client_proxy.encryption.content_keys import ContentKey
from lockstep_store.runtime.bounded import ExpiringMap
from lockstep_store.runtime.clock import Clock
from lockstep_store.wire.errors import BadRequest, LockstepError, from_problem
from lockstep_store.wire.messages.files import DataKey
from lockstep_store.wire.messages.kms import (
    BUCKET_ENCRYPTION,
    KMS_BUCKET_KEY_ENTRY,
    KMS_ENTRY,
    NEW_DATA_KEY,
    BucketEncryptionRequest,
    NewDataKeyRequest,
)

CACHE_SECONDS = 3.0
MAX_CACHED = 1000
KMS_ALGORITHM = "aws:kms"


class RequestedKey(NamedTuple):
    """The named key to encrypt a content with: the cluster's default key if `key` is empty. `context` is JSON."""

    key: str = ""
    context: str = ""
    bucket_key: bool = False


class NewContentKey(NamedTuple):
    """The key for one new content, and the metadata from which the key can be recovered."""

    key: ContentKey
    metadata: dict[str, str]


class NamedKeyClient:
    """Asks the directory for keys. Thread-safe; `clock` expires the cached defaults."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._defaults: ExpiringMap[tuple[str, int], tuple[RequestedKey | None]] = ExpiringMap(
            MAX_CACHED, CACHE_SECONDS, clock.monotonic
        )

    def default_of(self, bucket: str) -> RequestedKey | None:
        """The bucket's default key. None: its files are encrypted only at rest, with the cluster's storage keys."""
        asked_at = self._clock.monotonic()
        key = (bucket, self._directory.bucket_life(bucket))
        cached = self._defaults.get(key)
        if cached is not None:
            return cached[0]
        try:
            setting = self._directory.call(BUCKET_ENCRYPTION, BucketEncryptionRequest(bucket)).value
        except LockstepError as error:
            if error.status != 404:
                raise
            return None  # the write itself reports that the bucket does not exist
        default = _default_in(setting)
        self._defaults.set(key, (default,), since=asked_at)
        return default

    def forget(self, bucket: str) -> None:
        """Drop the cached default of a bucket, because it was changed through this proxy."""
        self._defaults.forget((bucket, self._directory.bucket_life(bucket)))

    def new_key(self, requested: RequestedKey, bucket: str = "", credential: str = "") -> NewContentKey:
        """A key for one new content. BadRequest if the named key does not exist or is disabled.

        With the default of a bucket, that is only for a person to whom the bucket exists; NotFound for others.
        """
        wanted = NewDataKeyRequest(requested.key, requested.context, credential, bucket)
        reply = self._directory.call(NEW_DATA_KEY, wanted)
        metadata = reply.facts | ({KMS_BUCKET_KEY_ENTRY: "true"} if requested.bucket_key else {})
        return NewContentKey(ContentKey(bytes.fromhex(reply.key), KMS_ENTRY), metadata)


def opened_key(data_key: DataKey | None) -> ContentKey:
    """The content key in the directory's reply. Raises the directory's error when it refused the key."""
    if data_key is None:
        raise BadRequest("the file is encrypted with a named key (SSE-KMS), but the directory did not send its key")
    if data_key.problem is not None:
        raise from_problem(data_key.problem)
    return ContentKey(bytes.fromhex(data_key.key), KMS_ENTRY)


def _default_in(setting: str | None) -> RequestedKey | None:
    """The default key in a bucket's encryption setting."""
    rules: list[dict[str, Any]] = json.loads(setting)["Rules"] if setting else []
    for rule in rules:
        default = rule.get("ApplyServerSideEncryptionByDefault") or {}
        if default.get("SSEAlgorithm") == KMS_ALGORITHM:
            return RequestedKey(default.get("KMSMasterKeyID") or "", bucket_key=bool(rule.get("BucketKeyEnabled")))
    return None
