"""The errors of a proxy as the numbers that system calls return."""

from __future__ import annotations

import errno
import os

from lockstep_store.wire import errors
from lockstep_store.wire.errors import LockstepError

_NUMBERS: dict[type[LockstepError], int] = {
    LockstepError: errno.EIO,
    errors.BadName: errno.EINVAL,
    errors.NotLoggedIn: errno.EACCES,
    errors.Forbidden: errno.EACCES,
    errors.NotFound: errno.ENOENT,
    errors.Conflict: errno.EBUSY,
    errors.AlreadyExists: errno.EEXIST,
    errors.LockStale: errno.ESTALE,
    errors.PreconditionFailed: errno.ESTALE,
    errors.TooLarge: errno.EFBIG,
    errors.Locked: errno.EBUSY,
    errors.TooManyRequests: errno.EBUSY,
    errors.QuotaExceeded: errno.EDQUOT,
    errors.StorageFull: errno.ENOSPC,
    errors.PeerUnreachable: errno.EHOSTDOWN,
}
QUIET = frozenset({errno.ENOENT, errno.EACCES})
"""Everyday answers, which the log need not explain."""


def number_of(error: LockstepError) -> int:
    """Return the number for an error: that of its class, or else of its nearest base class."""
    return next(_NUMBERS[cls] for cls in type(error).__mro__ if cls in _NUMBERS)


def refusal(number: int) -> OSError:
    """The exception with which a system call fails with this number."""
    return OSError(number, os.strerror(number))
