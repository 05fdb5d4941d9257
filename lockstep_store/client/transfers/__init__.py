"""Transfers files and folders between this machine and the cluster: changed chunks only, resumable, verified.

`upload` and `download` move one file, `put_tree` and `get_tree` a folder. `client.local_storage` makes names safe,
`client.api.calls` sends the requests, and callers show the progress.
"""

from lockstep_store.client.transfers.download import Fetched, ReadCheck, download
from lockstep_store.client.transfers.interrupted_uploads import InterruptedUploads
from lockstep_store.client.transfers.local_chunks import LocalFile, digest_file
from lockstep_store.client.transfers.trees import TreeProgress, TreeReport, get_tree, put_tree
from lockstep_store.client.transfers.upload import Sent, upload, upload_stream

__all__ = [
    "Fetched",
    "InterruptedUploads",
    "LocalFile",
    "ReadCheck",
    "Sent",
    "TreeProgress",
    "TreeReport",
    "digest_file",
    "download",
    "get_tree",
    "put_tree",
    "upload",
    "upload_stream",
]
