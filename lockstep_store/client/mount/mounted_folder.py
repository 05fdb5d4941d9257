"""One mounted folder from its start to its end: puts the parts together, and follows the cluster meanwhile."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.api.transport import ApiTransport
from lockstep_store.client.credentials import own_folder
from lockstep_store.client.mount import kernel
from lockstep_store.client.mount.chunk_cache import ChunkCache
from lockstep_store.client.mount.cluster_locks import ClusterLocks
from lockstep_store.client.mount.contents import Contents
from lockstep_store.client.mount.feed import ChangeFeed
from lockstep_store.client.mount.operations import ReadOperations
from lockstep_store.client.mount.program_locks import ProgramLocks
from lockstep_store.client.mount.saver import Saver
from lockstep_store.client.mount.space import Space
from lockstep_store.client.mount.timed_calls import TimedCalls
from lockstep_store.client.mount.tree import Tree
from lockstep_store.client.mount.unsaved import Unsaved
from lockstep_store.client.mount.workspace import Workspace
from lockstep_store.client.mount.write_operations import WriteOperations
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.files import ListReply

log = logging.getLogger("lockstep.mount")

READ_SHARE = 0.8
"""Of the patience: so the transport, which knows more, tells what is wrong."""
UPLOAD_SHARE = 2.0
PAUSES_SECONDS = (0.3,)
"""One retry: programs wait for a mounted folder, and no request may outlast the deadline by much."""


@dataclass(frozen=True)
class HowToWrite:
    """How a folder is written: where unsaved content is kept, and how long to wait for another's lock."""

    unsaved: Unsaved
    wait_seconds: float


def impatient(transport: ApiTransport, patience_seconds: float) -> ApiCalls:
    """The calls of the same person to the same proxy, which give up sooner than people's commands."""
    api = ApiCalls(
        ApiTransport(
            transport.url,
            transport.ca_file,
            transport.credential,
            read_seconds=READ_SHARE * patience_seconds,
            pauses_seconds=PAUSES_SECONDS,
        )
    )
    api.upload_seconds = UPLOAD_SHARE * patience_seconds
    return api


def check_source(api: ApiCalls, bucket: str, prefix: str) -> None:
    """Raise NotFound or Forbidden if there is nothing to mount. A bucket may be empty; a folder in it must exist."""
    page = api.list_page(prefix, bucket=bucket, limit=1)
    if prefix and not page.files:
        raise NotFound(f"{bucket}:{prefix} does not exist: create it with `lockstep mkdir`")


def state_folder(environment: Mapping[str, str], folder: Path) -> Path:
    """Where unsaved content of the mounted `folder` is kept on this machine."""
    return own_folder(environment, "XDG_STATE_HOME", ".local/state") / _name_of(folder)


def cache_folder(environment: Mapping[str, str], folder: Path) -> Path:
    """Where the content that was read in the mounted `folder`, and its log, are kept on this machine."""
    return own_folder(environment, "XDG_CACHE_HOME", ".cache") / _name_of(folder)


def _name_of(folder: Path) -> str:
    return f"mount-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"


def serve(
    api: ApiCalls,
    bucket: str,
    prefix: str,
    folder: Path,
    *,
    cache: ChunkCache,
    patience_seconds: float,
    log_in_again: Callable[[], str],
    writing: HowToWrite | None = None,
) -> None:
    """Mount `folder` and serve it until it is unmounted. `log_in_again` returns the person's present credential."""
    calls = TimedCalls(deadline_seconds=patience_seconds)

    def list_page(prefix: str, *, delimiter: str = "", limit: int = MAX_LISTING, cursor: str = "") -> ListReply:
        return calls.run(api.list_page, prefix, bucket=bucket, delimiter=delimiter, limit=limit, cursor=cursor)

    def renew() -> None:
        api.transport.credential = log_in_again()

    def tell(trouble: str) -> None:
        if not trouble:
            calls.note_reachable()
        log.warning("%s", f"changes cannot be followed: {trouble}" if trouble else "changes are followed again")

    tree = Tree(list_page, prefix)
    feed = ChangeFeed(api.changes, bucket, tree, on_trouble=tell, log_in_again=renew)
    tree.is_fresh = feed.is_fresh
    contents, space = Contents(api, bucket, calls, cache), Space(api, bucket, calls)
    operations = ReadOperations(tree, contents, space)
    if writing is not None:
        for place in writing.unsaved.keep_what_was_left():
            log.warning("an earlier mount ended before it saved a file; what was written is in %s", place)
        saver = Saver(api, bucket, calls)
        locks = ClusterLocks(api, bucket, calls, process=kernel.asking_process, is_interrupted=kernel.is_interrupted)
        workspace = Workspace(api, bucket, calls, tree, contents, saver, locks, writing.unsaved, writing.wait_seconds)
        program_locks = ProgramLocks(workspace, kernel.is_interrupted)
        operations = WriteOperations(tree, contents, space, workspace, program_locks, api, bucket, calls)
    job = BackgroundJob("mount-changes", feed.step).start()
    try:
        kernel.serve(operations, folder, f"lockstep:{bucket}", writable=writing is not None)
    finally:
        job.stop(timeout=0.0)
        calls.close()
        if writing is not None:
            writing.unsaved.close()
        api.close()
