"""Lists locks and places in line for people, a page at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from directory_server.locks.lock_replies import LockReplies
from directory_server.metadata.statements import locks, waiters
from directory_server.metadata.statements.lock_requests import LAST
from directory_server.metadata.store import Reader
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.locks import LockPath, LocksReply

_LOCKS, _WAITERS = "L", "W"
"""What a page ended with, before its number."""


def list_page(reader: Reader, replies: LockReplies, after: str, limit: int) -> LocksReply:
    """Return a page of the locks, and then of the places in line, oldest first. BadRequest for a wrong `after`."""
    kind, number = _start(after)
    held = locks.locks_after(reader, number, limit) if kind == _LOCKS else []
    left = limit - len(held)
    waiting = waiters.waiters_after(reader, number if kind == _WAITERS else 0, left) if left else []
    lines = {path: waiters.line_of(reader, path) for row in (*held, *waiting) for path in row.paths}
    reply = LocksReply(
        locks=[replies.lock_info(lock, _count_before(lines, lock.paths)) for lock in held],
        waiters=[replies.waiter_info(one, _count_before(lines, one.paths, one.seq) + 1) for one in waiting],
    )
    if len(held) + len(waiting) == limit:
        reply.next_after = f"{_WAITERS}{waiting[-1].seq}" if waiting else f"{_LOCKS}{held[-1].number}"
    return reply


def locks_on(reader: Reader, replies: LockReplies, paths: Iterable[LockPath]) -> LocksReply:
    """Return the locks on these paths, oldest first."""
    held = {lock.number: lock for path in paths if (lock := locks.lock_on(reader, path)) is not None}
    return LocksReply(
        locks=[replies.lock_info(lock, waiters.count_wanting(reader, lock.paths)) for _, lock in sorted(held.items())],
        waiters=[],
    )


def _count_before(lines: dict[LockPath, list[int]], paths: tuple[LockPath, ...], seq: int = LAST) -> int:
    """The number of places before `seq` in the queues of `paths`."""
    if len(paths) == 1:  # the usual case, and queues may be long
        return bisect_left(lines[paths[0]], seq)
    return len({place for path in paths for place in lines[path] if place < seq})


def _start(after: str) -> tuple[str, int]:
    kind, number = after[:1] or _LOCKS, after[1:] or "0"
    if kind not in (_LOCKS, _WAITERS) or not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise BadRequest(f"after is the next_after of another page, not {after[:40]!r}")
    return kind, int(number)
