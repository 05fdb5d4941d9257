"""Moving whole files and trees between a folder and the cluster: only what differs, resumable, verified.

`upload` and `download` move one file, `put_tree` and `get_tree` many at once. Names are made safe by
`client_proxy.local_storage`, requests are made by `client_proxy.api_client`, progress is shown by the callers.
"""

from client_proxy.transfers.download import Fetched, ReadCheck, download
from client_proxy.transfers.interrupted import InterruptedUploads
from client_proxy.transfers.local_chunks import LocalFile, digest_file
from client_proxy.transfers.trees import TreeProgress, TreeReport, get_tree, put_tree
from client_proxy.transfers.upload import Sent, upload, upload_stream

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
