"""Named keys (SSE-KMS) as a proxy uses them: which one a bucket's writes are under, and data keys from the directory.

A bucket's default holds for whoever writes by whichever door. It is kept here for a few seconds, which a change that
was made through another proxy may take to show.
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
    KMS_BUCKET_KEY_FACT,
    KMS_FACT,
    NEW_DATA_KEY,
    BucketEncryptionRequest,
    NewDataKeyRequest,
)

KEEP_SECONDS = 3.0
MAX_KNOWN = 1000
KMS_ALGORITHM = "aws:kms"


class Wish(NamedTuple):
    """The named key that a content shall be under; without `key` the cluster's default key. `context` is JSON."""

    key: str = ""
    context: str = ""
    bucket_key: bool = False


class NewKey(NamedTuple):
    """For one content: its key, and the facts with which the key can be had again."""

    key: ContentKey
    facts: dict[str, str]


class NamedKeys:
    """Thread-safe. `clock` ages the defaults that are kept here."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._defaults: ExpiringMap[tuple[str, int], tuple[Wish | None]] = ExpiringMap(
            MAX_KNOWN, KEEP_SECONDS, clock.monotonic
        )

    def default_of(self, bucket: str) -> Wish | None:
        """What a bucket's contents are under when nobody says otherwise; None: the cluster's storage keys alone."""
        asked = self._clock.monotonic()
        key = (bucket, self._directory.bucket_life(bucket))
        known = self._defaults.get(key)
        if known is not None:
            return known[0]
        try:
            told = self._directory.call(BUCKET_ENCRYPTION, BucketEncryptionRequest(bucket)).value
        except LockstepError as error:
            if error.status != 404:
                raise
            return None  # whoever writes will hear of it
        wish = _wish_in(told)
        self._defaults.set(key, (wish,), since=asked)
        return wish

    def forget(self, bucket: str) -> None:
        """Ask again at the next write: the default was changed here."""
        self._defaults.forget((bucket, self._directory.bucket_life(bucket)))

    def new_key(self, wish: Wish) -> NewKey:
        """A key for one content. BadRequest for a named key that is not there, or disabled."""
        made = self._directory.call(NEW_DATA_KEY, NewDataKeyRequest(wish.key, wish.context))
        facts = made.facts | ({KMS_BUCKET_KEY_FACT: "true"} if wish.bucket_key else {})
        return NewKey(ContentKey(bytes.fromhex(made.key), KMS_FACT), facts)


def opened_key(data_key: DataKey | None) -> ContentKey:
    """The key of a content as the directory told it; what it refused it with otherwise."""
    if data_key is None:
        raise BadRequest("the file is under a named key (SSE-KMS), and the directory did not tell its data key")
    if data_key.problem is not None:
        raise from_problem(data_key.problem)
    return ContentKey(bytes.fromhex(data_key.key), KMS_FACT)


def _wish_in(setting: str | None) -> Wish | None:
    """The default that a bucket's setting says."""
    rules: list[dict[str, Any]] = json.loads(setting)["Rules"] if setting else []
    for rule in rules:
        default = rule.get("ApplyServerSideEncryptionByDefault") or {}
        if default.get("SSEAlgorithm") == KMS_ALGORITHM:
            return Wish(default.get("KMSMasterKeyID") or "", bucket_key=bool(rule.get("BucketKeyEnabled")))
    return None
