"""The configurations in deploy/haproxy and deploy/nginx, run by the real programs in front of two proxies."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from requests.adapters import HTTPAdapter

from tests import ROOT
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person, new_token
from tests.fakes.lasting_ports import lasting_ports
from tests.waiting import wait_until

PROGRAMS = {name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("haproxy", "nginx")}
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
LIST_LIMIT = 5
MODES = ("passthrough", "reencrypt")
WORKERS, AFTERWARDS = 4, 40

pytestmark = pytest.mark.cluster


def _available(program: str, mode: str) -> Any:
    package, there = program, PROGRAMS[program] is not None
    if (program, mode) == ("nginx", "passthrough"):
        package, there = "libnginx-mod-stream", there and STREAM_MODULE.exists()
    skip = pytest.mark.skipif(not there, reason=f"{package} (Debian's package) is not installed")
    return pytest.param((program, mode), marks=skip, id=f"{program}-{mode}")


CONFIGURATIONS = [_available(program, mode) for program in PROGRAMS for mode in MODES]
needs_a_balancer = pytest.mark.parametrize("balancer", CONFIGURATIONS, indirect=True)


class Balanced:
    """A cluster whose proxies trust the balancer, which is on 127.0.0.1; clients have other loopback addresses."""

    def __init__(self, cluster: ClusterHarness) -> None:
        self.cluster = cluster
        self.protocol_ports = lasting_ports(2)
        self.token = new_token(cluster, "ann")
        for number in (1, 2):
            cluster.terminate("client_proxy", number)
            self.start(number)

    def start(self, number: int) -> None:
        port = self.protocol_ports[number - 1]
        limits = f"list={LIST_LIMIT}/hour/address login=off share=off"
        env = {
            "LOCKSTEP_PROXY_TRUSTED_PROXY": "127.0.0.1",
            "LOCKSTEP_PROXY_PROXY_PROTOCOL_PORT": str(port),
            "LOCKSTEP_PROXY_RATE_LIMIT": limits,
        }
        self.cluster.start("client_proxy", number, env=env)


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    env = {"LOCKSTEP_CLUSTER_CONSOLE": "no"}
    with ClusterHarness(tmp_path_factory.mktemp("balanced"), env=env) as cluster:
        yield Balanced(cluster)


class Balancer:
    """One configuration of deploy/, running with the test's ports and files in place of its examples."""

    def __init__(self, balanced: Balanced, program: str, mode: str, folder: Path) -> None:
        self.balanced, self.cluster = balanced, balanced.cluster
        self.program, self.mode, self._folder = program, mode, folder
        self.port = lasting_ports(1)[0]
        self.url = f"https://localhost:{self.port}"
        own = self.cluster.folder.certs_dir / "client_proxy-1"
        (folder / "own.pem").write_text((own / "cert.pem").read_text() + (own / "key.pem").read_text())
        suffix = "cfg" if program == "haproxy" else "conf"
        self._text = self._with_own_places((ROOT / "deploy" / program / f"{mode}.{suffix}").read_text())
        self.write(self._text)
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(self._command(), stdout=self._log, stderr=self._log)

    def _with_own_places(self, text: str) -> str:
        for number, url in enumerate(self.cluster.proxy_urls, start=1):
            direct = url.rpartition(":")[2]
            text = text.replace(f"proxy-{number}.example.org:5000", f"127.0.0.1:{direct}")
            text = text.replace(
                f"proxy-{number}.example.org:5443", f"127.0.0.1:{self.balanced.protocol_ports[number - 1]}"
            )
            text = text.replace(f"verifyhost proxy-{number}.example.org", "verifyhost localhost")
        for example, here in (
            ("bind :443", f"bind 127.0.0.1:{self.port}"),
            ("listen 443", f"listen 127.0.0.1:{self.port}"),
            ("/run/haproxy/lockstep.sock", str(self._folder / "admin.sock")),
            ("/etc/haproxy/lockstep-ca.pem", str(self.cluster.ca_file)),
            ("/etc/nginx/lockstep-ca.pem", str(self.cluster.ca_file)),
            ("/etc/haproxy/store.example.org.pem", str(self._folder / "own.pem")),
            ("/etc/nginx/store.example.org.pem", str(self._folder / "own.pem")),
            ("/etc/nginx/store.example.org.key", str(self._folder / "own.pem")),
            ("proxy_ssl_name store.example.org", "proxy_ssl_name localhost"),
        ):
            text = text.replace(example, here)
        addresses = [line for line in text.splitlines() if "example.org" in line and not line.lstrip().startswith("#")]
        assert [line for line in addresses if "server_name" not in line] == []
        return text

    def write(self, text: str) -> None:
        """Make `text` the configuration."""
        (self._folder / "balancer.cfg").write_text(text)
        if self.program == "nginx":
            (self._folder / "nginx.conf").write_text(self._nginx_frame())

    def _nginx_frame(self) -> str:
        """What Debian's own nginx.conf has around a file of conf.d, and with the stream module."""
        temporary = " ".join(
            f"{kind}_temp_path {self._folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        include = f"include {self._folder}/balancer.cfg;"
        module = f"load_module {STREAM_MODULE};" if self.mode == "passthrough" else ""
        user = "user root;" if os.geteuid() == 0 else ""
        inside = include if self.mode == "passthrough" else f"http {{ access_log off; {temporary} {include} }}"
        pid = f"pid {self._folder}/nginx.pid; error_log stderr; daemon off;"
        return f"{module} {user} {pid} events {{ worker_connections 1024; }} {inside}"

    def _command(self) -> list[str]:
        program = PROGRAMS[self.program]
        assert program is not None
        if self.program == "haproxy":
            return [program, "-db", "-f", str(self._folder / "balancer.cfg")]
        return [program, "-c", str(self._folder / "nginx.conf")]

    def wait_ready(self) -> None:
        """Until the balancer sees both proxies."""

        def answers() -> bool:
            assert self._process.poll() is None, (self._folder / "log").read_text()
            try:
                with self.session("127.0.0.1") as session:
                    return session.get(f"{self.url}/health", timeout=60).status_code == 200
            except requests.ConnectionError:
                return False

        wait_until(answers, what=f"{self.program}'s first answer")
        if self.program == "haproxy":
            wait_until(lambda: self.states() == {"proxy-1": "UP", "proxy-2": "UP"}, what="both proxies up")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()

    @contextmanager
    def session(self, source: str) -> Iterator[requests.Session]:
        """Ann, at the address `source`, on new connections."""
        with self.cluster.session() as session:
            del session.headers["X-Api-Key"]
            session.headers["Authorization"] = f"Bearer {self.balanced.token}"
            session.mount("https://", _From(source))
            yield session

    def get(self, source: str, path: str, **headers: str) -> int:
        """The status of a read over a new connection from `source`."""
        with self.session(source) as session:
            return session.get(f"{self.url}/api/v1{path}", headers=headers, timeout=60).status_code

    # ---- taking a proxy out ------------------------------------------------------------------------------------

    def _admin(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self._folder / "admin.sock"))
            admin.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: admin.recv(65536), b"")).decode()

    def _table(self) -> list[dict[str, str]]:
        head, *rows = self._admin("show stat proxies 4 -1").lstrip("# ").strip().splitlines()
        return [dict(zip(head.split(","), row.split(","), strict=True)) for row in rows]

    def states(self) -> dict[str, str]:
        """HAProxy's servers, such as UP, DOWN or DRAIN."""
        return {row["svname"]: row["status"] for row in self._table()}

    def drain(self, number: int) -> None:
        """Give the proxy nothing new, and wait until it has nothing left."""
        if self.program == "haproxy":
            assert self._admin(f"set server proxies/proxy-{number} state drain").strip() == ""
            wait_until(lambda: self._sessions(number) == 0, what="the end of its sessions")
            return
        port = self.cluster.proxy_urls[number - 1].rpartition(":")[2]
        if self.mode == "passthrough":
            port = str(self.balanced.protocol_ports[number - 1])
        before = self._workers()
        self.write(re.sub(rf"(server 127\.0\.0\.1:{port}) [^;]*;", r"\1 down;", self._text))
        self._reload()
        wait_until(lambda: not before & self._workers(), what="the end of nginx's old workers")

    def undrain(self, number: int) -> None:
        if self.program == "haproxy":
            self._admin(f"set server proxies/proxy-{number} state ready")
        else:
            self.write(self._text)
            self._reload()

    def _sessions(self, number: int) -> int:
        return next(int(row["scur"]) for row in self._table() if row["svname"] == f"proxy-{number}")

    def _workers(self) -> set[int]:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return {int(pid) for pid in children.split()}

    def _reload(self) -> None:
        command = [*self._command(), "-s", "reload"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


class _From(HTTPAdapter):
    """Connections from one address."""

    def __init__(self, source: str) -> None:
        self._source = source
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, source_address=(self._source, 0))  # type: ignore[no-untyped-call]


