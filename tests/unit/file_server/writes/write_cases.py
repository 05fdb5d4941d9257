"""Sizes that writes are tried with, and how nothing looks."""

from __future__ import annotations

from tests.fakes.file_servers import Cluster

SIZES = [0, 5000, 900_000, 6_000_000]
"""Up to 1 MiB a body is sent whole; beyond, frame by frame."""
LARGE = SIZES[-1]


def nothing_happened(cluster: Cluster) -> bool:
    return not cluster.directory.commits and not cluster.directory.versions
