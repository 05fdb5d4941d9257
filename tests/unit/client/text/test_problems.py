"""What is wrong with a cluster, how bad each is, and that work which ends by itself is no problem."""

from __future__ import annotations

import ast
import inspect
import json
from typing import Any

import msgspec
import pytest

from lockstep_store.client.text import problems
from lockstep_store.client.text.cluster import cluster_text, problems_text
from lockstep_store.client.text.problems import StatusProblem, level_of, problems_of
from lockstep_store.wire.messages.cluster import (
    ClusterReply,
    DirectoryInfo,
    FileServerInfo,
    Health,
    OtherDirectory,
    RepairInfo,
)
from lockstep_store.wire.messages.programs import ProxyInfo
from lockstep_store.wire.messages.recovery import RecoveryInfo
from lockstep_store.wire.messages.storage_keys import StorageKeyInfo
from lockstep_store.wire.messages.targets import TargetInfo
from tests import ROOT

GOOD = Health(True, "client_proxy", "1", "0.1.0")
SHARED = json.loads((ROOT / "console/src/cluster/problems.cases.json").read_text("utf-8"))
"""The web console judges by the same rules: its tests read this table, too."""


def server(id: str, state: str = "up", problem: str = "", refuses: str = "", **more: object) -> FileServerInfo:
    return FileServerInfo(
        id,
        "",
        state,
        "",
        10**12,
        5 << 20,
        1,
        1,
        problem,
        12.0,
        refuses=refuses,
        **more,  # type: ignore[arg-type]
    )


def cluster(*servers: FileServerInfo, repair: RepairInfo | None = None, **more: object) -> ClusterReply:
    known = list(servers) or [server("1"), server("2")]
    repair = repair or RepairInfo(0, 0, 0, 0)
    return ClusterReply("0", 0.0, 0.0, 2, 0, 0, 0, 0, 0, 0, 0, known, repair, **more)  # type: ignore[arg-type]


def one(reply: ClusterReply) -> StatusProblem:
    (found,) = problems_of(GOOD, reply)
    assert found.advice, "each says what to do"
    return found


def test_a_healthy_cluster_at_work_has_no_problem() -> None:
    """Draining, balancing, dropping, scanning and a continuous backup that follows are what it does by itself."""
    repair = RepairInfo(0, 0, 3, 9, to_move=5, surplus=1, balancing=True, to_balance=7, walking=True)
    info = DirectoryInfo(True, [], 10**12, 10**11, backup_seconds=0.5)
    reply = cluster(server("1"), server("2"), server("3", "draining", leaving=True), repair=repair, directory=info)
    assert problems_of(GOOD, reply) == []
    assert level_of([]) == "healthy"
    assert cluster_text(reply).splitlines()[0] == "healthy"
    assert "no whole backup; continuous backup 0 changes behind" in " ".join(cluster_text(reply).split())
    info.last_backup_at = 86400.0 * 30
    assert "newest backup of 1970-01-31" in " ".join(cluster_text(reply).split())
    assert "standing by" not in cluster_text(reply)
    info.others = [OtherDirectory("https://second:5050", 0.4), OtherDirectory("https://third:5050", 0.1)]
    assert problems_of(GOOD, reply) == []
    assert "standing by: https://second:5050, https://third:5050" in " ".join(cluster_text(reply).split())


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (cluster(repair=RepairInfo(3, 0, 1, 0)), "3 blobs have fewer than the 2 promised copies; 1 being made"),
        (cluster(repair=RepairInfo(0, 1, 0, 0)), "1 file content has no whole copy"),
        (
            cluster(directory=DirectoryInfo(False, ["the last write failed: disk full"], 10**9, 4096)),
            "directory server cannot write: the last write failed: disk full. To do: free space",
        ),
        (cluster(directory=DirectoryInfo(False)), "directory server cannot write. To do: see its log"),
    ],
)
def test_what_puts_data_at_risk(reply: ClusterReply, words: str) -> None:
    """Copies that are missing, and a directory that cannot write."""
    found = one(reply)
    assert found.level == "at_risk"
    assert words in problems_text([found])


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (cluster(server("1"), server("2"), server("3", "down")), "file server 3 is down, last heard 12 s ago"),
        (cluster(server("1"), server("2"), server("3", "suspect")), "file server 3 does not answer"),
        (cluster(server("1"), server("2"), server("3", "joining")), "file server 3 has not reported"),
        (cluster(server("1"), server("2"), server("3", problem="disk full")), "takes no writes: disk full"),
        (cluster(server("1"), server("2"), server("3", refuses="full")), "takes no new files: full, 5.0 MiB free"),
        (cluster(server("1")), "writes are taken by 1 file server only, but 2 copies are promised"),
        (cluster(directory=DirectoryInfo(True, [], 10**9, 9 << 20, is_low=True)), "has only 9.0 MiB left"),
        (cluster(directory=DirectoryInfo(True, backup_seconds=90.0)), "continuous backup has not asked"),
        (cluster(directory=DirectoryInfo(True, restored_at=90.0)), "has no backup since it was restored on 1970-01-01"),
        (cluster(proxies=[ProxyInfo("2", "down"), ProxyInfo("1", "up")]), "proxy 2 has not reported"),
        (cluster(recovery=RecoveryInfo(0.0, 0.0, 0, ["3"], False, 0, 0, 0)), "it waits for file servers 3"),
        (
            cluster(targets=[TargetInfo("ci", "webhook", "", 0.0, waiting=4, problem="refused")]),
            "4 messages waiting: refused",
        ),
        (cluster(storage_keys=[StorageKeyInfo("0" * 8, False, unknown=True)]), "is missing at the directory"),
    ],
)
def test_what_degrades_a_cluster(reply: ClusterReply, words: str) -> None:
    """It works, and needs a person."""
    found = one(reply)
    assert found.level == "degraded"
    assert words in problems_text([found])


