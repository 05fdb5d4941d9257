"""MinIO, if a binary `minio` is on the PATH, because no package provides one: one process with two local drives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.peer import REGION, Endpoint, PeerUnavailable
from benchmarks.peers.programs import Programs, answers, free_ports
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity

HOST = "127.0.0.1"
ACCESS_KEY = "peers-access"
SECRET_KEY = "peers-secret-key"


class MinIO:
    """One server with two folders as drives and one parity shard, so either folder may be lost."""

    name = "MinIO"
    note = (
        "one process writes two local drives (EC:1), contents and names flushed on both; there is no second program "
        "to send a copy to, and contents are not sealed on disk."
    )

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.version = "not found"
        self._folder = folder
        settings = {
            "HOME": str(folder),
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_REGION": REGION,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            # Folders of the system's disk are refused as drives otherwise.
            "MINIO_CI_CD": "1",
        }
        self._programs = Programs(folder, settings)

    def start(self) -> Endpoint:
        binary = shutil.which("minio")
        if binary is None:
            raise PeerUnavailable("there is no `minio` on the PATH, and no package brings one")
        self.version = self._programs.run([binary, "--version"]).split("\n")[0].removeprefix("minio version ")
        ensure_authority(self._folder / "authority")
        identity = ensure_identity(self._folder / "authority", "client_proxy", "peer")
        certificates = self._folder / "certs"
        (certificates / "CAs").mkdir(parents=True, exist_ok=True)
        shutil.copy(identity.cert_file, certificates / "public.crt")
        shutil.copy(identity.key_file, certificates / "private.key")
        shutil.copy(identity.ca_file, certificates / "CAs" / "ca.crt")
        port = free_ports(1)[0]
        drives = [self._folder / f"drive{number}" for number in (1, 2)]
        command = [binary, "server", "--certs-dir", str(certificates), "--address", f"{HOST}:{port}", *map(str, drives)]
        self._programs.start("minio", command)
        self._programs.wait("MinIO", lambda: answers(port))
        return Endpoint([f"https://{HOST}:{port}"], identity.ca_file, ACCESS_KEY, SECRET_KEY)

    def processes(self) -> dict[str, int]:
        return self._programs.ids()

    def stop(self) -> None:
        self._programs.stop()
