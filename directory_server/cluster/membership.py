"""Membership: which file servers belong to the cluster, and the state of each.

Registrations and decisions (draining, removed) are rows. Heartbeats change only memory, so a hundred servers cost no
commit a second. States follow from directory time: after a restart of the directory, each server is `joining` until
its first heartbeat.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.cluster.placement import Candidate
from directory_server.cluster.server_status import ServerStatus
from directory_server.metadata.statements import servers
from directory_server.metadata.statements.servers import ServerRow
from directory_server.metadata.store import MetadataStore
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import Conflict, LockstepError, NotFound, Unavailable
from lockstep_store.wire.messages.cluster import FileServerInfo, ServerState
from lockstep_store.wire.messages.files import Holder
from lockstep_store.wire.messages.servers import HeartbeatRequest, RegisterRequest
from lockstep_store.wire.messages.storage_keys import StorageKeyUse

MIN_FREE_BYTES = 64 << 20
FORGET_BATCH = 2000
_READING_ORDER: dict[str, int] = {"up": 0, "draining": 0, "joining": 1, "suspect": 2, "down": 3}


@dataclass(frozen=True)
class Timing:
    """Seconds without a heartbeat until a server is suspect, and until it is down."""

    heartbeat_seconds: float = 1.0
    suspect_after: float = 3.0
    down_after: float = 10.0


@dataclass
class _Server:
    row: ServerRow
    heard: float
    """Directory time of the last word from it; of the directory's start when there was none."""
    report: HeartbeatRequest | None = None
    unreachable: bool = False
    avoided: bool = False
    saved: tuple[str, bool] = field(default=("", True))
    registered: float = 0.0
    """Directory time of its latest registration."""
    owed_inventory: int = 0
    """The id of an inventory that it has yet to take; 0: none."""