@pytest.fixture
def balancer(balanced: Balanced, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Balancer]:
    running = Balancer(balanced, *request.param, tmp_path)
    try:
        running.wait_ready()
        yield running
    finally:
        running.close()


@needs_a_balancer
def test_policies_and_rates_see_the_clients_own_address(balancer: Balancer) -> None:
    """A header that the client sends itself changes nothing, nor does the balancer's address."""
    number = 10 + 2 * [*PROGRAMS].index(balancer.program) + MODES.index(balancer.mode)
    denied, busy, other = (f"127.0.{number}.{last}" for last in (2, 3, 4))
    with Person(balancer.cluster) as owner:
        bucket = f"balanced-{number}"
        assert owner.ask("POST", "/buckets", json={"name": bucket}).status_code == 201
        owner.put("a", b"content", bucket=bucket)
    _set_policy(balancer.cluster, bucket, denied)
    path = f"/files/{bucket}/a"
    assert [balancer.get(source, path) for source in (other, denied)] == [200, 403]
    assert balancer.get(denied, path, **{"X-Forwarded-For": other}) == 403
    assert balancer.get(other, path, **{"X-Forwarded-For": denied}) == 200
    answers = [balancer.get(busy, f"/files/{bucket}") for _ in range(2 * LIST_LIMIT + 1)]
    assert (answers[0], answers[-1]) == (200, 429)
    assert balancer.get(busy, f"/files/{bucket}", **{"X-Forwarded-For": other}) == 429
    assert balancer.get(other, f"/files/{bucket}") == 200


