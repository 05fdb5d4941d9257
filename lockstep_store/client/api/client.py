"""A person's client of one proxy's HTTPS API: one typed method for each thing that can be asked.

Answers are decoded with the same shapes the programs use (`wire.messages.files`), refusals come back as the classes of
`lockstep_store.wire.errors`. The methods stand by subject in `api_people`, `api_files`, `api_changes`, `api_locks`,
`api_cluster`, `api_care` and `api_kms`. Moving whole files well (deltas, resuming, trees) is left to
`lockstep_store.client.transfers`.
"""

from __future__ import annotations

from lockstep_store.client.api.answers import (
    UNCONDITIONAL,
    ClientReceipt,
    Download,
    RemoteFile,
    Saved,
    WriteOptions,
    label,
    receipt_of,
)
from lockstep_store.client.api.cluster import ClusterCalls
from lockstep_store.client.api.files import FileCalls
from lockstep_store.client.api.journal import ChangeCalls
from lockstep_store.client.api.locks import LockCalls
from lockstep_store.client.api.maintenance import CareCalls
from lockstep_store.client.api.named_keys import KmsCalls
from lockstep_store.client.api.people import BucketCalls, PeopleCalls

__all__ = [
    "UNCONDITIONAL",
    "ApiClient",
    "ClientReceipt",
    "Download",
    "RemoteFile",
    "Saved",
    "WriteOptions",
    "label",
    "receipt_of",
]


class ApiClient(PeopleCalls, BucketCalls, FileCalls, ChangeCalls, LockCalls, ClusterCalls, CareCalls, KmsCalls):
    """Everything a person can ask of the proxy at `transport.url`. Safe to use from several threads."""

    def close(self) -> None:
        self.transport.close()
