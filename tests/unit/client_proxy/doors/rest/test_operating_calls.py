"""What administrators ask of the directory about file servers, as its calls answer it; and nobody else may."""

from __future__ import annotations

from typing import Any

import pytest

from directory_server.cluster import totals
from lockstep_store.wire.codec import Call
from lockstep_store.wire.errors import Conflict, Forbidden, NotFound
from lockstep_store.wire.messages import cluster as cm
from lockstep_store.wire.messages import servers as s
from lockstep_store.wire.messages.base import CredentialRequest
from tests.unit.directory_server.api.conftest import authority, directory, folder
from tests.unit.directory_server.api.directory_calls import Directory

__all__ = ["authority", "directory", "folder"]


def info_of(directory: Directory, id: str) -> cm.FileServerInfo:
    directory.time.advance(1.5)
    for other in ("1", "2", "3"):
        directory.beat(other)
    directory.server.repair.step()
    reply = directory.call(cm.CLUSTER, CredentialRequest(directory.admin))
    return next(info for info in reply.file_servers if info.id == id)


def test_only_administrators_operate_servers(directory: Directory) -> None:
    """Draining, removing, balancing and the report, which names files of every bucket, are refused to others."""
    ann = directory.person("ann")
    calls: list[tuple[Call[Any, Any], Any]] = [
        (cm.DRAIN_SERVER, cm.DrainRequest(ann, "1")),
        (cm.REMOVE_SERVER, cm.RemoveServerRequest(ann, "1")),
        (cm.BALANCE, cm.BalanceRequest(ann)),
        (cm.REPAIR_REPORT, cm.RepairReportRequest(ann)),
    ]
    for call, request in calls:
        with pytest.raises(Forbidden):
            directory.call(call, request)


def test_a_server_leaves_through_the_calls(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused while it has what others lack; drained it takes no writes; told what to drop it ends empty, is shown as
    drained, can be removed, and learns of it."""
    # Counted anew for every look. Else the figures are kept by the real clock, for longer where counting took longer.
    monkeypatch.setattr(totals, "COPIES_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(totals, "COST_SHARE", float("inf"))
    directory.file_servers_up("1", "2", "3")
    version = directory.write(directory.person("ann"), "a.txt", b"hello", "write-000000000001")
    admin = directory.admin
    with pytest.raises(Conflict, match="1 blob with too few"):
        directory.call(cm.REMOVE_SERVER, cm.RemoveServerRequest(admin, "1"))
    with pytest.raises(NotFound):
        directory.call(cm.DRAIN_SERVER, cm.DrainRequest(admin, "77"))
    info = directory.call(cm.DRAIN_SERVER, cm.DrainRequest(admin, "1"))
    assert (info.state, info.held_blobs, info.drained) == ("draining", 1, False)
    assert directory.call(cm.DRAIN_SERVER, cm.DrainRequest(admin, "1", stop=True)).state == "up"
    directory.call(cm.DRAIN_SERVER, cm.DrainRequest(admin, "1"))
    assert info_of(directory, "1").held_blobs == 1
    directory.call(s.HELD, s.HeldRequest([version.digest]), "file_server", "3")
    info_of(directory, "1")
    reply = directory.call(s.COLLECT, s.CollectRequest([version.digest]), "file_server", "1")
    assert reply.drop == [version.digest]
    info = info_of(directory, "1")
    assert (info.state, info.held_blobs, info.drained) == ("draining", 0, True)
    directory.call(cm.REMOVE_SERVER, cm.RemoveServerRequest(admin, "1"))
    assert not directory.beat("1").registered
    with pytest.raises(Conflict, match="was removed") as refused:
        directory.file_servers_up("1")
    assert refused.value.facts["removed"] is True


def test_balance_and_report_through_the_calls(directory: Directory) -> None:
    """Both answer with the planner's figures; a rebalance is on until it is stopped or has ended."""
    directory.file_servers_up("1", "2")
    admin = directory.admin
    assert directory.call(cm.BALANCE, cm.BalanceRequest(admin)).balancing
    assert directory.call(cm.REPAIR_REPORT, cm.RepairReportRequest(admin)).repair.balancing
    assert not directory.call(cm.BALANCE, cm.BalanceRequest(admin, stop=True)).balancing
    directory.server.repair.step()
    report = directory.call(cm.REPAIR_REPORT, cm.RepairReportRequest(admin))
    assert (report.finished, report.lost, report.next_after) == (True, [], None)
