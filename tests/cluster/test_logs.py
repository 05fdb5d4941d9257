"""The logs of a whole cluster: as JSON, and of bounded size although the supervisor only captures output."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.cluster.cluster_harness import run_cluster
from tests.cluster.conftest import MakeCluster
from tests.waiting import wait_until


def test_logs_are_json_and_begin_anew(make_cluster: MakeCluster) -> None:
    """Every line of every log is an object, also why a program ended; a log that is too long begins anew at once."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1, start_now=False)
    cluster.env |= {"LOCKSTEP_CLUSTER_LOG_FORMAT": "json", "LOCKSTEP_FILE_SERVER_LOG_BYTES": "16KiB"}
    cluster.env |= {"LOCKSTEP_CLUSTER_RESTART": "yes"}
    old = cluster.folder.log_file("file_server", "1")
    old.parent.mkdir(parents=True)
    old.write_text("an old line\n" * 2000)
    cluster.start_all()
    assert old.with_name(old.name + ".1").read_text() == "an old line\n" * 2000
    for program in ("directory_server", "file_server", "client_proxy"):
        entries = _entries(cluster.folder.log_file(program, "1"))
        assert {(entry["program"], entry["id"]) for entry in entries} == {(program, "1")}
        assert any(entry["message"].startswith("listening on https://") for entry in entries)

    # The reason of a program that cannot start is one of its lines, and the supervisor's log and --status quote it.
    record = cluster.record("file_server")
    (Path(record.data_dir) / "format").write_text("99\n")
    os.kill(record.pid, signal.SIGKILL)
    wait_until(lambda: any("format" in entry["message"] for entry in _entries(old)), what="its reason")
    assert any(entry["level"] == "critical" for entry in _entries(old))
    wait_until(
        lambda: "(file_server 1: " in run_cluster("--data", cluster.data, "--status").stdout,
        what="its reason in --status",
    )
    watch_log = cluster.folder.watch_log
    wait_until(lambda: any("1 ended with" in entry["message"] for entry in _entries(watch_log)), what="its end")


def _entries(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]
