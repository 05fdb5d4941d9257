"""Formats the cluster's state for people: servers, repair, drains and rebalancing.

The menu and the command line print the same lines. `formatting` has the widths and units.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from lockstep_store.client.api.answers import label
from lockstep_store.client.text.authorities import rotation_lines
from lockstep_store.client.text.formatting import WIDTH, counted, duration, safe, size, table, when
from lockstep_store.client.text.problems import (
    STANDBY_SILENT_SECONDS,
    StatusProblem,
    is_leaving,
    level_of,
    problems_of,
    problems_of_server,
)
from lockstep_store.client.text.storage_keys import old_storage_key_lines
from lockstep_store.wire.messages.cluster import (
    ClusterReply,
    DirectoryInfo,
    FileServerInfo,
    Health,
    LostFile,
    RepairInfo,
    RepairReport,
)
from lockstep_store.wire.messages.programs import ProxyInfo
from lockstep_store.wire.messages.targets import TargetInfo


def proxy_line(health: Health, url: str) -> str:
    """Which proxy answers. Without a log-in, a proxy elsewhere tells only whether it is healthy."""
    name, version = f"proxy {health.id}".rstrip(), f", version {health.version}" if health.version else ""
    return f"{name} at {url}{version}"


def cluster_text(reply: ClusterReply, width: int = WIDTH, problems: Sequence[StatusProblem] | None = None) -> str:
    """A summary of the cluster: its problems, counts, file servers, and what it is doing.

    `problems` are all that are known; None: those of `reply`.
    """
    up = sum(1 for server in reply.file_servers if server.state in ("up", "draining"))
    lines = [
        f"directory server {reply.directory_version}, up for {duration(reply.uptime_seconds)}, "
        f"journal cursor {reply.cursor}",
        *directory_lines(reply.directory),
        f"{counted(reply.files, 'file')} in {counted(reply.versions, 'version')}, {size(reply.logical_bytes)}; "
        f"{counted(reply.locks, 'lock')}, {reply.waiters} waiting",
        f"{up} of {counted(len(reply.file_servers), 'file server')} up, {counted(reply.copies, 'copy', 'copies')} "
        "of every file",
    ]
    if reply.file_servers:
        lines.append(servers_table(reply.file_servers, width))
    lines += drain_lines(reply.file_servers, reply.repair)
    lines += work_lines(reply.repair)
    lines += target_lines(reply.targets)
    lines += old_storage_key_lines(reply.storage_keys)
    lines += rotation_lines(reply.authorities)
    found = problems_of(None, reply) if problems is None else problems
    return "\n".join([problems_text(found), *(line if "\n" in line else _wrapped(line, width) for line in lines)])


def problems_text(problems: Sequence[StatusProblem]) -> str:
    """The cluster's state in a word, then its problems, one a line: in full, because a line that is cut hides why."""
    level = level_of(problems)
    if level == "healthy":
        return "healthy"
    words = "DATA AT RISK" if level == "at_risk" else "DEGRADED"
    return "\n".join([f"{words}: {counted(len(problems), 'problem')}", *(_problem_line(one) for one in problems)])


def _problem_line(one: StatusProblem) -> str:
    return f"  {safe(one.subject)} {safe(one.problem)}. To do: {safe(one.advice)}"


def directory_lines(info: DirectoryInfo | None) -> list[str]:
    """The directory's standbys, disk and backup, where the person may know them."""
    if info is None:
        return []
    standbys = [safe(one.url) for one in info.others if one.seconds_since_seen <= STANDBY_SILENT_SECONDS]
    lines = [f"standing by: {', '.join(standbys)}"] if standbys else []
    if info.capacity_bytes is None or info.free_bytes is None:
        return lines
    followed = "no continuous backup has asked for changes since the start"
    if info.backup_seconds is not None:
        behind = counted(info.backup_behind, "change")
        followed = f"continuous backup {behind} behind, {duration(info.backup_seconds)} ago"
    backup = "no whole backup" if info.last_backup_at is None else f"newest backup of {when(info.last_backup_at)}"
    return [*lines, f"its disk: {size(info.free_bytes)} free of {size(info.capacity_bytes)}; {backup}; {followed}"]


def rate_limit_lines(facts: Mapping[str, Any]) -> list[str]:
    """The rate limits in a proxy's health: its rules and refusals; empty for a proxy without any."""
    rules = facts.get("rate_limits") or []
    if not rules:
        return []
    refused = facts.get("rate_limited") or 0
    lines = [f"rate limits {', '.join(safe(str(rule)) for rule in rules)}; {counted(refused, 'request')} refused"]
    problem = facts.get("rate_limits_problem")
    return [*lines, safe(str(problem))] if problem else lines


def target_lines(targets: Sequence[TargetInfo]) -> list[str]:
    """The notification targets that have undelivered messages and no problem, which would be named as one."""
    return [
        f"notification target {safe(one.name)}: {counted(one.waiting, 'message')} waiting, the oldest for "
        f"{duration(one.oldest_seconds)}"
        for one in targets
        if one.waiting and not one.problem
    ]