def test_a_directory_that_is_away_and_a_sick_proxy() -> None:
    """Nobody can say then what is on the disks: at risk. A proxy that is sick alone only degrades."""
    sick = Health(False, "client_proxy", "1", "0", ["the directory is unreachable"], facts={"cache_writable": False})
    found = problems_of(sick, None, "refused the connection")
    assert [(one.level, one.subject) for one in found] == [
        ("at_risk", "directory server"),
        ("degraded", "proxy 1"),
        ("degraded", "proxy 1"),
    ]
    assert "refused the connection" in found[0].problem


def test_hostile_words_in_a_problem_stay_on_their_line() -> None:
    """What a server says of itself is shown, not obeyed."""
    text = cluster_text(cluster(server("1"), server("2"), server("3", problem="a\x1b[2Jb\nhealthy")))
    assert "\x1b" not in text
    assert "a\\x1b[2Jb\\nhealthy" in text


@pytest.mark.parametrize("case", SHARED["cases"], ids=lambda case: case["name"])
def test_the_problems_that_the_console_finds(case: dict[str, Any]) -> None:
    """The same ones, as bad, and in the same order."""
    given = case.get("cluster", {})
    reply = None
    if given is not None:
        known = SHARED["healthy"] | given
        known["repair"] = SHARED["healthy"]["repair"] | known["repair"]
        known["file_servers"] = [SHARED["server"] | one for one in known["file_servers"]]
        reply = msgspec.convert(known, ClusterReply)
    proxy = msgspec.convert(SHARED["proxy"] | case.get("proxy", {}), Health)
    found = problems_of(proxy, reply, case.get("refusal", ""))
    assert [one.level for one in found] == [one["level"] for one in case["problems"]]
    for one, expected in zip(found, case["problems"], strict=True):
        assert expected["words"] in f"{one.subject} {one.problem}"


def test_the_shared_cases_have_each_kind_of_problem() -> None:
    """A kind that is added here has a case, which the console's tests then want, too."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(problems))) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "StatusProblem"]
    kinds = {one["kind"] for case in SHARED["cases"] for one in case["problems"]}
    assert len(made) == len(kinds)
