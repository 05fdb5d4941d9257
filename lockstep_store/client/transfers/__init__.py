"""Moving files and folders between this machine and the cluster: only what differs, resumable, verified.

`upload` and `download` move one file, `put_tree` and `get_tree` many at once. Names are made safe by
`client.local_storage`, requests are made by `lockstep_store.client.api.calls`, progress is shown by the callers.
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
