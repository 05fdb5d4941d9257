"""The job of one run of the load generator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Job:
    """One run. Keys are the prefix and a number; their contents follow from the seed and the key alone."""

    operation: str
    endpoints: list[str]
    """Client i uses door i modulo their count."""
    ca_file: str
    access_key: str
    secret_key: str
    region: str
    bucket: str
    api_key: str = ""
    """For locks, which S3 does not have."""
    prefix: str = ""
    seed: str = ""
    size: int = 0
    part_size: int = 0
    keys: int = 0
    """The number of keys to read or list."""
    clients: int = 1
    seconds: float = 60.0
    limit: int = 0
    """The maximum number of operations; 0 means as many as the seconds allow."""

    def but(self, **changes: Any) -> Job:
        return replace(self, **changes)

    def key(self, number: int) -> str:
        return f"{self.prefix}{number:07d}"