def _set_policy(cluster: ClusterHarness, bucket: str, denied: str) -> None:
    resource = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    everybody = {"Principal": "*", "Resource": resource, "Action": ["s3:GetObject", "s3:ListBucket"]}
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", **everybody},
            {"Effect": "Deny", **everybody, "Condition": {"IpAddress": {"aws:SourceIp": denied}}},
        ],
    }
    s3 = boto3.client(
        "s3",
        endpoint_url=cluster.proxy_urls[0],
        aws_access_key_id=cluster.admin["s3_access_key"],
        aws_secret_access_key=cluster.admin["s3_secret_key"],
        region_name="us-east-1",
        verify=str(cluster.ca_file),
        config=Config(s3={"addressing_style": "path"}),
    )
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    s3.close()


class Traffic:
    """People who write files and read them back, each request on a new connection, until `stop`."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._stopped = threading.Event()
        self.done, self.written = 0, dict[str, bytes]()
        self.failures: list[tuple[float, str]] = []
        """When each began, and what it was."""
        self._guard = threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(WORKERS)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int = AFTERWARDS) -> None:
        """Until `count` more requests have succeeded."""
        target = self.done + count
        wait_until(lambda: self.done >= target, what=f"{count} more requests")

    def _work(self, number: int) -> None:
        folder = f"/files/files/{self._balancer.program}-{self._balancer.mode}/{number}"
        turn = 0
        while not self._stopped.is_set():
            turn += 1
            content = os.urandom(100_000)
            if self._succeeds("PUT", f"{folder}-{turn}", content):
                self.written[f"{folder}-{turn}"] = content
            for path in [*self.written][-1:]:
                self._succeeds("GET", path, self.written[path])

    def _succeeds(self, method: str, path: str, content: bytes) -> bool:
        url = f"{self._balancer.url}/api/v1{path}"
        problem, begun = "", time.monotonic()
        try:
            with self._balancer.session("127.0.0.1") as session:
                answer = session.request(method, url, data=content if method == "PUT" else None, timeout=60)
            if answer.status_code not in (200, 201):
                problem = f"{answer.status_code} {answer.text[:200]}"
            elif method == "GET" and answer.content != content:
                problem = "other content"
        except requests.RequestException as error:
            problem = repr(error)
        with self._guard:
            self.done += not problem
            if problem:
                self.failures.append((begun, f"{method} {path}: {problem}"))
        return not problem


@needs_a_balancer
def test_a_killed_proxy_costs_only_the_requests_that_it_had(balancer: Balancer) -> None:
    """Whoever asks afterwards is answered by the other one, and everything acknowledged is there."""
    with Traffic(balancer) as traffic:
        traffic.wait_for_more()
        balancer.cluster.kill("client_proxy", 1)
        traffic.wait_for_more(2 * WORKERS)
        noticed = time.monotonic()
        traffic.wait_for_more()
        balancer.balanced.start(1)
        traffic.wait_for_more()
    assert [failure for begun, failure in traffic.failures if begun > noticed] == []
    assert len(traffic.failures) <= 2 * WORKERS, traffic.failures
    with Person(balancer.cluster, proxy=2, token=balancer.balanced.token) as reader:
        for path, content in traffic.written.items():
            assert reader.ask("GET", path).content == content


@needs_a_balancer
def test_a_drained_proxy_stops_without_an_error_for_anybody(balancer: Balancer) -> None:
    """As docs/operations.md says: drain it at the balancer, restart it, and let it serve again."""
    with Traffic(balancer) as traffic:
        traffic.wait_for_more()
        balancer.drain(1)
        balancer.cluster.terminate("client_proxy", 1)
        traffic.wait_for_more()
        balancer.balanced.start(1)
        balancer.undrain(1)
        traffic.wait_for_more()
    assert traffic.failures == []


def test_a_configuration_names_the_health_page_and_verifies_the_proxies() -> None:
    """HAProxy asks `/health`; wherever a balancer begins TLS of its own, it verifies the proxy."""
    for file in (ROOT / "deploy" / "haproxy").glob("*.cfg"):
        text = file.read_text()
        assert "uri /health" in text
        assert "verify required" in text
        assert text.count("verifyhost") == 2
    assert "proxy_ssl_verify on" in (ROOT / "deploy" / "nginx" / "reencrypt.conf").read_text()
