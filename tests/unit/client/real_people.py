"""A whole cluster with real accounts, whose proxy answers over HTTPS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lockstep_store.runtime.tls.identity import ensure_identity
from tests.fakes.rest import RestServer
from tests.fakes.whole_cluster import WholeCluster


class RealPeople(NamedTuple):
    server: RestServer
    admin: str
    admin_password: str
    cluster: WholeCluster


@contextmanager
def real_people(folder: Path, certs: Path) -> Iterator[RealPeople]:
    """A cluster in `folder`, for as long as the context lasts."""
    with WholeCluster(folder / "cluster", certs, file_servers=2) as cluster:
        credentials = json.loads(cluster.settings.credentials_file.read_bytes())
        server = RestServer(ensure_identity(certs, "client_proxy", "1"), cluster.proxies["1"].app)
        try:
            yield RealPeople(server, credentials["username"], credentials["password"], cluster)
        finally:
            server.close()
