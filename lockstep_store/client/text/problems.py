"""Judges the cluster's state: what is wrong, how bad it is, and what to do.

`at_risk`: acknowledged content has fewer whole copies than promised, or the directory cannot write. `degraded`: the
cluster works, but something needs a person. Work that the cluster does by itself (draining, balancing, dropping surplus
copies) is no problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from lockstep_store.client.text.formatting import counted, duration, size, when
from lockstep_store.wire.messages.cluster import ClusterReply, DirectoryInfo, FileServerInfo, Health, RepairInfo
from lockstep_store.wire.messages.programs import ProxyInfo

Level = Literal["healthy", "degraded", "at_risk"]
BACKUP_LATE_SECONDS = 60.0
STANDBY_SILENT_SECONDS = 10.0
"""A standby shows that it works twice a second."""


class StatusProblem(msgspec.Struct):
    """One thing that is wrong. `lockstep status --json` prints it, so members may be added, but none renamed."""

    level: Level
    subject: str
    """Such as `file server 2`."""
    problem: str
    """A clause that continues the subject."""
    advice: str
    """What to do, as one or more imperative clauses."""


def level_of(problems: Sequence[StatusProblem]) -> Level:
    """The worst level of `problems`; healthy without any."""
    levels = {one.level for one in problems}
    return "at_risk" if "at_risk" in levels else "degraded" if levels else "healthy"


def is_settled(cluster: ClusterReply) -> bool:
    """Whether every blob has been looked at since the last server came or went, so that the counts do not rise."""
    return not cluster.repair.walking


def problems_of(proxy: Health | None, cluster: ClusterReply | None, refusal: str = "") -> list[StatusProblem]:
    """Everything that is wrong, the worst first. `refusal` is why the directory did not describe the cluster."""
    found = list(_of_directory(None if cluster is None else cluster.directory, refusal))
    if proxy is not None:
        found += _of_proxy(proxy)
    if cluster is not None:
        found += _of_copies(cluster.repair, cluster.copies)
        for server in cluster.file_servers:
            found += problems_of_server(server)
        found += _of_room(cluster.file_servers, cluster.copies)
        found += _of_other_proxies(cluster.proxies)
        found += _of_services(cluster)
    return sorted(found, key=lambda one: one.level != "at_risk")


def _of_directory(info: DirectoryInfo | None, refusal: str) -> Iterator[StatusProblem]:
    name = "directory server"
    if refusal:
        yield StatusProblem("at_risk", name, f"does not answer: {refusal}", "start it; its log says why it stopped")
    if info is None:
        return
    if not info.writable:
        why = "; ".join(info.problems)
        full = info.free_bytes is not None and info.free_bytes < 1 << 20
        advice = "see its log; reads go on, and it tries again by itself every 2 seconds"
        if full:
            advice = "free space on its disk; reads go on, and it tries again by itself every 2 seconds"
        yield StatusProblem("at_risk", name, f"cannot write{f': {why}' if why else ''}", advice)
    elif info.is_low:
        left = f"has only {size(info.free_bytes or 0)} left on its disk"
        yield StatusProblem("degraded", name, left, "free space there before it can no longer write")
    for one in info.others:
        if one.seconds_since_seen > STANDBY_SILENT_SECONDS:
            silent = f"has not been seen for {duration(one.seconds_since_seen)}"
            yield StatusProblem("degraded", f"directory server {one.url}", silent, "start it, so that it can take over")
    if info.restored_at is not None:
        lacks = (
            f"has no backup since it was restored on {when(info.restored_at)}; redo records do not continue older ones"
        )
        yield StatusProblem("degraded", name, lacks, "make one: `lockstep backup FILE`")
    if info.backup_seconds is not None and info.backup_seconds > BACKUP_LATE_SECONDS:
        late = f"has not asked for changes for {duration(info.backup_seconds)}"
        yield StatusProblem("degraded", "continuous backup", late, "start `lockstep backup --follow` again")


def _of_proxy(proxy: Health) -> Iterator[StatusProblem]:
    name = f"proxy {proxy.id}".rstrip()
    for problem in proxy.problems:
        yield StatusProblem("degraded", name, f"reports: {problem}", "see its log; another proxy may still work")
    if not proxy.healthy and not proxy.problems:
        advice = "log in to see why, or run this on its machine"
        yield StatusProblem("degraded", name, "is not healthy", advice)
    if proxy.facts.get("cache_writable") is False:
        advice = "free space on its disk; it works without caching new content"
        yield StatusProblem("degraded", name, "cannot write its cache", advice)
    if limits := proxy.facts.get("rate_limits_problem"):
        counts = f"counts requests by itself: {limits}"
        yield StatusProblem("degraded", name, counts, "check the server of --rate-limit-storage")


def _of_copies(repair: RepairInfo, copies: int) -> Iterator[StatusProblem]:
    lost, short = repair.without_living_copy, repair.under_copied
    if lost:
        has = "has no whole copy" if lost == 1 else "have no whole copy"
        yield StatusProblem(
            "at_risk",
            counted(lost, "file content"),
            f"{has} on any file server that is up",
            "start the stopped file servers; `lockstep repair` names the files",
        )
    if short:
        advice = "wait: repair makes the copies by itself"
        if not repair.ordered:
            advice = "start the file servers that are down, or add one, so that there is room for the copies"
        has = "has" if short == 1 else "have"
        problem = f"{has} fewer than the {copies} promised copies; {repair.ordered} being made now"
        yield StatusProblem("at_risk", counted(short, "blob"), problem, advice)


def is_leaving(server: FileServerInfo) -> bool:
    """Whether it is draining, also while it does not answer."""
    return server.leaving or server.state == "draining"


def problems_of_server(server: FileServerInfo) -> Iterator[StatusProblem]:
    """What is wrong with one file server."""
    name = f"file server {server.id}"
    silent = f"last heard {duration(server.seconds_since_heartbeat)} ago"
    if server.state == "down":
        advice = "start it; otherwise its copies are made elsewhere once the repair grace has passed"
        yield StatusProblem("degraded", name, f"is down, {silent}", advice)
    elif server.state == "suspect":
        yield StatusProblem("degraded", name, f"does not answer, {silent}", "check the program and its network")
    elif server.state == "joining":
        yield StatusProblem("degraded", name, "has not reported since the directory's start", "start it")
    elif server.problem:
        advice = "free space or replace its disk; it recovers by itself, and reads go on"
        yield StatusProblem("degraded", name, f"takes no writes: {server.problem}", advice)
    elif server.refuses:
        problem = f"takes no new files: {server.refuses}, {size(server.free_bytes)} free"
        yield StatusProblem("degraded", name, problem, "free space there, or add a file server")


def _of_room(servers: Sequence[FileServerInfo], copies: int) -> Iterator[StatusProblem]:
    taking = sum(one.state == "up" and not one.problem and not one.refuses for one in servers)
    if taking < copies:
        problem = f"by {counted(taking, 'file server')} only, but {counted(copies, 'copy', 'copies')} are promised"
        advice = "start or add a file server: until then new files are refused"
        yield StatusProblem("degraded", "writes", f"are taken {problem}", advice)


def _of_other_proxies(proxies: Sequence[ProxyInfo]) -> Iterator[StatusProblem]:
    for one in proxies:
        if one.state == "down":
            heard = one.seconds_since_heartbeat
            when = "since the directory's start" if heard is None else f"for {duration(heard)}"
            advice = f"start it, or remove it for good with `lockstep proxies remove {one.id}`"
            yield StatusProblem("degraded", f"proxy {one.id}", f"has not reported {when}", advice)


def _of_services(cluster: ClusterReply) -> Iterator[StatusProblem]:
    recovery = cluster.recovery
    if recovery is not None and not recovery.finished:
        waiting = f"; it waits for file servers {', '.join(recovery.waiting_for)}" if recovery.waiting_for else ""
        yield StatusProblem("degraded", "recovery", f"is not finished{waiting}", "see `lockstep recover`")
    elif recovery is not None and recovery.unnamed_blobs:
        left = f"has found {counted(recovery.unnamed_blobs, 'blob')} without a name"
        yield StatusProblem("degraded", "recovery", left, "decide with `lockstep recover`")
    for target in cluster.targets:
        if target.problem:
            waiting = counted(target.waiting, "message")
            advice = f"see `lockstep targets list`, then `lockstep targets test {target.name}`"
            name = f"notification target {target.name}"
            yield StatusProblem("degraded", name, f"has {waiting} waiting: {target.problem}", advice)
    for key in cluster.storage_keys:
        if key.unknown:
            advice = "restore certs/storage-keys.json from a copy that has it"
            yield StatusProblem("degraded", f"storage key {key.id}", "is missing at the directory server", advice)
