"""Deadlock detection: would this wait ever end?

In the graph of parties, an edge leads from a waiter to each party that holds a path it wants, or that is ahead of it
in a path's queue. Only a new wait adds edges, so a search from the new waiter when it joins finds every cycle. The
waits come from a function, so the search reads only those that the new wait depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from directory_server.metadata.statements.party import Party

MAX_PARTIES = 10_000


@dataclass(frozen=True)
class Wait:
    """A wait: `waiter` cannot proceed before `blocker` releases `path` (bucket/path)."""

    waiter: Party
    path: str
    blocker: Party
    held: bool = True
    """False: the blocker is only ahead of the waiter in the path's queue."""


def find_cycle(first: Sequence[Wait], waits_of: Callable[[Party], Iterable[Wait]]) -> list[Wait] | None:
    """The shortest chain of waits that begins with one of `first` and leads back to its waiter, or None.

    `first` are the waits that a new waiter would add, `waits_of(party)` those that a party is already in. The search is
    breadth-first and returns None beyond 10,000 parties: leases resolve such a tangle.
    """
    came_by: dict[str, Wait] = {}
    goal = first[0].waiter.key if first else ""
    border = list(first)
    while border and len(came_by) < MAX_PARTIES:
        following: list[Wait] = []
        for wait in border:
            blocker = wait.blocker.key
            if blocker == wait.waiter.key:
                continue
            if blocker == goal:
                return _chain(wait, came_by, goal)
            if blocker not in came_by:
                came_by[blocker] = wait
                following.extend(waits_of(wait.blocker))
        border = following
    return None


def _chain(last: Wait, came_by: dict[str, Wait], goal: str) -> list[Wait]:
    chain = [last]
    while chain[-1].waiter.key != goal:
        chain.append(came_by[chain[-1].waiter.key])
    return chain[::-1]


def describe(cycle: Sequence[Wait]) -> str:
    """Describe the cycle to the person whose wait is refused."""
    parts = []
    for index, wait in enumerate(cycle):
        subject = str(wait.waiter) if index == 0 else "who"
        how = "held by" if wait.held else "which goes first to"

        parts.append(f"{subject} waits for {wait.path} {how} {wait.blocker}")
    return ", ".join(parts)
