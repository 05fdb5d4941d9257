"""A bucket as its row says."""

from __future__ import annotations

from typing import NamedTuple

from lockstep_store.wire.messages.files import BucketInfo, Versioning


class Bucket(NamedTuple):
    """A row of the bucket table."""

    name: str
    owner: str
    versioning: Versioning
    shared: bool
    created_at: float

    def info(self) -> BucketInfo:
        return BucketInfo(self.name, self.owner, self.versioning, bool(self.shared), self.created_at)
