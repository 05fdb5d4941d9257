"""The parts of a mount, put together without a kernel."""

from __future__ import annotations

import threading
from pathlib import Path

from lockstep_store.client.client import Client
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
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.files import ListReply
from tests.fakes.clock import ManualClock
from tests.fakes.rest import RestServer


class MountRig:
    """A mount of `prefix` in the bucket `files`, read-only (`operations`) and writable (`writing`).

    `troubles`: what its feed told. `folder`: where unsaved content is kept. While `interrupted` is set, programs that
    wait have got a signal.
    """

    def __init__(
        self,
        server: RestServer,
        api: Client,
        calls: TimedCalls,
        cache: ChunkCache,
        clock: ManualClock,
        folder: Path,
        prefix: str = "",
    ) -> None:
        self.server = server
        self.api = api
        self.calls = calls
        self.cache = cache
        self.clock = clock
        self.troubles: list[str] = []
        self.log_ins = 0
        self.tree = Tree(self.list_page, prefix, monotonic=clock.monotonic)
        self.feed = ChangeFeed(
            api.changes,
            "files",
            self.tree,
            on_trouble=self.troubles.append,
            log_in_again=self._log_in,
            monotonic=clock.monotonic,
        )
        self.tree.is_fresh = self.feed.is_fresh
        self.contents = Contents(api, "files", calls, cache)
        self.operations = ReadOperations(self.tree, self.contents, Space(api, "files", calls))
        self.unsaved = Unsaved(folder)
        self.interrupted = threading.Event()
        saver = Saver(api, "files", calls)
        locks = ClusterLocks(api, "files", calls, is_interrupted=self.interrupted.is_set)
        self.workspace = Workspace(api, "files", calls, self.tree, self.contents, saver, locks, self.unsaved, 0.0)
        program_locks = ProgramLocks(self.workspace, self.interrupted.is_set)
        space = Space(api, "files", calls)
        self.writing = WriteOperations(
            self.tree, self.contents, space, self.workspace, program_locks, api, "files", calls
        )
        self.feed.step()

    def list_page(self, prefix: str, *, delimiter: str = "", limit: int = MAX_LISTING, cursor: str = "") -> ListReply:
        return self.calls.run(self.api.list_page, prefix, delimiter=delimiter, limit=limit, cursor=cursor)

    def follow(self) -> None:
        """Apply every change that was made."""
        self.feed.step()

    def asked(self) -> list[tuple[str, str]]:
        """Every request since the last call, but for those of the feed: its method and its path."""
        made, self.server.requests[:] = list(self.server.requests), []
        return [(method, path) for method, path in made if not path.startswith("/api/v1/changes")]

    def names(self, path: str = "") -> list[str]:
        return [name for name, _ in self.tree.list(path)]

    def _log_in(self) -> None:
        self.log_ins += 1
