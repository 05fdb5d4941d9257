"""The chart's pods as plain processes: they join by themselves, through what the API server says about them.

Their commands, variables, files and health checks are those that helm renders, in the image's environment; only
addresses and folders are this machine's. That Kubernetes schedules, isolates and upgrades them is not tested.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cluster.container_image import FOLDER, image_environment
from tests.fakes.kubernetes_api import KubernetesApi, status
from tests.fakes.lasting_ports import lasting_ports
from tests.helm_chart import DEV, NAMESPACE, RELEASE, needs_helm, pods, rendered
from tests.waiting import wait_until

pytestmark = needs_helm

CONTAINERS = {"directory": 5050, "gate": 5000, "invitations": 5100, "file-server": 5060, "proxy": 5000}


class Release:
    """The pods, each with its volume's folder; a container is POD/CONTAINER."""

    def __init__(self, folder: Path, api: KubernetesApi) -> None:
        self.folder = folder
        self.api = api
        self.specs = pods(rendered("--values", str(DEV), "--set", "keyPassphraseSecret=keys"))
        (folder / "keys").mkdir()
        (folder / "keys" / "passphrase").write_text("correct horse battery staple\n")
        self.pods = {f"{RELEASE}-{name}": name.rpartition("-")[0] for name in ("directory-0", *PODS)}
        containers = [
            f"{pod}/{one['name']}" for pod, role in self.pods.items() for one in self.specs[role]["containers"]
        ]
        self.ports = dict(zip(containers, lasting_ports(len(containers)), strict=True))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        for pod, role in self.pods.items():
            (folder / pod / "data").mkdir(parents=True)
            (folder / pod / "join").mkdir()
            (folder / pod / "join" / "token").write_text(f"token of {pod}")
            api.tokens[f"token of {pod}"] = status(f"{NAMESPACE}:{RELEASE}-{role}", pod)

    def _own(self, pod: str, text: str) -> str:
        """`text` with this machine's folders, ports and interpreter in place of the container's."""
        text = text.replace("$(POD_NAME)", pod).replace("/var/lib/lockstep", str(self.folder / pod / "data"))
        text = text.replace("/run/lockstep-join", str(self.folder / pod / "join"))
        text = text.replace("/run/lockstep-keys", str(self.folder / "keys"))
        for name in ("health.py", "kubernetes_join.py"):
            text = text.replace(f"/opt/lockstep/{name}", str(FOLDER / name))
        text = text.replace("/opt/lockstep/bin", str(Path(sys.executable).parent))
        for container, port in self.ports.items():
            other, _, name = container.partition("/")
            hosts = rf"(localhost|{RELEASE}-directory\.{NAMESPACE}\.svc|{re.escape(other)}\.[\w.-]+\.svc)"
            if other == f"{RELEASE}-directory-0" or other == pod:
                text = re.sub(rf"https://{hosts}:{CONTAINERS[name]}$", f"https://127.0.0.1:{port}", text)
        return text

    def _environment(self, pod: str, container: dict[str, Any]) -> dict[str, str]:
        fields = {
            "metadata.name": pod,
            "metadata.namespace": NAMESPACE,
            "metadata.labels['apps.kubernetes.io/pod-index']": pod.rpartition("-")[2],
            "spec.nodeName": f"node-of-{pod}",
        }
        given = image_environment()
        for one in container.get("env", ()):
            given[one["name"]] = one["value"] if "value" in one else fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
        own = {name: self._own(pod, value).replace("$PATH", os.environ["PATH"]) for name, value in given.items()}
        own = {name: "127.0.0.1" if value == "0.0.0.0" else value for name, value in own.items()}
        port = self.ports.get(f"{pod}/{container['name']}")
        if container.get("args"):
            own[f"LOCKSTEP_{container['args'][1].upper().replace('-', '_')}_PORT"] = str(port)
        if "LOCKSTEP_JOIN_HOST" in own:
            assert own["LOCKSTEP_JOIN_HOST"] == f"{RELEASE}-directory.{NAMESPACE}.svc"
            own["LOCKSTEP_JOIN_HOST"] = "127.0.0.1"
        return {
            **own,
            "HOME": str(self.folder),
            "LOCKSTEP_JOIN_PORT": str(self.ports[f"{RELEASE}-directory-0/invitations"]),
            "LOCKSTEP_KUBERNETES_ACCOUNT": str(self.api.account),
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.api.port),
        }

    def _words(self, pod: str, container: dict[str, Any]) -> list[str]:
        lockstep = str(Path(sys.executable).parent / "lockstep")
        words = [self._own(pod, word) for word in [*container.get("command", [lockstep]), *container.get("args", ())]]
        return [sys.executable if word == "python3" else word for word in words]

    def start(self, pod: str) -> None:
        """Start what the pod's specification has, as Kubernetes does: the steps before the containers first."""
        spec = self.specs[self.pods[pod]]
        for step in spec.get("initContainers", ()):
            (self.folder / pod / "join" / "ca.pem").write_text(self.ca_pem())
            ended = subprocess.run(
                self._words(pod, step),
                env=self._environment(pod, step),
                cwd=self.folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            (self.folder / f"{pod}-{step['name']}.log").write_text(ended.stdout + ended.stderr)
            assert ended.returncode == 0, ended.stdout + ended.stderr
        for container in spec["containers"]:
            with (self.folder / f"{pod}-{container['name']}.log").open("wb") as log:
                self.running[f"{pod}/{container['name']}"] = subprocess.Popen(
                    self._words(pod, container),
                    env=self._environment(pod, container),
                    cwd=self.folder,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )

    def ca_pem(self) -> str:
        """What the directory's pod has published; a pod that mounts it waits as long."""
        found = wait_until(lambda: self.api.config_maps.get(f"{RELEASE}-ca"), what="the ConfigMap with ca.pem")
        assert found is not None
        return found["ca.pem"]

    def await_ready(self) -> None:
        for pod, role in self.pods.items():
            for container in self.specs[role]["containers"]:
                if "args" in container:
                    wait_until(
                        lambda pod=pod, one=container: self._is_ready(pod, one),
                        what=f"health of {pod}",
                        look_seconds=0.2,
                    )

    def _is_ready(self, pod: str, container: dict[str, Any]) -> bool:
        name = container["name"]
        assert self.running[f"{pod}/{name}"].poll() is None, self.log(f"{pod}-{name}")
        probe = {**container, "command": container["readinessProbe"]["exec"]["command"]}
        del probe["args"]
        environment = self._environment(pod, container)
        ended = subprocess.run(
            self._words(pod, probe), env=environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        return ended.returncode == 0

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stop(self, pod: str = "") -> None:
        ended = {name: one for name, one in self.running.items() if name.startswith(pod)}
        for process in ended.values():
            process.terminate()
        codes = {name: process.wait(timeout=60) for name, process in ended.items()}
        self.running = {name: one for name, one in self.running.items() if name not in ended}
        failed = {name: self.log(name.replace("/", "-")) for name, code in codes.items() if code not in (0, -15)}
        assert failed == {}


PODS = ("file-server-0", "file-server-1", "proxy-0")


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    api = KubernetesApi(tmp_path)
    api.replicas[f"{RELEASE}-proxy"] = 1
    release = Release(tmp_path, api)
    try:
        yield release
    finally:
        release.stop()
        api.close()


@pytest.mark.cluster
def test_the_pods_are_a_cluster_that_looks_after_its_members(release: Release) -> None:
    """Each pod joins as itself, once; again in its old place when its volume is new; and is removed when scaled in."""
    for pod in release.pods:
        release.start(pod)
    release.await_ready()
    directory = release.folder / f"{RELEASE}-directory-0" / "data"
    key = json.loads((directory / "admin" / "credentials.json").read_text())["api_key"]
    (release.folder / "ca.pem").write_text(release.ca_pem())
    url = f"https://127.0.0.1:{release.ports[f'{RELEASE}-proxy-0/proxy']}/api/v1"
    with requests.Session() as session:
        session.trust_env = False  # a CA bundle in the environment would replace `verify`
        session.headers["X-Api-Key"] = key
        session.verify = str(release.folder / "ca.pem")

        def answer(method: str) -> requests.Response | None:
            """None while the directory does not know both file servers."""
            reply = session.request(method, f"{url}/files/files/a", data=b"content", timeout=60)
            return None if reply.status_code == 503 else reply

        def zones() -> dict[str, str]:
            servers = session.get(f"{url}/cluster", timeout=60).json()["file_servers"]
            return {one["id"]: one["zone"] for one in servers if one["state"] == "up"}

        written = wait_until(lambda: answer("PUT"), what="a write")
        assert written is not None
        assert (written.status_code, written.headers["X-Lockstep-Copies"]) == (201, "2/2 fsynced")
        expected = {str(number): f"node-of-{RELEASE}-file-server-{number}" for number in (0, 1)}
        assert zones() == expected
        for pod in (RELEASE + "-directory-0", RELEASE + "-file-server-0"):
            keys = json.loads((release.folder / pod / "data" / "certs" / "storage-keys.json").read_text())
            assert keys["protected_by"] == "passphrase"

        pod = f"{RELEASE}-file-server-1"
        release.stop(pod)
        release.start(pod)
        assert "has a valid certificate" in release.log(f"{pod}-join")
        release.stop(pod)
        data = release.folder / pod / "data"
        data.rename(data.with_name("lost"))
        data.mkdir()
        release.start(pod)
        assert "joined as file_server 1" in release.log(f"{pod}-join")
        wait_until(lambda: zones() == expected, what="both file servers")
        again = wait_until(lambda: answer("PUT"), what="another write")
        assert again is not None
        assert again.headers["X-Lockstep-Copies"] == "2/2 fsynced"

        gate = f"https://127.0.0.1:{release.ports[f'{RELEASE}-directory-0/gate']}/api/v1/cluster/proxies"

        def proxies() -> dict[str, str]:
            listed = session.get(gate, timeout=60).json()["proxies"]
            return {one["id"]: one["state"] for one in listed}

        pod = f"{RELEASE}-proxy-0"
        release.stop(pod)
        wait_until(lambda: proxies() == {"0": "down", "gate": "up"}, what="a proxy that is away", look_seconds=0.2)
        release.api.replicas[f"{RELEASE}-proxy"] = 0
        wait_until(lambda: proxies() == {"0": "removed", "gate": "up"}, what="its removal", look_seconds=0.2)
        data = release.folder / pod / "data"
        data.rename(data.with_name("deleted"))
        data.mkdir()
        release.api.replicas[f"{RELEASE}-proxy"] = 1
        release.start(pod)
        wait_until(lambda: proxies() == {"0": "up", "gate": "up"}, what="the proxy, as a new one", look_seconds=0.2)
