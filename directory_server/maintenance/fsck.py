"""fsck: checks the metadata against its own rules and against what every file server holds.

The metadata is checked rule by rule without blocking writers (metadata/statements/consistency.py). Every file server
that is up is ordered to take an inventory (inventory.py); with `deep` it reads every byte. Then the blobs with problems
are given the names of their files. A server that goes down meanwhile is reported as away, so a check always ends. fsck
repairs nothing but wrong totals of what is stored, which are counted again: repair counts or copies what inventories
find, and broken rules are for a person to look at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.cluster.membership import Membership
from directory_server.maintenance.inventory import Inventories, Tally
from directory_server.metadata.statements import recovery
from directory_server.metadata.statements.consistency import CHECKS, TOTAL, count_rows, find_broken
from directory_server.metadata.statements.totals import count_again
from directory_server.metadata.store import MetadataStore
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.recovery import MAX_PROBLEMS, FsckProblem, FsckReport, FsckServer

IDLE_SECONDS = 60.0
STALLED_SECONDS, DEEP_STALLED_SECONDS = 30.0, 1800.0
"""A server whose storage has a problem may stand still for so long; then its check is given up. A deep check reads
everything before it compares anything."""
WAIT_SECONDS = 0.2
NAMES_PAGE = 1000
MAX_NAMES = 3
_CHECKED = ("up", "suspect", "draining")


def check_metadata(store: MetadataStore) -> tuple[dict[str, int], list[FsckProblem], int]:
    """Check the metadata alone; return (rows by table, problems, how many more problems were left out)."""
    problems = [FsckProblem("damaged metadata file", "metadata", defect) for defect in store.defects()]
    more = 0
    with store.read() as reader:
        counts = count_rows(reader)
    for check in CHECKS:
        with store.read() as reader:
            broken = find_broken(reader, check, MAX_PROBLEMS + 1)
        room = max(0, MAX_PROBLEMS - len(problems))
        problems += [FsckProblem(check.kind, name, detail) for name, detail in broken[:room]]
        more += max(0, len(broken) - room)
    return counts, problems, more


class Fsck:
    """Runs one check at a time. Thread-safe; `step` is a background job."""

    def __init__(
        self, store: MetadataStore, clock: DirectoryClock, membership: Membership, inventories: Inventories
    ) -> None:
        self._store = store
        self._clock = clock
        self._membership = membership
        self._inventories = inventories
        self._mutex = threading.Lock()
        self._report = FsckReport("never")
        self._started = 0.0
        self._metadata_done = True
        self._progress: dict[str, tuple[tuple[int, int], float]] = {}
        """By file server: how far its inventory is, and since when."""
        self.wake: Callable[[], None] = lambda: None
        """Set by the bootstrap: makes the job runner call `step` now."""

    def start(self, *, deep: bool) -> None:
        """Start a check, unless one is running. It does not wait for servers that are not up."""
        with self._mutex:
            if self._report.state == "running":
                return
            infos = self._membership.infos()
            self._inventories.begin([info.id for info in infos if info.state in _CHECKED], deep=deep)
            self._report = FsckReport("running", deep, self._clock.wall())
            self._report.file_servers = [FsckServer(info.id, "waiting") for info in infos]
            self._started = self._clock.now()
            self._metadata_done = False
            self._progress.clear()
        self.wake()

    def report(self) -> FsckReport:
        """Return the report of the running check, or of the last one."""
        with self._mutex:
            if self._report.state == "running":
                self._update_servers()
                self._report.seconds = self._clock.now() - self._started
            return self._report

    def step(self) -> float:
        """Continue the running check; return seconds until the next call."""
        if self._report.state != "running":
            return IDLE_SECONDS
        if not self._metadata_done:
            counts, problems, more = check_metadata(self._store)
            if any(problem.kind == TOTAL for problem in problems):
                self._store.write(count_again)
                log.warning("fsck: totals of what is stored were wrong, and were counted again")
            with self._mutex:
                self._report.checks, self._report.problems, self._report.more_problems = counts, problems, more
                self._metadata_done = True
        with self._mutex:
            self._update_servers()
            if any(server.state == "waiting" for server in self._report.file_servers):
                return WAIT_SECONDS
        self._finish()
        return IDLE_SECONDS

    def _update_servers(self) -> None:
        """Update each server's state and counts in the report. The caller holds the mutex."""
        tallies = self._inventories.tallies()
        for server in self._report.file_servers:
            if server.state != "waiting":
                continue
            tally = tallies.get(server.id)
            progress = (0, 0) if tally is None else (tally.compared, len(tally.damaged))
            if tally is None or not self._can_go_on(server.id, progress):
                server.state = "away"
            if tally is not None:
                server.compared, server.unknown = tally.compared, tally.unknown
                server.missing, server.damaged = len(tally.missing), len(tally.damaged)
                server.counted = len(tally.counted)
                if tally.done:
                    server.state = "done"

    def _can_go_on(self, server_id: str, progress: tuple[int, int]) -> bool:
        """Return whether the server is up, and healthy or still making progress."""
        if self._membership.state(server_id) not in _CHECKED:
            return False
        before, since = self._progress.get(server_id, (None, 0.0))
        if progress != before or not self._membership.problem(server_id):
            self._progress[server_id] = progress, self._clock.now()
            return True
        patience = DEEP_STALLED_SECONDS if self._report.deep else STALLED_SECONDS
        return self._clock.now() - since < patience

    def _finish(self) -> None:
        problems, more = _problems_of(self._inventories.tallies())
        names = self._names({problem.name for problem in problems})
        for problem in problems:
            problem.detail = problem.name
            problem.name = names.get(problem.name, problem.name)
        with self._mutex:
            report = self._report
            room = max(0, MAX_PROBLEMS - len(report.problems))
            report.problems = [*report.problems, *problems[:room]]
            report.more_problems += more + max(0, len(problems) - room)
            report.seconds = self._clock.now() - self._started
            report.state = "done"
        log.info("fsck: %d problems", len(report.problems) + report.more_problems)

    def _names(self, digests: set[str]) -> dict[str, str]:
        """Return names of files with these contents, by hex digest, from one paged walk over all versions."""
        found: dict[str, list[str]] = {}
        after = "" if digests else None
        while after is not None:
            with self._store.read() as reader:
                page = recovery.version_names(reader, after, NAMES_PAGE)
            for _, bucket, path, digest in page:
                if digest is not None and (key := digest.hex()) in digests:
                    names = found.setdefault(key, [])
                    if (name := f"{bucket}/{path}") not in names and len(names) < MAX_NAMES:
                        names.append(name)
            after = page[-1][0] if len(page) == NAMES_PAGE else None
        return {digest: ", ".join(names) for digest, names in found.items()}


def _problems_of(tallies: dict[str, Tally]) -> tuple[list[FsckProblem], int]:
    """Return the problems that inventories found, named by digest, and how many more were left out."""
    problems: list[FsckProblem] = []
    for server, tally in sorted(tallies.items()):
        kinds: tuple[tuple[str, Iterable[Digest]], ...] = (
            ("missing copy", tally.missing),
            ("damaged copy", tally.damaged),
            ("uncounted copy", tally.counted),
        )
        problems += [FsckProblem(kind, d.hex(), "", server) for kind, digests in kinds for d in digests]
    more = sum(tally.more for tally in tallies.values())
    return problems[:MAX_PROBLEMS], more + max(0, len(problems) - MAX_PROBLEMS)
