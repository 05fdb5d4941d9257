"""The shape of `cluster.json`, which describes a cluster on one machine.

`local_cluster` writes it, and people's scripts read it. So members may be added, but none renamed or removed.
"""

from __future__ import annotations

import msgspec


class ProgramEntry(msgspec.Struct):
    """One running program. `program` is the name of its package, such as "file_server"."""

    program: str
    id: str
    url: str
    pid: int = 0
    data_dir: str = ""
    log_file: str = ""

    @property
    def name(self) -> str:
        return f"{self.program} {self.id}"


class ClusterFile(msgspec.Struct):
    """The whole file. Relative paths are relative to its folder."""

    ca_file: str = ""
    admin_credentials_file: str = ""
    programs: list[ProgramEntry] = []

    @property
    def proxy_urls(self) -> list[str]:
        return [entry.url for entry in self.programs if entry.program == "client_proxy"]
