"""A disk whose flushes fail: the calling thread's fsync and fdatasync give EIO from now on, by a system-call filter.

The kernel answers, so SQLite's own flushes fail as well, which no stand-in for Python's functions could do. It cannot
be undone, so use it in a process of the test's own. Needs no rights; Linux on x86-64 or arm64.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

_FLUSHES = {"x86_64": (0xC000003E, 74, 75), "aarch64": (0xC00000B7, 82, 83)}
"""Audit number of the architecture, numbers of fsync and fdatasync."""
SUPPORTED = platform.system() == "Linux" and platform.machine() in _FLUSHES

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def break_flushes_of_this_thread() -> None:
    """Make every flush of this thread, and of threads it starts, fail with EIO."""
    architecture, fsync, fdatasync = _FLUSHES[platform.machine()]
    steps = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 0, 4, architecture),
        (_LOAD, 0, 0, 0),
        (_JUMP_EQUAL, 1, 0, fsync),
        (_JUMP_EQUAL, 0, 1, fdatasync),
        (_RETURN, 0, 0, _ERRNO | errno.EIO),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(steps), ctypes.addressof(code))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "the system-call filter was refused")
