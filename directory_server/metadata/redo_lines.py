"""The form of redo records, which every engine writes: which tables are in them, and how long they are kept.

A record is a line for each change, in order, of the form ["+", table, value, ...] for the whole row as it is now, or
["-", table, value, ...] for the key of a row that is gone. The values stand in the order of the table's columns, so a
record belongs to a file of the same schema. Bytes are in hexadecimal, floats are text with every digit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

KEPT_BYTES = 64 << 20
"""Bodies of records that stay for those who follow. They make every backup longer."""
TRIM_EVERY = 256

EMPTIED = ("lock", "lock_path", "waiter", "waiter_path", "session", "join_secret", "unnamed", "usage")
"""Restoring empties these. Lock numbers are in `counter` and `path_fence`."""
MADE_FROM_ROWS = ("search_bucket", "search_file", "stored_total", "folder_total", "content_total")
"""The engine makes these from the rows of other tables."""
UNRECORDED = frozenset((*EMPTIED, *MADE_FROM_ROWS, "redo_record"))

UNRECORDED_BUT_REPORTED = ("session",)
"""Of these, the commit guard gets the deleted rows: a log-in that ended must end the read leases under it."""


def changes(body: str) -> Iterator[tuple[str, str, list[Any]]]:
    """Return (kind, table, values) of each change. Raises ValueError."""
    for line in body.split("\n"):
        change = json.loads(line)
        if not isinstance(change, list) or len(change) < 3 or change[0] not in ("+", "-"):
            raise ValueError("it has a line that is no change")
        yield change[0], str(change[1]), change[2:]
