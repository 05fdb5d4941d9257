"""Garage, if a binary `garage` is on the PATH, because no package provides one: two nodes in two zones, all flushed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.peers.peer import REGION, Endpoint, PeerUnavailable
from benchmarks.peers.programs import Programs, answers, free_ports

HOST = "127.0.0.1"
NODES = ("1", "2")


class Garage:
    """Two nodes that each keep every object, in two zones."""

    name = "Garage"
    note = (
        "two nodes in two zones, replication factor 2, `metadata_fsync` and `data_fsync`. It has no TLS of its own, so "
        "its S3 requests are plain HTTP; the nodes encrypt what they send each other."
    )

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.version = "not found"
        self._folder = folder
        self._programs = Programs(folder, {"HOME": str(folder), "RUST_LOG": "garage=warn"})
        self._rpc_secret = secrets.token_hex(32)
        ports = free_ports(2 * len(NODES))
        self._rpc = dict(zip(NODES, ports[:2], strict=True))
        self._s3 = dict(zip(NODES, ports[2:], strict=True))

    def start(self) -> Endpoint:
        binary = shutil.which("garage")
        if binary is None:
            raise PeerUnavailable("there is no `garage` on the PATH, and no package brings one")
        self.version = self._programs.run([binary, "--version"]).split("\n")[0].removeprefix("garage ")[:20]
        for node in NODES:
            self._settings_file(node).write_text(self._settings(node))
            self._programs.start(f"garage{node}", [binary, "-c", self._settings_file(node), "server"])
        for node in NODES:
            self._programs.wait(f"node {node} of Garage", partial(answers, self._s3[node]))
        self._join(binary)
        key, secret = f"GK{secrets.token_hex(12)}", secrets.token_hex(32)
        self._run(binary, "1", "key", "import", "--yes", "-n", "peers", key, secret)
        self._run(binary, "1", "key", "allow", "--create-bucket", key)
        return Endpoint([f"http://{HOST}:{self._s3['1']}"], Path(), key, secret)

    def _join(self, binary: str) -> None:
        """Connect the nodes and assign each its own zone."""
        ids = {node: self._run(binary, node, "node", "id", "-q").strip() for node in NODES}
        self._run(binary, "1", "node", "connect", ids["2"])
        for node, id in ids.items():
            place = ("-z", f"zone{node}", "-c", "100G")
            self._run(binary, "1", "layout", "assign", *place, id.partition("@")[0])
        self._run(binary, "1", "layout", "apply", "--version", "1")

    def _run(self, binary: str, node: str, *words: str) -> str:
        return self._programs.run([binary, "-c", self._settings_file(node), *words])

    def _settings_file(self, node: str) -> Path:
        return self._folder / f"garage{node}.toml"

    def _settings(self, node: str) -> str:
        data = self._folder / f"data{node}"
        return f"""
replication_factor = {len(NODES)}
consistency_mode = "consistent"
metadata_dir = "{data / "metadata"}"
data_dir = "{data / "blocks"}"
db_engine = "lmdb"
metadata_fsync = true
data_fsync = true
rpc_secret = "{self._rpc_secret}"
rpc_bind_addr = "{HOST}:{self._rpc[node]}"
rpc_public_addr = "{HOST}:{self._rpc[node]}"

[s3_api]
s3_region = "{REGION}"
api_bind_addr = "{HOST}:{self._s3[node]}"
"""

    def processes(self) -> dict[str, int]:
        return self._programs.ids()

    def stop(self) -> None:
        self._programs.stop()
