"""A file's time and mode in the metadata of its versions, as rclone writes them there.

Without a time of their own, files have that of the save. Of a mode, only whether the file is executable is kept.
"""

from __future__ import annotations

import contextlib
import stat
from decimal import Decimal

from lockstep_store.wire.messages.files import FileVersion

PLAIN_MODE = 0o644
EXECUTABLE_MODE = 0o755
NANOSECONDS = 1_000_000_000
_TIME, _MODE = "mtime", "mode"


def modified_ns(file: FileVersion) -> int:
    """When a file was modified, in nanoseconds: as its writer said (rclone and s3fs do), or else when it was saved."""
    with contextlib.suppress(KeyError, ValueError, ArithmeticError):
        stated = Decimal(file.metadata[_TIME]) * NANOSECONDS
        if 0 <= stated < 1 << 63:  # compared before it becomes an integer: that of `1e999980` takes a minute
            return int(stated)
    return int(file.created_at * NANOSECONDS)


def mode_of(file: FileVersion) -> int:
    """The permissions of a file: octal, as rclone writes a mode, or decimal, as s3fs does."""
    said = file.metadata.get(_MODE, "")
    for base in (8, 10):
        with contextlib.suppress(ValueError):
            mode = int(said, base)
            if 0 <= mode <= 0o177777 and (stat.S_ISREG(mode) or (base == 8 and mode <= 0o7777)):
                return kept_mode(mode)
    return PLAIN_MODE


def kept_mode(mode: int) -> int:
    """What is kept of a mode."""
    return EXECUTABLE_MODE if mode & 0o111 else PLAIN_MODE


def with_attributes(metadata: dict[str, str], at_ns: int, mode: int) -> dict[str, str]:
    """A writer's metadata, without what doors add, with a time and a mode."""
    seconds, rest = divmod(at_ns, NANOSECONDS)
    changed = {name: value for name, value in metadata.items() if ":" not in name and name != _MODE}
    changed[_TIME] = f"{seconds}.{rest:09}"
    if mode != PLAIN_MODE:
        changed[_MODE] = f"{stat.S_IFREG | mode:o}"
    return changed
