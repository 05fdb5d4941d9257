"""Chooses a command's proxy, the CA to trust and the log-in.

In this order: options, `LOCKSTEP_…` variables, the profile that `lockstep login` stored, and the cluster that
`./run_cluster.sh` describes in `.cluster/cluster.json`. `login` itself prefers the running cluster to the profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lockstep_store.client.credentials import Profile
from lockstep_store.wire.cluster_file import ClusterFile
from lockstep_store.wire.errors import SetupError

CLUSTER_FILE = Path(".cluster/cluster.json")
CLUSTER_VARIABLE = "LOCKSTEP_CLUSTER_FILE"
API_KEY_VARIABLE = "LOCKSTEP_API_KEY"


@dataclass(frozen=True)
class Place:
    """A proxy's address and the CA file to trust there (None: the system's CAs)."""

    url: str
    ca_file: Path | None


def read_cluster_file(environment: Mapping[str, str]) -> ClusterFile:
    """The cluster started in this folder; empty if there is none."""
    file = Path(environment.get(CLUSTER_VARIABLE) or CLUSTER_FILE)
    try:
        cluster = msgspec.json.decode(file.read_bytes(), type=ClusterFile)
    except FileNotFoundError:
        return ClusterFile()
    except (OSError, msgspec.DecodeError) as error:
        raise SetupError(f"{file} cannot be read ({error}): start the cluster again") from error
    if cluster.ca_file:
        cluster.ca_file = str(file.parent / cluster.ca_file)
    return cluster


def find_place(
    url: str | None, ca: str | None, profile: Profile, cluster: ClusterFile, *, cluster_first: bool = False
) -> Place:
    """The proxy to use, from the options, the profile or the cluster. SetupError if none of them names one."""
    local = cluster.proxy_urls[0] if cluster.proxy_urls else ""
    known = (local or profile.url) if cluster_first else (profile.url or local)
    chosen = (url or known).rstrip("/")
    if not chosen:
        raise SetupError("no proxy is known: give --url https://HOST:PORT (and --ca FILE), or start a cluster here")
    return Place(chosen, Path(ca) if ca else _authority(chosen, profile, cluster))


def _authority(url: str, profile: Profile, cluster: ClusterFile) -> Path | None:
    if cluster.ca_file and url in cluster.proxy_urls:
        return Path(cluster.ca_file)
    if url == profile.url:
        return Path(profile.ca_file) if profile.ca_file else None
    # An unknown address is most likely another proxy of a known cluster.
    for file in (profile.ca_file, cluster.ca_file):
        if file:
            return Path(file)
    return None
