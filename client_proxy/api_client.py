"""A person's client of one proxy's HTTPS API: one typed method for each thing that can be asked.

Answers are decoded with the same shapes the programs use (`wire.messages`), refusals come back as the classes of
`wire.errors`. The methods stand by subject in `api_people`, `api_files`, `api_changes`, `api_locks`,
`api_cluster`, `api_care` and `api_kms`. Moving whole files well (deltas, resuming, trees) is left to
`client_proxy.transfers`.
"""

from __future__ import annotations

from client_proxy.api_answers import (
    UNCONDITIONAL,
    ClientReceipt,
    Download,
    RemoteFile,
    Saved,
    WriteOptions,
    label,
    receipt_of,
)
from client_proxy.api_care import CareCalls
from client_proxy.api_changes import ChangeCalls
from client_proxy.api_cluster import ClusterCalls
from client_proxy.api_files import FileCalls
from client_proxy.api_kms import KmsCalls
from client_proxy.api_locks import LockCalls
from client_proxy.api_people import BucketCalls, PeopleCalls

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
