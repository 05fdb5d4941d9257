"""Formats sizes, times, tables and confirmation lines for an 80-column terminal.

The menu and the command line both use it, so the same state reads the same in both.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from lockstep_store.client.api.answers import ClientReceipt, Saved, label
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.journal import Change
from lockstep_store.wire.messages.locks import LockInfo, LockPath, LocksReply, WaiterInfo

WIDTH = 80
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: int) -> str:
    """Format `count` bytes in the largest unit that leaves a readable number: 512 B, 1.5 KiB, 23 MiB."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    unit = ""
    for unit in _UNITS:  # noqa: B007 - used after the loop
        value /= 1024
        if value < 1023.5:
            break
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def duration(seconds: float) -> str:
    """A duration in at most two units: 8 s, 2 min 5 s, 3 h 10 min, 4 days."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min" if whole % 3600 >= 60 else f"{whole // 3600} h"
    return counted(whole // 86400, "day")


def when(at: float) -> str:
    """A moment (seconds since 1970) in the reader's own time zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 file`, `3 files`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def safe(text: str) -> str:
    """Escape the characters of `text` that a terminal would obey or hide."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def safe_lines(text: str) -> str:
    """Like `safe`, but keeps line ends and tabs."""
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shorten(text: str, width: int) -> str:
    """Shorten `text` to `width` characters by leaving out its middle, so that folder and ending are visible."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + "…" + text[len(text) - tail :]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: str = "", width: int = WIDTH) -> str:
    """A table with aligned columns. The widest column is shortened until the table fits `width`.

    `right` names the heads, separated by spaces, whose columns are aligned to the right.
    """
    cells = [list(head), *([safe(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    spare = width - 2 * (len(head) - 1) - sum(widths)
    if spare < 0:
        widest = max(range(len(head)), key=lambda column: widths[column])
        widths[widest] = max(12, widths[widest] + spare)
    to_right = {index for index, name in enumerate(head) if name in right.split()}
    lines = []
    for row in cells:
        fitted = [
            shorten(cell, space).rjust(space) if index in to_right else shorten(cell, space).ljust(space)
            for index, (cell, space) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(fitted).rstrip())
    return "\n".join(lines)


def copies(receipt: ClientReceipt, count: int) -> str:
    """Describe how durable a write is: `2/2 copies fsynced`."""
    done, _, words = receipt.copies.partition(" ")
    if done and words:
        return f"{done} copies {words}"
    return f"{counted(count, 'copy', 'copies')} fsynced"


def saved_line(saved: Saved, verb: str = "saved") -> str:
    """The confirmation of a write."""
    version = saved.version
    name = safe(label(version.bucket, version.path))
    return f"{verb} {name} version {version.version}, {size(version.size)}, {copies(saved.receipt, saved.reply.copies)}"


def files_table(files: Iterable[FileVersion], width: int = WIDTH) -> str:
    """Current files, one per line."""
    rows = [
        (file.path, size(file.size) if file.readable else "-", when(file.created_at), file.author) for file in files
    ]
    return table(("name", "size", "changed", "by"), rows, right="size", width=width)


def versions_table(versions: Sequence[FileVersion], width: int = WIDTH) -> str:
    """Versions of one path, newest first, numbered from 1."""
    rows = []
    for number, version in enumerate(versions, start=1):
        note = "current" if version.current and not version.delete_marker else ""
        amount = "deleted" if version.delete_marker else size(version.size) if version.readable else "-"
        rows.append((str(number), version.version, amount, when(version.created_at), version.author, note))
    return table(("no.", "version", "size", "made", "by", ""), rows, right="no. size", width=width)


def paths_of(paths: Sequence[LockPath]) -> str:
    """The paths of a lock, abbreviated."""
    first = label(paths[0].bucket, paths[0].path) if paths else "nothing"
    return first if len(paths) <= 1 else f"{first} and {len(paths) - 1} more"


def locks_table(locks: Sequence[LockInfo], width: int = WIDTH) -> str:
    """Locks, numbered from 1 in the order given; `lock` is the lock number that a write carries."""
    rows = [
        (
            str(place),
            paths_of(lock.paths),
            lock.account,
            str(lock.number),
            duration(lock.seconds_left),
            str(lock.waiters),
        )
        for place, lock in enumerate(locks, start=1)
    ]
    return table(
        ("no.", "file", "held by", "lock", "time left", "waiting"),
        rows,
        right="no. lock waiting",
        width=width,
    )


def waiters_table(waiters: Sequence[WaiterInfo], now: float, width: int = WIDTH) -> str:
    """The queue."""
    rows = [
        (paths_of(waiter.paths), waiter.account, str(waiter.place), duration(now - waiter.since_at))
        for waiter in waiters
    ]
    return table(("file", "waiting", "place", "since"), rows, right="place", width=width)


def locks_text(reply: LocksReply, account: str, now: float, width: int = WIDTH) -> tuple[str, list[LockInfo]]:
    """The text for the person's own locks, the others and the queue; and the locks in the order of their numbers."""
    mine = [lock for lock in reply.locks if lock.account == account]
    numbered = mine + [lock for lock in reply.locks if lock.account != account]
    if not numbered and not reply.waiters:
        return "no locks, and nobody waits", []
    parts = []
    if numbered:
        parts.append(f"{counted(len(numbered), 'lock')}, {len(mine)} of them yours (listed first)")
        parts.append(locks_table(numbered, width))
    if reply.waiters:
        parts.append(f"{counted(len(reply.waiters), 'request')} in the queue")
        parts.append(waiters_table(reply.waiters, now, width))
    else:
        parts.append("nobody waits")
    return "\n".join(parts), numbered


def holders_line(holders: Sequence[LockInfo]) -> str:
    """The holders that one waits for, and how long they can keep the lock."""
    if not holders:
        return "others are ahead of you in the queue"
    first = holders[0]
    others = f", and {counted(len(holders) - 1, 'other lock')} in the way" if len(holders) > 1 else ""
    what = shorten(paths_of(first.paths), 30)
    return f"{safe(first.account)} holds {safe(what)}, {duration(first.seconds_left)} left{others}"


def change_line(change: Change) -> str:
    """One change of the journal: when, what, which file and version, by whom, how large."""
    details = [f"by {safe(change.author)}"] if change.author else []
    if change.size is not None:
        details.append(size(change.size))
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(change.at))
    name = safe(label(change.bucket, change.path))
    version = f"version {change.version}" if change.version else "a version that you may not read"
    return f"{at}  {change.kind:<7}  {name}  {', '.join([version, *details])}"