def targets_text(targets: Sequence[TargetInfo], width: int = WIDTH) -> str:
    """The notification targets, one per line, with their problems."""
    head = ("target", "kind", "waiting", "oldest", "delivered", "dropped", "address")
    rows = [
        (
            one.name,
            one.kind,
            str(one.waiting),
            duration(one.oldest_seconds) if one.waiting else "",
            str(one.delivered),
            str(one.dropped),
            one.url,
        )
        for one in targets
    ]
    lines = [table(head, rows, right="waiting oldest delivered dropped", width=width)]
    lines += [_wrapped(f"{safe(one.name)}: {safe(one.problem)}", width) for one in targets if one.problem]
    return "\n".join(lines)


def servers_table(servers: Sequence[FileServerInfo], width: int = WIDTH) -> str:
    """The file servers, one per line."""
    head = ("server", "state", "zone", "free", "of", "blobs", "heard")
    return table(head, map(_server_row, servers), right="free of blobs", width=width)


def servers_text(servers: Sequence[FileServerInfo], width: int = WIDTH) -> str:
    """The file servers, one per line, and below what is wrong with each."""
    problems = [one for server in servers for one in problems_of_server(server)]
    return "\n".join([servers_table(servers, width), *map(_problem_line, problems)])


def proxies_table(proxies: Sequence[ProxyInfo], width: int = WIDTH) -> str:
    """The proxies, one a line."""
    head = ("proxy", "state", "heard", "version", "address", "names")
    rows = [
        (
            one.id,
            one.state,
            "" if one.seconds_since_heartbeat is None else f"{duration(one.seconds_since_heartbeat)} ago",
            one.version,
            one.url,
            " ".join(one.hosts),
        )
        for one in proxies
    ]
    return table(head, rows, width=width)


def state_of(server: FileServerInfo) -> str:
    """A file server's state in one word; `drained` when it can be removed."""
    return "drained" if server.drained else server.state


def drain_lines(servers: Sequence[FileServerInfo], repair: RepairInfo) -> list[str]:
    """The draining file servers, and which of them can be removed."""
    drained = [server.id for server in servers if server.drained]
    leaving = [server.id for server in servers if is_leaving(server) and not server.drained]
    lines = []
    if leaving:
        left = f"{counted(repair.to_move, 'copy', 'copies')} still to move" if repair.to_move else "almost done"
        lines.append(f"draining {_named(leaving)}: {left}")
    if drained:
        lines.append(f"drained: {_named(drained)} can be removed (lockstep servers remove ID)")
    return lines


def repair_lines(repair: RepairInfo) -> list[str]:
    """The lost files, and the state of repair and rebalancing."""
    lines = []
    if repair.without_living_copy:
        gone = counted(repair.without_living_copy, "file content")
        lines.append(
            f"ATTENTION: {gone} without a live copy; start the stopped file servers again "
            "(lockstep repair names the files)"
        )
    if repair.under_copied:
        lines.append(f"{counted(repair.under_copied, 'blob')} with too few copies, {repair.ordered} being copied now")
    return lines + work_lines(repair)


def work_lines(repair: RepairInfo) -> list[str]:
    """What repair and rebalancing do, and whether every file has its copies."""
    lines = []
    if repair.surplus:
        lines.append(f"{counted(repair.surplus, 'surplus copy', 'surplus copies')} will be dropped")
    if repair.balancing:
        left = f"{counted(repair.to_balance, 'copy', 'copies')} still to move" if repair.to_balance else "nothing left"
        lines.append(f"balancing: {left}")
    if repair.repaired_since_start or repair.dropped_since_start:
        done = f"since the directory started: {counted(repair.repaired_since_start, 'copy', 'copies')} made"
        lines.append(f"{done}, {repair.dropped_since_start} dropped")
    if repair.walking:
        lines.append("the metadata is still being scanned; these numbers may rise")
    elif not repair.under_copied and not repair.without_living_copy:
        lines.append("every file has its copies")
        if repair.silent:
            away = _named(repair.silent)
            lines[-1] += (
                f", counting those on file server {away}, which is silent: replacements follow if it stays silent"
            )
    return lines


def report_text(report: RepairReport, lost: Sequence[LostFile], width: int = WIDTH) -> str:
    """The repair report: whether repair is done, and each lost file with its newest readable version."""
    state = "repair is finished" if report.finished else "repair is still at work"
    lines = [state, *repair_lines(report.repair)]
    if lost:
        lines.append(f"{counted(len(lost), 'version')} cannot be read now:")
    return "\n".join([*(_wrapped(line, width) for line in lines), *(_lost_text(one, width) for one in lost)])


def _lost_text(one: LostFile, width: int) -> str:
    name = safe(label(one.bucket, one.path))
    which = "current version" if one.current else "old version"
    why = "every known copy is damaged" if one.damaged else f"file server {_named(one.file_servers)} is away"
    if not one.damaged and not one.file_servers:
        why = "no file server has a copy"
    rest = f"last good version {one.last_good_version}" if one.last_good_version else "no other version can be read"
    detail = f"{which} {one.version}, {size(one.size)}: {why}; {rest}"
    return f"  {name}\n{textwrap.fill(detail, width, initial_indent='    ', subsequent_indent='    ')}"


def _named(ids: Sequence[str]) -> str:
    return ", ".join(safe(id) for id in ids)


def _wrapped(line: str, width: int) -> str:
    return textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _server_row(server: FileServerInfo) -> tuple[str, ...]:
    return (
        server.id,
        state_of(server),
        server.zone,
        size(server.free_bytes),
        size(server.capacity_bytes),
        str(server.blobs),
        f"{duration(server.seconds_since_heartbeat)} ago",
    )
