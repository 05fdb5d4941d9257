"""Formats the results of checks, backups and recovery."""

from __future__ import annotations

from pathlib import Path

from lockstep_store.client.backup.follower import Follower
from lockstep_store.client.text.formatting import counted, duration, safe, size, table, when
from lockstep_store.wire.messages.recovery import BackupInfo, FsckReport, FsckServer, RecoveryInfo


def fsck_progress(report: FsckReport) -> str:
    """The progress of a running check, in one line."""
    waiting = [server.id for server in report.file_servers if server.state == "waiting"]
    return f"waiting for file servers: {', '.join(waiting)}" if waiting else "checking the directory's metadata"


def fsck_text(report: FsckReport) -> str:
    """The report of a check."""
    rows = ", ".join(f"{name} {count}" for name, count in report.checks.items())
    head = ("server", "state", "compared", "missing", "damaged", "uncounted", "unknown")
    lines = [
        f"checked in {duration(report.seconds)}; metadata rows: {rows}",
        table(head, [_server_row(server) for server in report.file_servers], right=" ".join(head[2:])),
    ]
    if report.recovery is not None and not report.recovery.finished:
        lines.append(recovery_text(report.recovery))
    away = [server.id for server in report.file_servers if server.state == "away"]
    if away:
        lines.append(f"NOT checked, because they were down: {', '.join(away)}")
    for problem in report.problems:
        where = f" on file server {problem.file_server}" if problem.file_server else ""
        detail = f": {safe(problem.detail)}" if problem.detail else ""
        lines.append(f"{problem.kind}{where}: {safe(problem.name)}{detail}")
    if report.more_problems:
        lines.append(f"and {report.more_problems} more")
    if not report.problems:
        lines.append("metadata and disks agree" if not away else "what was checked agrees")
    return "\n".join(lines)


def _server_row(server: FsckServer) -> tuple[str, ...]:
    figures = (server.compared, server.missing, server.damaged, server.counted, server.unknown)
    return (server.id, server.state, *(str(figure) for figure in figures))


def backup_text(file: Path, info: BackupInfo) -> str:
    """The contents of a backup, and what must be kept with it."""
    return (
        f"{file}: {size(info.size)}, made {when(info.made_at)}, up to change {info.cursor}\n"
        f"{counted(info.files, 'file')}, {counted(info.versions, 'version')}, {counted(info.blobs, 'blob')};"
        f" digest {info.digest}\n"
        "It contains secrets. To read the files you also need the folder certs/ (CA, storage keys): "
        "keep a copy of it."
    )


def following_text(follower: Follower) -> str:
    """One line: how far a continuous backup is behind."""
    behind = follower.seconds_behind
    if behind is None:
        state = "there is no whole backup yet" if not follower.is_whole else "not up to date yet"
    else:
        state = f"{behind:.1f} s behind"
    at = f"record {follower.place.sequence} of {follower.newest.sequence}"
    return f"{state}, {at}: {follower.problem}" if follower.problem else f"{state}, {at}"


def recovery_beginning(info: RecoveryInfo) -> str:
    """The metadata that a recovering directory started from, and when."""
    if info.source == "backup":
        return f"restored {when(info.restored_at)} from a backup of {when(info.backup_made_at)}"
    if info.source == "older":
        return f"older metadata was accepted {when(info.restored_at)}"
    if info.source == "nothing":
        return f"begun {when(info.restored_at)} without metadata"
    return f"a file server with an unknown storage and blobs in it registered {when(info.restored_at)}"


def recovery_text(info: RecoveryInfo | None) -> str:
    """The progress of recovery."""
    if info is None:
        return "nothing to recover: this directory was not restored from a backup"
    replayed = info.replayed_records
    lines = [
        f"{recovery_beginning(info)} (change {info.backup_cursor})",
        *([f"{counted(info.replayed_records, 'change')} made again from file servers' records"] if replayed else []),
        f"{counted(info.recovered_versions, 'version')} found again on file servers",
    ]
    if info.waiting_for:
        lines.append(f"waiting for file servers: {', '.join(info.waiting_for)}; nothing of theirs is collected")
    elif info.finished:
        lines.append("finished: every file server has reported what it holds")
    else:
        lines.append("waiting for the first file server to register")
    if info.unnamed_blobs:
        lines.append(
            f"{counted(info.unnamed_blobs, 'blob')} without a name, {size(info.unnamed_bytes)}, are kept: "
            "`lockstep recover --unnamed` makes files of them, `--drop-unnamed` gives them up"
        )
    return "\n".join(lines)
