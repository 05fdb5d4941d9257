"""The cells of the table: the operation, the number of clients, and the size of the contents."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
GIB = 1 << 30
SMALL = 4096
PAGE = 1000
PAGED_KEYS = 1100
"""Keys below the listed prefix: more than a page of 1,000."""
HOT_KEYS = 256
"""Keys that small reads repeat."""
MAX_HOT_BYTES = 64 * MIB


@dataclass(frozen=True)
class Cell:
    """One line of the table for each peer."""

    name: str
    operation: str
    """An operation of the load generator, or `edit` or `idle`, which the runner performs itself."""
    size: int = 0
    clients: int = 1
    doors: int = 1
    """The number of doors that share the clients. A peer with fewer doors has no such cell."""
    lockstep_only: bool = False


def all_cells(short: bool) -> list[Cell]:
    """Every cell, in the order of the table; a short run has smaller large contents. Idle comes first: programs that
    have worked keep memory."""
    large, edited = (16 * MIB, 64 * MIB) if short else (64 * MIB, GIB)
    sizes = ((MIB, 8), (large, 4))
    return [
        Cell("idle", "idle"),
        *(Cell(f"PUT 4 KiB x{clients}", "put", SMALL, clients) for clients in (1, 8, 32)),
        *(Cell(f"GET 4 KiB x{clients}", "get", SMALL, clients) for clients in (1, 8, 32)),
        Cell("GET 4 KiB x32, two doors", "get", SMALL, 32, doors=2),
        Cell("HEAD 4 KiB x8", "head", SMALL, 8),
        Cell("DELETE 4 KiB x8", "delete", SMALL, 8),
        *(Cell(f"LIST x{clients}", "list", SMALL, clients) for clients in (1, 8)),
        *(Cell(f"PUT {size // MIB} MiB x{clients}", "put", size, clients) for size, clients in sizes),
        *(Cell(f"GET {size // MIB} MiB x{clients}", "get", size, clients) for size, clients in sizes),
        Cell(f"edit of 1 byte in {edited // MIB:,} MiB", "edit", edited, 4),
        Cell("lock acquire + release x8", "lock", 0, 8, lockstep_only=True),
    ]


def hot_keys(size: int) -> int:
    """The number of keys that reads of a size repeat: few enough for every peer to keep them in memory."""
    return max(4, min(HOT_KEYS, MAX_HOT_BYTES // size))
