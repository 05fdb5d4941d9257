"""The image's definition and the compose file of deploy/docker, as far as they go without a Docker engine.

The compose file's services run as plain processes here: with the image's environment and their own, their commands, the
image's health check, and folders in place of volumes. That the image is built and isolated is not tested.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests import ROOT
from tests.cluster.amqp_broker import Broker
from tests.cluster.container_image import FOLDER, dockerfile, image_environment
from tests.fakes.lasting_ports import lasting_ports
from tests.waiting import wait_until

HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def _compose(name: str = "compose.yaml") -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return content


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_the_dockerfile_has_no_known_fault() -> None:
    """By hadolint's rules."""
    assert HADOLINT is not None
    ended = subprocess.run([HADOLINT, str(FOLDER / "Dockerfile")], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_image_gets_the_packages_and_no_more() -> None:
    """Each package of the distribution, the console's source, and what the build needs of this folder; no secret."""
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages < {line.removeprefix("!") for line in lines}
    used = re.findall(r"deploy/docker/\w+\.py", dockerfile())
    assert {f"!{name}" for name in used} == {line for line in lines if line.startswith("!deploy")}


def test_the_image_has_every_extra_of_the_programs() -> None:
    """Each setting works in a container; `mount` is for people's machines."""
    declared = ConfigParser(interpolation=None)
    declared.read(ROOT / "setup.cfg")
    (installed,) = re.findall(r"install --no-cache-dir '\.\[([\w,]+)\]'", dockerfile())
    assert set(installed.split(",")) == set(declared["options.extras_require"]) - {"dev", "mount"}


def test_each_service_is_closed() -> None:
    """No service has a capability, a writable root file system or another user than the image's."""
    assert re.search(r"^USER 10001:10001$", dockerfile(), re.MULTILINE)
    for name, service in _compose()["services"].items():
        closed = (service["read_only"], service["cap_drop"], service["security_opt"])
        assert closed == (True, ["ALL"], ["no-new-privileges:true"]), name
        assert not {"privileged", "user", "cap_add", "network_mode"} & set(service), name


class Composed:
    """The compose file's services as processes, each with its volumes' folders and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services: dict[str, dict[str, Any]] = _compose()["services"]
        programs = [name for name, service in self.services.items() if "entrypoint" not in service]
        self.ports = dict(zip(programs, lasting_ports(len(programs)), strict=True))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        secret = folder / "run" / "secrets" / "key-passphrase"
        secret.parent.mkdir(parents=True)
        secret.write_text("correct horse battery staple\n")
        for volume in _compose()["volumes"]:
            (folder / "volumes" / volume).mkdir(parents=True)

    def _own(self, name: str, text: str) -> str:
        """`text` with this machine's folders and ports in place of the container's."""
        mounts = dict(reversed(volume.split(":")[:2]) for volume in self.services[name].get("volumes", ()))
        for place in sorted(mounts, key=len, reverse=True):
            source = FOLDER if mounts[place].startswith(".") else self.folder / "volumes"
            text = text.replace(place, str(source / mounts[place]))
        text = text.replace("/run/secrets", str(self.folder / "run" / "secrets"))
        text = text.replace("/opt/lockstep/bin", str(Path(sys.executable).parent))
        for other, port in self.ports.items():
            text = re.sub(rf"https://{other}:\d+", f"https://127.0.0.1:{port}", text)
        return text

    def environment(self, name: str) -> dict[str, str]:
        given = {**image_environment(), **self.services[name].get("environment", {})}
        own = {key: self._own(name, value).replace("$PATH", os.environ["PATH"]) for key, value in given.items()}
        own = {key: "127.0.0.1" if value == "0.0.0.0" else value for key, value in own.items()}
        if name in self.ports:
            prefix = f"LOCKSTEP_{self._role(name).upper().replace('-', '_')}"
            own[f"{prefix}_PORT"] = str(self.ports[name])
        return {**own, "HOME": str(self.folder)}

    def _role(self, name: str) -> str:
        serve, role = self.services[name]["command"]
        assert serve == "serve"
        return str(role)

    def up(self) -> None:
        """Start every service as soon as what it depends on is so far."""
        left = dict(self.services)
        while left:
            for name, service in list(left.items()):
                needs = service.get("depends_on", {})
                if not needs.keys() & left.keys():
                    for other, need in needs.items():
                        self._await(other, need["condition"])
                    self._start(name)
                    del left[name]
        for name in self.ports:
            self._await(name, "service_healthy")

    def _start(self, name: str) -> None:
        service = self.services[name]
        lockstep = [str(Path(sys.executable).parent / "lockstep")]
        command = [*service.get("entrypoint", lockstep), *service["command"]]
        words = [self._own(name, word).replace("$$", "$") for word in command]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                words, env=self.environment(name), cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def run(self, name: str) -> None:
        """Run a service that ends."""
        self._start(name)
        self._await(name, "service_completed_successfully")

    def _await(self, name: str, condition: str) -> None:
        process = self.running[name]
        if condition == "service_completed_successfully":
            assert process.wait(timeout=120) == 0, self.log(name)
            return
        assert condition == "service_healthy"

        def healthy() -> bool:
            assert process.poll() is None, self.log(name)
            return self.check(name).returncode == 0

        wait_until(healthy, what=f"health of {name}", look_seconds=0.2)

    def check(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run the image's health check beside a service."""
        (found,) = re.findall(r"^HEALTHCHECK .* CMD (\[.+\])$", dockerfile(), re.MULTILINE)
        python, script = json.loads(found)
        assert (python, script) == ("/opt/lockstep/bin/python", "/opt/lockstep/health.py")
        words = [sys.executable, str(FOLDER / "health.py"), self._role(name)]
        return subprocess.run(
            words, env=self.environment(name), cwd=self.folder, capture_output=True, text=True, check=False
        )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def down(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait(timeout=60)


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    with ExitStack() as stack:
        composed = Composed(tmp_path)
        stack.callback(composed.down)
        yield composed


@pytest.mark.cluster
def test_the_composed_services_are_a_cluster(composed: Composed) -> None:
    """They start in the file's order, the second file server joins, and writes have two copies; also the next time."""
    composed.up()
    url = f"https://127.0.0.1:{composed.ports['proxy-1']}/api/v1"
    volumes = composed.folder / "volumes"
    key = json.loads((volumes / "admin" / "credentials.json").read_text())["api_key"]
    options: dict[str, Any] = {
        "headers": {"X-Api-Key": key},
        "verify": str(volumes / "certs" / "ca.pem"),
        "timeout": 60,
    }

    def answer(method: str) -> requests.Response | None:
        """None while the directory does not know both file servers yet."""
        reply = requests.request(method, f"{url}/files/files/a", data=b"content", **options)
        return None if reply.status_code == 503 else reply

    written = wait_until(lambda: answer("PUT"), what="a write")
    assert written is not None
    assert (written.status_code, written.headers["X-Lockstep-Copies"]) == (201, "2/2 fsynced")
    composed.running["file-server-2"].terminate()
    composed.running["file-server-2"].wait(timeout=60)
    refused = composed.check("file-server-2")
    assert (refused.returncode, "does not answer" in refused.stdout) == (1, True)
    composed.down()
    composed.up()
    read = wait_until(lambda: answer("GET"), what="a read")
    assert read is not None
    assert read.content == b"content"


PROMETHEUS = shutil.which("prometheus")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus (Debian's package) is not installed")
@pytest.mark.cluster
def test_the_surroundings_watch_the_cluster_and_hear_of_changes(composed: Composed, broker: Broker) -> None:
    """`prepare` gives Prometheus a key that is enough for every program, and the broker a queue that takes messages."""
    composed.up()
    prepare = _compose("compose.surroundings.yaml")["services"]["prepare"]
    prepare["environment"] |= {"RABBITMQ_USER": "guest", "RABBITMQ_ADDRESS": f"127.0.0.1:{broker.port}"}
    composed.services["prepare"] = prepare
    (composed.folder / "run" / "secrets" / "rabbitmq").write_text("guest\n")
    kept = composed.folder / "volumes" / "prometheus"
    kept.mkdir()
    keys = []
    for _ in range(2):
        composed.run("prepare")
        keys.append((kept / "api-key").read_text())
    assert keys[0] == keys[1]
    admin = json.loads((composed.folder / "volumes" / "admin" / "credentials.json").read_text())
    url = f"https://127.0.0.1:{composed.ports['proxy-1']}/api/v1/cluster/targets/rabbitmq/test"
    ca_file = str(composed.folder / "volumes" / "certs" / "ca.pem")
    headers = {"X-Api-Key": admin["api_key"]}
    assert requests.post(url, headers=headers, verify=ca_file, timeout=60).status_code == 204
    with broker.channel() as channel:
        assert channel.basic_get("lockstep", auto_ack=True)[0] is not None
    _await_all_scraped(composed)


def _await_all_scraped(composed: Composed) -> None:
    """Run Prometheus with the surroundings' configuration until it has asked every program with success."""
    text = (FOLDER / "surroundings" / "prometheus.yml").read_text()
    for name, port in composed.ports.items():
        text = re.sub(rf'"{name}:\d+"', f'"127.0.0.1:{port}"', text)
    text = text.replace("/prometheus/", f"{composed.folder}/volumes/prometheus/")
    text = text.replace("/certs/", f"{composed.folder}/volumes/certs-2/").replace("15s", "1s")
    (composed.folder / "prometheus.yml").write_text(text)
    (composed.folder / "alerts.yml").write_bytes((ROOT / "deploy" / "prometheus" / "alerts.yml").read_bytes())
    (port,) = lasting_ports(1)
    words = [str(PROMETHEUS), f"--config.file={composed.folder}/prometheus.yml"]
    words += [
        f"--storage.tsdb.path={composed.folder}/volumes/prometheus/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (composed.folder / "prometheus.log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as one:

        def healthy() -> set[str]:
            try:
                reply = requests.get(f"http://127.0.0.1:{port}/api/v1/targets", timeout=60)
            except requests.ConnectionError:
                return set()
            return {target["instance"] for target in _up(reply.json())}

        try:
            expected = {f"127.0.0.1:{port}" for port in composed.ports.values()}
            wait_until(lambda: healthy() == expected, what="a scrape of every program", look_seconds=0.2)
        finally:
            one.terminate()


def _up(targets: dict[str, Any]) -> list[dict[str, str]]:
    return [target["labels"] for target in targets["data"]["activeTargets"] if target["health"] == "up"]


def test_the_health_check_needs_a_program() -> None:
    """Where the container runs something else, such as a shell, the reason is said."""
    ended = subprocess.run(
        [sys.executable, str(FOLDER / "health.py"), "shell"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (
        1,
        "no program to ask: 'shell' is none of directory, file-server, proxy\n",
    )