class Membership:
    """Tracks the file servers. Callers have verified a server's id by its peer token. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        timing: Timing = Timing(),
        min_free_bytes: int = MIN_FREE_BYTES,
    ) -> None:
        self._store = store
        self._clock = clock
        self.timing = timing
        self._min_free = min_free_bytes
        self._mutex = threading.Lock()
        self._deciding = threading.Lock()
        """Held while a server's row is changed, from reading it until it is durable."""
        with store.read() as reader:
            rows = servers.all_servers(reader)
        self._servers = {row.id: _Server(row, clock.now()) for row in rows}
        self._losses = 0
        self._finish_removals(rows)
        self.came_back_empty = 0
        """How often a known server has registered with an empty disk since this start."""

    # ------------------------------------------------------------ registrations and heartbeats

    def register(self, id: str, request: RegisterRequest) -> None:
        """Add or update a file server, durably. Safe to repeat.

        A new `store_id` means that its disk is empty: its holder rows are deleted first, and repair makes new copies.
        Raises Unavailable while another server of that id is up, and Conflict if the id was removed.
        """
        known = self._servers.get(id)
        if known is not None and known.row.store_id != request.store_id:
            self._refuse_twin(known, request)
            self._forget_held(id)
            self.came_back_empty += 1
        with self._deciding:
            row = self._row_to_register(id, request)
            crash_point("directory.register.asked")
            self._store.write(lambda tx: servers.save_server(tx, row))
            crash_point("directory.register.done")
            with self._mutex:
                now = self._clock.now()
                self._servers[id] = _Server(row, now, registered=now)
        log.info("file_server-%s registered at %s", id, request.url)

    def _row_to_register(self, id: str, request: RegisterRequest) -> ServerRow:
        known = self._servers.get(id)
        if known is not None and known.row.state == "removed" and known.row.store_id == request.store_id:
            raise Conflict(
                f"file_server-{id} was removed from the cluster, and its copies no longer count; to add it again, stop "
                "it and start it with an empty data folder",
                removed=True,
            )
        state = known.row.state if known is not None and known.row.state == "draining" else "up"
        return ServerRow(id, request.url, request.store_id, request.zone, request.version, state, self._clock.wall())

    def _refuse_twin(self, known: _Server, request: RegisterRequest) -> None:
        # Otherwise two servers with one id would delete each other's holder rows in turn.
        if known.report is not None and self._state(known) == "up":
            raise Unavailable(
                f"file_server-{known.row.id} at {known.row.url} is up with another storage; give the server at "
                f"{request.url} another id. (If it was just restarted with an empty disk, this passes in "
                f"{self.timing.suspect_after:.0f} s.)"
            )

    def _forget_held(self, id: str) -> None:
        """Delete the server's holder rows, in batches, so that other writers do not wait. Safe to interrupt."""
        log.warning("deleting the holder rows of file_server-%s", id)
        forgotten = FORGET_BATCH
        while forgotten == FORGET_BATCH:
            forgotten = self._store.write(lambda tx: servers.forget_some_held(tx, id, FORGET_BATCH))
            crash_point("directory.held.forgetting")
        self._losses += 1

    def reload(self) -> None:
        """Read what was decided about file servers again, because the metadata has gone on without this object."""
        with self._store.read() as reader:
            rows = servers.all_servers(reader)
        with self._mutex:
            for row in rows:
                known = self._servers.setdefault(row.id, _Server(row, self._clock.now()))
                known.row = replace(known.row, state=row.state)

    def knows(self, id: str, store_id: str) -> bool:
        """Whether the server has registered with this storage before."""
        known = self._servers.get(id)
        return known is not None and known.row.store_id == store_id

    def heartbeat(self, id: str, request: HeartbeatRequest) -> bool:
        """Note a heartbeat; return False if the server must register, because the directory knows no such server."""
        with self._mutex:
            server = self._servers.get(id)
            if server is None or server.row.state == "removed":
                return False
            if (server.row.store_id, server.row.url) != (request.store_id, request.url):
                return False
            if server.report is None or server.unreachable:
                log.info("file_server-%s is up", id)
            server.heard = self._clock.now()
            server.unreachable = server.avoided = False
            server.report = request
            if request.inventory_done == server.owed_inventory:
                server.owed_inventory = 0
            changed = server.saved != (request.problem, request.healthy)
            server.saved = (request.problem, request.healthy)
        if changed:
            crash_point("directory.heartbeat.saving")
            self._save_usage(id, request)
        return True

    def stored_bytes(self) -> int | None:
        """Return the bytes of the chunks that all file servers have on disk, as they last reported; None while one of
        them has not reported."""
        with self._mutex:
            servers = [server for server in self._servers.values() if server.row.state != "removed"]
            reports = [server.report for server in servers if server.report is not None]
        return sum(report.stored_bytes for report in reports) if len(reports) == len(servers) else None

    def note_counted(self, id: str, since: float) -> None:
        """Note that a copy counts now whose write began at directory time `since`.

        A server that has registered since then may have come back with an older disk, without the copy. The inventory
        that follows a registration may have been over before the copy counted, so it owes another one.
        """
        with self._mutex:
            server = self._servers.get(id)
            if server is not None and server.registered > since:
                server.owed_inventory = secrets.randbelow(1 << 52) + 1

    def owed_inventory(self, id: str) -> int:
        """The id of an inventory that the server has yet to take; 0: none."""
        server = self._servers.get(id)
        return server.owed_inventory if server is not None else 0

    def _save_usage(self, id: str, beat: HeartbeatRequest) -> None:
        usage = (beat.capacity_bytes, beat.free_bytes, beat.blobs, beat.stored_bytes, beat.problem)
        try:
            self._store.write(lambda tx: servers.save_usage(tx, id, *usage))
        except LockstepError as error:
            # The row is only for display: the server stays up even while the directory cannot write.
            log.warning("could not save the usage of file_server-%s: %s", id, error)

    def report_unreachable(self, id: str) -> None:
        """Make a server suspect until its next heartbeat, because a proxy or a master could not reach it."""
        with self._mutex:
            server = self._servers.get(id)
            if server is not None and not server.unreachable:
                log.warning("file_server-%s was reported unreachable", id)
                server.unreachable = True

    def avoid(self, id: str, by: str) -> None:
        """Place no write on a server until its next heartbeat, if there are enough others.

        The master `by` could not reach it. It does not become suspect: the two alone may be cut off from each other.
        """
        with self._mutex:
            server = self._servers.get(id)
            if server is not None and not server.avoided:
                log.warning("file_server-%s could not reach file_server-%s", by, id)
                server.avoided = True

    def _finish_removals(self, rows: Iterable[ServerRow]) -> None:
        """Delete the remaining holder rows of removed servers, in case a crash interrupted the deletion."""
        for row in rows:
            if row.state == "removed":
                with self._store.read() as reader:
                    is_left = servers.digests_held_by(reader, row.id, b"", 1)
                if is_left:
                    self._forget_held(row.id)

    # ------------------------------------------------------------ decisions of administrators

    def drain(self, id: str, draining: bool = True) -> None:
        """Stop writes to a server, so that repair moves its copies elsewhere; or undo that."""
        self._decide(id, "draining" if draining else "up")

    def remove(self, id: str) -> None:
        """Remove a server with its holder rows. Its id can register again only with an empty disk."""
        self._decide(id, "removed")
        self._forget_held(id)

    def _decide(self, id: str, state: str) -> None:
        with self._deciding:
            server = self._servers.get(id)
            if server is None:
                raise NotFound(f"there is no file server with the id {id!r}")
            if server.row.state == "removed" and state != "removed":
                raise Conflict(
                    f"file_server-{id} was removed from the cluster; start it with an empty data folder to add it"
                )
            row = replace(server.row, state=state)
            self._store.write(lambda tx: servers.save_server(tx, row))
            with self._mutex:
                server.row = row

    def staying(self, without: str = "") -> list[str]:
        """Return the servers, other than `without`, that are neither removed nor draining, whether up or not.

        Raises NotFound if `without` is unknown.
        """
        with self._mutex:
            if without and without not in self._servers:
                raise NotFound(f"there is no file server with the id {without!r}")
            return [id for id, server in self._servers.items() if server.row.state == "up" and id != without]

    # ------------------------------------------------------------ states

    def _state(self, server: _Server) -> ServerState:
        if server.row.state == "removed":
            return "removed"
        silent = self._clock.now() - server.heard
        if silent >= self.timing.down_after:
            return "down"
        if server.report is None:
            return "joining"
        if server.unreachable or silent >= self.timing.suspect_after:
            return "suspect"
        return "draining" if server.row.state == "draining" else "up"

    def state(self, id: str) -> ServerState:
        """Return a server's state; `removed` for an unknown id."""
        server = self._servers.get(id)
        return "removed" if server is None else self._state(server)

    def problem(self, id: str) -> str:
        """What the server last said is wrong with its storage; empty when nothing is."""
        server = self._servers.get(id)
        return "" if server is None or server.report is None else server.report.problem

    def key_uses(self, *, silent: bool = False) -> dict[str, StorageKeyUse | None]:
        """Return what each server last said about the storage keys; None if it said nothing.

        With `silent` also those that sent no heartbeat since the directory's start.
        """
        with self._mutex:
            known = [server for server in self._servers.values() if server.row.state != "removed"]
            return {
                server.row.id: server.report.storage_keys if server.report is not None else None
                for server in known
                if silent or server.report is not None
            }

    def candidates(self) -> list[Candidate]:
        """Return every server for placement, with whether it can take new bytes now."""
        with self._mutex:
            return [self._candidate(server) for server in self._servers.values() if server.row.state != "removed"]

    def _candidate(self, server: _Server) -> Candidate:
        state, report = self._state(server), server.report
        free = report.free_bytes if report else 0
        why: str = state
        if report and not report.healthy:
            why = report.problem or "unhealthy"
        elif free < self._min_free and state == "up":
            why = "full"
        writable = state == "up" and why == "up"
        return Candidate(
            server.row.id, server.row.url, server.row.zone, free, writable, why, server.row.store_id, server.avoided
        )

    def holders(self) -> list[Holder]:
        """Return every server with its liveness, for tickets and replies to heartbeats."""
        with self._mutex:
            known = [server for server in self._servers.values() if server.row.state != "removed"]
            return [self._holder(server) for server in known]

    def _holder(self, server: _Server) -> Holder:
        return Holder(server.row.id, server.row.url, self._state(server) in ("up", "draining"))

    def holders_in_reading_order(self, ids: Sequence[str]) -> list[Holder]:
        """Return the holders `ids`, given in rank order, in the order to read from.

        Replicas come before the master, which has the writes to do, and servers that are down come last. Unhealthy
        servers still serve reads.
        """
        known = [server for id in ids if (server := self._servers.get(id)) and server.row.state != "removed"]
        master = next((s.row.id for s in known if _READING_ORDER[self._state(s)] == 0), None)
        known.sort(key=lambda server: (_READING_ORDER[self._state(server)], server.row.id == master))
        return [self._holder(server) for server in known]

    def living(self, ids: Iterable[str], grace: float) -> list[str]:
        """Return the `ids` whose copies count: not removed, draining, or down for longer than `grace` seconds."""
        now = self._clock.now()
        return [
            id
            for id in ids
            if (server := self._servers.get(id))
            and server.row.state == "up"
            and now - server.heard < self.timing.down_after + grace
        ]

    def whose_copies_count(self, grace: float) -> tuple[int, frozenset[str]]:
        """Changes whenever repair should examine all blobs again: a server left, returned or lost its disk."""
        return self._losses, frozenset(self.living(list(self._servers), grace))

    def statuses(self, grace: float) -> dict[str, ServerStatus]:
        """Return the status of each server, for repair; see `living` for `grace`."""
        with self._mutex:
            return {
                id: self._status(server, grace) for id, server in self._servers.items() if server.row.state != "removed"
            }

    def _status(self, server: _Server, grace: float) -> ServerStatus:
        state, report, candidate = self._state(server), server.report, self._candidate(server)
        return ServerStatus(
            id=server.row.id,
            url=server.row.url,
            zone=server.row.zone,
            room_bytes=report.stored_bytes + report.free_bytes if report else 0,
            heard=self._clock.now() - server.heard < self.timing.down_after + grace,
            leaving=server.row.state == "draining",
            readable=state in ("up", "draining"),
            writable=candidate.writable,
            solid=state in ("up", "draining") and report is not None and report.healthy,
            inventoried=report is not None and report.inventoried and not server.owed_inventory,
        )

    def infos(self) -> list[FileServerInfo]:
        """Return the servers for ClusterReply, by id."""
        with self._mutex:
            return [self._info(s) for _, s in sorted(self._servers.items()) if s.row.state != "removed"]

    def _info(self, server: _Server) -> FileServerInfo:
        report, state, candidate = server.report, self._state(server), self._candidate(server)
        return FileServerInfo(
            id=server.row.id,
            url=server.row.url,
            state=state,
            zone=server.row.zone,
            capacity_bytes=report.capacity_bytes if report else 0,
            free_bytes=report.free_bytes if report else 0,
            blobs=report.blobs if report else 0,
            stored_bytes=report.stored_bytes if report else 0,
            problem=report.problem if report else "",
            seconds_since_heartbeat=self._clock.now() - server.heard,
            version=server.row.version,
            leaving=server.row.state == "draining",
            refuses="" if candidate.writable or state != "up" else candidate.state,
        )
