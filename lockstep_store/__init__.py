"""Lockstep, a distributed file store for people who edit files together; this is its Python client.

::

    import lockstep_store as lockstep

    with lockstep.connect("https://127.0.0.1:5000", ca="certs/ca.pem", api_key="lsk_…") as client:
        with client.lock("notes.txt", wait=10) as lock:
            client.put("notes.txt", client.get("notes.txt") + b"one more line\\n", lock=lock)

`connect` returns a `Client`; errors are subclasses of `LockstepError`. docs/python.md describes all of it. Importing
this package loads nothing else: each name below is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep_store.client.api.answers import ClientReceipt, Download, RemoteFile, Saved
    from lockstep_store.client.client import Client, connect
    from lockstep_store.client.local_storage import LocalFileError
    from lockstep_store.client.lock_holder import LockHolder
    from lockstep_store.client.transfers.download import Fetched
    from lockstep_store.client.transfers.trees import TreeReport
    from lockstep_store.client.transfers.upload import Sent
    from lockstep_store.client.watcher import Watcher
    from lockstep_store.wire.digest import Digest
    from lockstep_store.wire.errors import (
        AlreadyExists,
        BadRequest,
        Conflict,
        Deadlock,
        Forbidden,
        Locked,
        LockStale,
        LockstepError,
        NotFound,
        NotLoggedIn,
        PeerUnreachable,
        PreconditionFailed,
        SetupError,
        Unavailable,
        Undecided,
    )
    from lockstep_store.wire.messages.buckets import BucketInfo
    from lockstep_store.wire.messages.files import FileVersion
    from lockstep_store.wire.messages.journal import Change
    from lockstep_store.wire.messages.locks import LockInfo

__all__ = [
    "AlreadyExists",
    "BadRequest",
    "BucketInfo",
    "Change",
    "Client",
    "ClientReceipt",
    "Conflict",
    "Deadlock",
    "Digest",
    "Download",
    "Fetched",
    "FileVersion",
    "Forbidden",
    "LocalFileError",
    "LockHolder",
    "LockInfo",
    "LockStale",
    "Locked",
    "LockstepError",
    "NotFound",
    "NotLoggedIn",
    "PeerUnreachable",
    "PreconditionFailed",
    "RemoteFile",
    "Saved",
    "Sent",
    "SetupError",
    "TreeReport",
    "Unavailable",
    "Undecided",
    "Watcher",
    "connect",
]

_HOMES = {
    "lockstep_store.client.client": ("Client", "connect"),
    "lockstep_store.client.api.answers": ("ClientReceipt", "Download", "RemoteFile", "Saved"),
    "lockstep_store.client.local_storage": ("LocalFileError",),
    "lockstep_store.client.lock_holder": ("LockHolder",),
    "lockstep_store.client.transfers.download": ("Fetched",),
    "lockstep_store.client.transfers.trees": ("TreeReport",),
    "lockstep_store.client.transfers.upload": ("Sent",),
    "lockstep_store.client.watcher": ("Watcher",),
    "lockstep_store.wire.digest": ("Digest",),
    "lockstep_store.wire.messages.buckets": ("BucketInfo",),
    "lockstep_store.wire.messages.files": ("FileVersion",),
    "lockstep_store.wire.messages.journal": ("Change",),
    "lockstep_store.wire.messages.locks": ("LockInfo",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used; every program imports this package, and none needs them all."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF.get(name, "lockstep_store.wire.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
