"""Every query of Grafana's boards returns data from a real Prometheus that scraped a live cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from botocore.config import Config

from tests import ROOT
from tests.cluster.cluster_harness import ClusterHarness
from tests.fakes.lasting_ports import lasting_ports
from tests.waiting import wait_until

PROMETHEUS = shutil.which("prometheus")
BOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus (Debian's package) is not installed")


@pytest.fixture(scope="module")
def prometheus(shared_cluster: ClusterHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus with our rules that has scraped every program twice while people worked."""
    folder = tmp_path_factory.mktemp("prometheus")
    port = lasting_ports(1)[0]
    (folder / "prometheus.yml").write_text(json.dumps(_configuration(shared_cluster, folder)))
    assert PROMETHEUS is not None
    command = [PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_until(lambda: _is_ready(url), what="Prometheus")
            _work(shared_cluster)
            wait_until(lambda: _scrapes(url) >= 12, what="two scrapes of each program")
            _work(shared_cluster)
            before = _scrapes(url)
            wait_until(lambda: _scrapes(url) >= before + 12, what="two more scrapes of each program")
            yield url
        finally:
            process.terminate()


def _configuration(cluster: ClusterHarness, folder: Path) -> dict[str, Any]:
    servers = [urlsplit(one.url).netloc for one in cluster.programs if one.program != "client_proxy"]
    proxies = [urlsplit(url).netloc for url in cluster.proxy_urls]
    own = cluster.folder.certs_dir / "file_server-1"
    tls = {"ca_file": str(cluster.ca_file), "cert_file": f"{own}/cert.pem", "key_file": f"{own}/key.pem"}
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "deploy" / "prometheus" / "alerts.yml")],
        "scrape_configs": [
            {
                "job_name": "lockstep-servers",
                "scheme": "https",
                "tls_config": tls,
                "static_configs": [{"targets": servers}],
            },
            {
                "job_name": "lockstep-proxies",
                "scheme": "https",
                "tls_config": {"ca_file": str(cluster.ca_file)},
                "authorization": {"credentials": cluster.admin_key},
                "static_configs": [{"targets": proxies}],
            },
        ],
    }


def _work(cluster: ClusterHarness) -> None:
    """What people and programs do in a minute: write, read, lock, and use every door."""
    url = cluster.proxy_urls[0]
    session = cluster.session()
    session.put(f"{url}/api/v1/files/files/board.txt", data=b"content", timeout=60).raise_for_status()
    session.get(f"{url}/api/v1/files/files/board.txt", timeout=60).raise_for_status()
    lock = session.post(f"{url}/api/v1/locks", json={"paths": ["files/board.txt"]}, timeout=60)
    lock.raise_for_status()
    session.delete(f"{url}/api/v1/locks/{lock.json()['lock']['id']}", timeout=60).raise_for_status()
    person = (cluster.admin["username"], cluster.admin["api_key"])
    session.get(f"{url}/dav/files/board.txt", auth=person, timeout=60).raise_for_status()
    session.get(f"{url}/lfs/files/board/locks", auth=person, timeout=60).raise_for_status()
    s3 = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=cluster.admin["s3_access_key"],
        aws_secret_access_key=cluster.admin["s3_secret_key"],
        region_name="us-east-1",
        verify=str(cluster.ca_file),
        config=Config(s3={"addressing_style": "path"}),
    )
    s3.put_object(Bucket="files", Key="board-s3.txt", Body=b"content")
    s3.close()
    session.close()


def _query(url: str, text: str) -> list[dict[str, Any]]:
    reply = requests.get(f"{url}/api/v1/query", params={"query": text}, timeout=60).json()
    assert reply["status"] == "success", f"{text}: {reply}"
    result: list[dict[str, Any]] = reply["data"]["result"]
    return result


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=60).status_code == 200
    except requests.ConnectionError:
        return False


def _scrapes(url: str) -> int:
    """How many successful scrapes there were, if every program was scraped."""
    counts = _query(url, 'sum by (instance) (sum_over_time(up{job=~"lockstep.*"}[1h]))')
    return sum(int(one["value"][1]) for one in counts) if len(counts) == 6 else 0


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_every_query_of_a_board_returns_data(board: Path, prometheus: str) -> None:
    """A board that shows nothing would be noticed on the worst day."""
    queries = [target["expr"] for panel in json.loads(board.read_text())["panels"] for target in panel["targets"]]
    assert len(queries) >= 4

    for text in queries:
        wait_until(partial(_query, prometheus, text), what=f"data for {text}")


def test_no_alert_fires_in_a_healthy_cluster(prometheus: str) -> None:
    """The rules are loaded, evaluate without an error, and find nothing."""
    groups = requests.get(f"{prometheus}/api/v1/rules", timeout=60).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 12
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []
