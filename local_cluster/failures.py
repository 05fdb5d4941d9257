"""Failures of the cluster command, each with one sentence for the user and an exit code for scripts.

`environment.py` has the codes 3 (no usable Python) and 4 (the libraries could not be installed), click has 2 (invalid
option). `docs/operations.md` documents them all; do not renumber them.
"""

from __future__ import annotations

from typing import ClassVar

INTERRUPTED = 130  # what a shell reports for a command ended by Ctrl-C


class ClusterFailure(Exception):
    """Base: the message says what happened, why, and what to do."""

    exit_code: ClassVar[int] = 1


class ImpossibleCluster(ClusterFailure):
    """The options contradict each other; the code is that of any invalid option."""

    exit_code = 2


class PortBusy(ClusterFailure):
    """Another program uses the directory server's port; nothing was started."""

    exit_code = 5


class AlreadyRunning(ClusterFailure):
    """A cluster with this data is already running or starting."""

    exit_code = 6


class NotHealthy(ClusterFailure):
    """The directory server ended early or did not answer in time; what this command started was stopped."""

    exit_code = 7


class NotRunning(ClusterFailure):
    """No cluster with this data is running."""

    exit_code = 8


class Degraded(ClusterFailure):
    """The cluster is running, but not every program is healthy. Those that are go on."""

    exit_code = 9


class UnsuitableFolder(ClusterFailure):
    """The data folder contains something that is not Lockstep's, or cannot be written."""

    exit_code = 10


class Declined(ClusterFailure):
    """The user did not confirm, or could not be asked."""

    exit_code = 11


class Interrupted(ClusterFailure):
    """A signal arrived during the start; everything was stopped."""

    exit_code = INTERRUPTED
