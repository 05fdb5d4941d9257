"""The table of exit codes, which --help prints, the documents repeat and scripts rely on."""

from __future__ import annotations

from typing import NamedTuple

from lockstep_store.client.editing import NotSaved
from lockstep_store.client.local_storage import LocalFileError
from lockstep_store.wire import errors
from lockstep_store.wire.errors import LockstepError


class Ending(NamedTuple):
    """One row: the exit code, its meaning, and the errors that lead to it."""

    code: int
    meaning: str
    refusals: tuple[type[LockstepError], ...] = ()


OK = 0
FAILED = 1
UNAVAILABLE = 7
DAMAGED = 9
INTERRUPTED = 130

ENDINGS = (
    Ending(OK, "done"),
    Ending(FAILED, "something else went wrong, or only some of several files were done; from `status`: degraded"),
    Ending(2, "the command, a name or a value is wrong; from `status`: data at risk", (errors.BadRequest,)),
    Ending(3, "no such file, version, bucket or lock", (errors.NotFound,)),
    Ending(4, "not logged in, or not allowed", (errors.NotLoggedIn, errors.Forbidden, errors.PeerRefused)),
    Ending(5, "locked by someone else", (errors.Locked,)),
    Ending(
        6,
        "the cluster's state does not allow it: it has changed, exists already, is full, or your lock has ended",
        (errors.Conflict, errors.PreconditionFailed, errors.QuotaExceeded),
    ),
    Ending(
        UNAVAILABLE, "not available now: try again", (errors.Unavailable, errors.TooManyRequests, errors.MissingChunks)
    ),
    Ending(8, "a problem with a local file, folder or setting", (LocalFileError, errors.SetupError)),
    Ending(DAMAGED, "content is damaged: it does not match its digest", (errors.Damaged, errors.BadDigest)),
    Ending(INTERRUPTED, "interrupted with Ctrl-C"),
)


def exit_code(error: LockstepError) -> int:
    """The code for an error: that of the row with its class, or else its nearest base class."""
    if isinstance(error, NotSaved):
        return exit_code(error.reason)
    rows = {refusal: row.code for row in ENDINGS for refusal in row.refusals}
    return next((rows[cls] for cls in type(error).__mro__ if cls in rows), FAILED)


def combined(failures: list[LockstepError]) -> int:
    """The code for several failures: theirs if all have the same, otherwise the general one."""
    codes = {exit_code(error) for error in failures}
    return codes.pop() if len(codes) == 1 else FAILED


def help_text() -> str:
    """The table for --help."""
    return "Exit codes:\n\n\b\n" + "\n".join(f"{row.code:>3}  {row.meaning}" for row in ENDINGS)
