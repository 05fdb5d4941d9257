"""The operating half of the cluster in memory: file servers that drain step by step, balance, the repair report."""

from __future__ import annotations

from lockstep_store.wire.errors import Conflict, Forbidden, NotFound
from lockstep_store.wire.messages import cluster as cm
from lockstep_store.wire.messages import quotas as qm
from lockstep_store.wire.messages.base import CredentialRequest, Nothing


class OperatingCore:
    """Administrators only. Each look at the cluster (`step`) moves one copy, of a drain first, then of a rebalance."""

    administrator = "admin"

    def __init__(self) -> None:
        super().__init__()
        self.servers = [
            cm.FileServerInfo("1", "https://127.0.0.1:5060", "up", "a", 10**12, 10**11, 5, 10**6, "", 1.0, "0.1.0", 2),
        ]
        self.repair = cm.RepairInfo(0, 0, 0, 0)
        self.lost: list[cm.LostFile] = []
        self.quotas: dict[tuple[qm.QuotaScope, str], dict[str, int]] = {}
        self.finished_after = 0
        """How many more reports show repair at work."""

    def _who(self, credential: str, what: str) -> str:
        raise NotImplementedError

    def add_server(self, id: str, blobs: int = 2) -> cm.FileServerInfo:
        """Add a file server that is up and holds `blobs`."""
        info = cm.FileServerInfo(
            id, f"https://127.0.0.1:506{id}", "up", "b", 10**12, 10**11, 5, 10**6, "", 1.0, "", blobs
        )
        self.servers.append(info)
        return info

    def step(self) -> None:
        """Move one copy."""
        for server in self.servers:
            if server.state == "draining" and not server.drained:
                server.held_blobs -= 1
                server.drained = server.held_blobs <= 0
                self.repair.to_move = max(0, server.held_blobs)
                return
        if self.repair.balancing:
            self.repair.to_balance -= 1
            self.repair.balancing = self.repair.to_balance > 0

    def _servers_drain(self, request: cm.DrainRequest) -> cm.FileServerInfo:
        server = self._server(request.credential, request.id)
        server.state = "up" if request.stop else "draining"
        server.drained = not request.stop and server.held_blobs == 0
        self.repair.to_move = 0 if request.stop else server.held_blobs
        return server

    def _servers_remove(self, request: cm.RemoveServerRequest) -> Nothing:
        server = self._server(request.credential, request.id)
        if server.held_blobs and not request.force:
            raise Conflict(
                f"file server {server.id} holds {server.held_blobs} blobs that have too few copies elsewhere"
            )
        self.servers.remove(server)
        return Nothing()

    def _servers_balance(self, request: cm.BalanceRequest) -> cm.RepairInfo:
        self._administrator(request.credential)
        self.repair.balancing = not request.stop and self.repair.to_balance > 0
        return self.repair

    def _repair_report(self, request: cm.RepairReportRequest) -> cm.RepairReport:
        self._administrator(request.credential)
        names = [(one.bucket, one.path, one.version) for one in self.lost]
        begin = names.index(request.after) + 1 if request.after else 0
        page = self.lost[begin : begin + request.limit]
        more = begin + len(page) < len(self.lost)
        self.finished_after -= 1
        return cm.RepairReport(
            self.repair, self.finished_after < 0, page, names[begin + len(page) - 1] if more else None
        )

    def _quota(self, request: qm.QuotaRequest) -> qm.QuotaReply:
        self._who(request.credential, "see quotas")
        return self._quota_reply(request.scope, request.name)

    def _quota_set(self, request: qm.SetQuotaRequest) -> qm.QuotaReply:
        self._administrator(request.credential)
        given = self.quotas.setdefault((request.scope, request.name), {})
        for resource, value in request.values.items():
            given.pop(resource, None)
            if value is not None:
                given[resource] = value
        return self._quota_reply(request.scope, request.name)

    def _quotas(self, request: CredentialRequest) -> qm.QuotasReply:
        self._administrator(request.credential)
        return qm.QuotasReply([self._quota_reply(scope, name) for scope, name in sorted(self.quotas)])

    def _quota_reply(self, scope: qm.QuotaScope, name: str) -> qm.QuotaReply:
        """Of everything counted, 2048 are used."""
        given = self.quotas.get((scope, name), {})
        return qm.QuotaReply(
            scope,
            name,
            [
                qm.QuotaInfo(
                    resource,
                    given.get(resource, qm.BUILT_IN.get((scope, resource))),
                    2048 if resource in given else None,
                    resource not in given and (scope, resource) in qm.BUILT_IN,
                )
                for resource in qm.RESOURCES[scope]
            ],
        )

    def _server(self, credential: str, id: str) -> cm.FileServerInfo:
        self._administrator(credential)
        found = next((server for server in self.servers if server.id == id), None)
        if found is None:
            raise NotFound(f"there is no file server {id!r}")
        return found

    def _administrator(self, credential: str) -> None:
        if self._who(credential, "operate") != self.administrator:
            raise Forbidden("only an administrator may do this")
