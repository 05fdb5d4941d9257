"""How the cluster command can fail: one sentence for the user and one exit code for scripts, per kind.

The codes 3 (no usable Python) and 4 (the libraries could not be installed) belong to `environment.py`, 2 to a
wrong option (click). They are documented in `docs/operations.md`; do not renumber them.
"""

from __future__ import annotations

from typing import ClassVar

INTERRUPTED = 130  # what a shell reports for a command ended by Ctrl-C


class ClusterFailure(Exception):
    """Base: the message says what, why, and what to do."""

    exit_code: ClassVar[int] = 1


class ImpossibleCluster(ClusterFailure):
    """Options that contradict each other; the code is that of any wrong option."""

    exit_code = 2


class PortBusy(ClusterFailure):
    """A port that the cluster needs is taken; found before anything was started."""

    exit_code = 5


class AlreadyRunning(ClusterFailure):
    """A cluster with this data runs already, or is being started right now."""

    exit_code = 6


class NotHealthy(ClusterFailure):
    """A program ended early or did not become healthy in time; everything was stopped again."""

    exit_code = 7


class NotRunning(ClusterFailure):
    """No cluster with this data is running."""

    exit_code = 8


class Degraded(ClusterFailure):
    """The cluster runs, but not every program is healthy."""

    exit_code = 9


class UnsuitableFolder(ClusterFailure):
    """The data folder holds something that is not Lockstep's, or cannot be written."""

    exit_code = 10


class Declined(ClusterFailure):
    """The user said no, or could not be asked."""

    exit_code = 11


class Interrupted(ClusterFailure):
    """A signal came during the start; everything was stopped again."""

    exit_code = INTERRUPTED
