"""One command runs it: the promises of run_cluster.sh, each shown on real programs."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from local_cluster.processes import process_mark, send, spawn
from local_cluster.records import save_record
from tests import ROOT
from tests.cluster.cluster_command import (
    Foreground,
    get_file,
    listens,
    ports_of,
    put_file,
    put_when_ready,
    run_for,
    until_all_are_healthy,
)
from tests.cluster.cluster_harness import ClusterHarness, run_cluster
from tests.cluster.conftest import MakeCluster
from tests.waiting import wait_until


def test_cluster_json_describes_the_running_cluster(shared_cluster: ClusterHarness) -> None:
    """cluster.json has exactly the promised keys, and every pid in it is a program that listens on its URL."""
    content = json.loads(shared_cluster.folder.cluster_file.read_text())
    assert set(content) == {"ca_file", "admin_credentials_file", "programs"}
    names = [(one["program"], one["id"]) for one in content["programs"]]
    assert names == [
        ("directory_server", "1"),
        ("file_server", "1"),
        ("file_server", "2"),
        ("file_server", "3"),
        ("client_proxy", "1"),
        ("client_proxy", "2"),
    ]
    for one in content["programs"]:
        assert set(one) == {"program", "id", "url", "pid", "data_dir", "log_file"}
        assert process_mark(one["pid"])
        assert Path(one["data_dir"]).is_dir()
        assert Path(one["log_file"]).stat().st_size > 0
        assert listens(int(one["url"].rpartition(":")[2]))
    assert Path(content["ca_file"]).read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_the_administrators_credentials_are_private_and_work(shared_cluster: ClusterHarness) -> None:
    """The credentials file is readable by its owner alone, and its API key and password are accepted."""
    file = Path(json.loads(shared_cluster.folder.cluster_file.read_text())["admin_credentials_file"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    admin = shared_cluster.admin
    assert set(admin) == {"username", "password", "api_key", "s3_access_key", "s3_secret_key"}
    url = shared_cluster.proxy_urls[0]
    me = shared_cluster.session().get(f"{url}/api/v1/auth/me", timeout=60)
    assert me.status_code == 200, me.text
    login = {"username": admin["username"], "password": admin["password"]}
    assert shared_cluster.session("").post(f"{url}/api/v1/auth/login", json=login, timeout=60).status_code == 200


def test_private_keys_are_private(shared_cluster: ClusterHarness) -> None:
    """No private key or peer token of the cluster can be read by anybody else on the machine."""
    secret = [
        file for file in shared_cluster.folder.certs_dir.rglob("*") if file.name.endswith((".key", "key.pem", ".token"))
    ]
    assert len(secret) >= 2 + 2 * 6
    assert [file for file in secret if stat.S_IMODE(file.stat().st_mode) & 0o077] == []


def test_other_users_of_the_machine_read_no_log_and_no_data(shared_cluster: ClusterHarness) -> None:
    """Every log, cluster.json and every program's data folder is closed to all but its owner."""
    content = json.loads(shared_cluster.folder.cluster_file.read_text())
    private = [shared_cluster.folder.cluster_file]
    for one in content["programs"]:
        private += [Path(one["data_dir"]), Path(one["log_file"])]
    modes = {str(path): stat.S_IMODE(path.stat().st_mode) & 0o077 for path in private}
    assert not any(modes.values()), modes


def test_the_status_shows_every_program_and_its_health(shared_cluster: ClusterHarness) -> None:
    """--status prints one line for each program and exits with 0 when all are healthy."""
    shown = until_all_are_healthy(shared_cluster)
    for one in shared_cluster.programs:
        line = next(line for line in shown.splitlines() if line.startswith(one.name))
        assert one.url in line
        assert str(one.pid) in line
        assert " healthy " in line


def test_a_second_start_is_refused_and_harms_nothing(shared_cluster: ClusterHarness) -> None:
    """Starting a cluster that runs ends with code 6 and one sentence, and the programs go on."""
    before = [one.pid for one in shared_cluster.programs]
    ended = shared_cluster.command("--detach")
    assert ended.returncode == 6
    assert ended.stderr.count("\n") == 1
    assert "already running" in ended.stderr
    assert [one.pid for one in shared_cluster.programs] == before
    until_all_are_healthy(shared_cluster)


def test_a_busy_port_is_found_before_anything_starts(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """A cluster on ports that another one uses ends with code 5, names a port, and starts nothing."""
    ended = run_cluster("--data", tmp_path / "other", "--base-port", str(shared_cluster.ports.base), "--detach")
    assert ended.returncode == 5
    assert f"port {shared_cluster.ports.base + 50} " in ended.stderr
    assert "--base-port" in ended.stderr
    assert not (tmp_path / "other" / "logs").exists()


def test_the_menu_opens_on_a_running_cluster_from_a_pipe(shared_cluster: ClusterHarness) -> None:
    """--menu 2 opens the menu on proxy 2, takes its input from a pipe, and leaves the cluster running."""
    ended = run_cluster("--data", shared_cluster.data, "--menu", "2", input="")
    assert "Traceback" not in ended.stdout + ended.stderr
    until_all_are_healthy(shared_cluster)
    assert run_cluster("--data", shared_cluster.data, "--menu", "9").returncode == 8


def test_what_the_menu_saves_has_the_modes_that_its_person_wants(
    shared_cluster: ClusterHarness, tmp_path: Path
) -> None:
    """The cluster's own files are closed to others; a download has the mode that the person's umask gives."""
    put_file(shared_cluster, "modes/shared.txt", b"for the whole team")
    requests = [
        shared_cluster.admin["username"],
        shared_cluster.admin["password"],
        "5 modes/shared.txt -> team/shared.txt",
        "10",
    ]
    ended = run_cluster(
        "--data",
        shared_cluster.data,
        "--menu",
        "1",
        input="".join(f"{line}\n" for line in requests),
        env={**os.environ, "LOCKSTEP_LOCAL_STORAGE": str(tmp_path)},
        umask=0o022,
    )
    saved = tmp_path / "team" / "shared.txt"
    assert saved.read_bytes() == b"for the whole team", ended.stdout
    assert (saved.parent.stat().st_mode & 0o777, saved.stat().st_mode & 0o777) == (0o755, 0o644)


def test_data_survives_a_restart(make_cluster: MakeCluster) -> None:
    """What was written before a stop is read after the next start, through the same ports."""
    cluster = make_cluster()
    content = os.urandom(300_000)
    put_file(cluster, "kept.bin", content)
    ports = ports_of(cluster)
    pids = [one.pid for one in cluster.programs]

    assert cluster.command("--stop").returncode == 0
    assert not any(process_mark(pid) for pid in pids)
    assert not any(listens(port) for port in ports)
    assert not cluster.folder.cluster_file.exists()
    again = run_cluster("--data", cluster.data, "--stop")
    assert (again.returncode, again.stdout.startswith("No cluster is running")) == (0, True)
    assert run_cluster("--data", cluster.data, "--status").returncode == 8

    ended = run_for([str(ROOT / "run_cluster.sh"), "--data", str(cluster.data), "--detach"], cluster)
    assert ended.returncode == 0, ended.stderr
    assert ports_of(cluster) == ports, "the cluster comes back with the shape that it had"
    assert get_file(cluster, "kept.bin", proxy=2) == content


def test_what_a_killed_command_left_is_completed(make_cluster: MakeCluster) -> None:
    """When the command is killed in the middle of a start, the next start starts the rest."""
    cluster = make_cluster(file_servers=2, proxies=1, start_now=False)
    with Foreground(cluster, stdin=subprocess.DEVNULL) as command:
        wait_until(lambda: len(cluster.programs) >= 2, what="the first programs")
        command.kill()
        command.wait()
    left = [one.pid for one in cluster.programs if one.running]
    assert left, "the command was killed after the start had begun"
    cluster.start_all()
    assert set(left) <= {one.pid for one in cluster.programs}
    until_all_are_healthy(cluster)


def test_a_dead_program_is_seen_and_the_next_start_starts_it_alone(make_cluster: MakeCluster) -> None:
    """After a program was killed, --status names it with code 9; starting again leaves the others running."""
    cluster = make_cluster(file_servers=2, proxies=1)
    put_file(cluster, "kept.txt", b"kept")
    before = {one.name: one.pid for one in cluster.programs}
    cluster.kill("file_server", 2)
    ended = run_cluster("--data", cluster.data, "--status")
    assert ended.returncode == 9
    assert "file_server 2: ended" in ended.stdout
    assert "--detach" in ended.stdout
    assert "file_server 2" in ended.stderr
    cluster.start_all()
    until_all_are_healthy(cluster)
    assert [name for name, pid in before.items() if cluster_pid(cluster, name) != pid] == ["file_server 2"]
    assert get_file(cluster, "kept.txt") == b"kept"


def cluster_pid(cluster: ClusterHarness, name: str) -> int:
    return next(one.pid for one in cluster.programs if one.name == name)


def test_a_stale_process_id_is_never_mistaken_for_a_program(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """When every program died and a stranger has one of their process ids, the stranger lives and a start succeeds."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1)
    records = cluster.programs
    for record in records:
        send(record.pid, record.mark, signal.SIGKILL)
    wait_until(lambda: not any(record.running for record in records), what="the end of all programs")
    stranger = spawn([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "stranger.log")
    try:
        records[0].pid = stranger.pid
        save_record(cluster.folder, records[0])
        assert run_cluster("--data", cluster.data, "--status").returncode == 8
        cluster.start_all()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_file_server_that_cannot_start_keeps_nothing_else_down(make_cluster: MakeCluster) -> None:
    """The command ends with code 9, the program's own words, and a cluster that works."""
    cluster = make_cluster(file_servers=2, proxies=1, copies=1)
    cluster.stop()
    (cluster.data / "file_server-1").rename(cluster.data / "kept")
    (cluster.data / "file_server-1").write_text("a file where the file server's folder should be")
    ended = cluster.command("--detach")
    assert ended.returncode == 9, ended.stderr
    assert "1 of 4 programs is not healthy" in ended.stderr
    assert "file_server 1: ended with exit code" in ended.stderr
    assert f"Last lines of {cluster.folder.log_file('file_server', '1')}" in ended.stderr
    assert "Traceback" not in ended.stderr
    put_when_ready(cluster, "a.txt", b"taken by the other one")
    (cluster.data / "file_server-1").unlink()
    (cluster.data / "kept").rename(cluster.data / "file_server-1")
    cluster.start_all()
    until_all_are_healthy(cluster)


def test_a_directory_that_cannot_start_ends_the_command_with_its_reason(make_cluster: MakeCluster) -> None:
    """Without a directory there is no cluster: code 7, its own words, and nothing is left running."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1)
    cluster.stop()
    (cluster.data / "directory_server").rename(cluster.data / "kept")
    (cluster.data / "directory_server").write_text("a file where the directory's folder should be")
    ended = cluster.command("--detach")
    assert ended.returncode == 7
    assert "directory_server 1 ended with exit code" in ended.stderr
    assert f"Last lines of {cluster.folder.log_file('directory_server', '1')}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert cluster.programs == []
    assert not any(listens(cluster.ports.base + offset) for offset in (0, 50, 60))


def test_the_shape_of_a_cluster_can_change_between_starts(make_cluster: MakeCluster) -> None:
    """More file servers join, fewer are said, and the files stay readable; unsaid numbers stay as they were."""
    cluster = make_cluster(file_servers=2, proxies=1, copies=2)
    put_file(cluster, "a.txt", b"two copies")
    cluster.stop()
    cluster.start_all(file_servers=3)
    assert len(cluster.file_server_urls) == 3
    put_file(cluster, "b.txt", b"three file servers")
    cluster.stop()
    ended = run_cluster("--data", cluster.data, "--file-servers", "2", "--detach")
    assert ended.returncode == 0, ended.stderr
    assert "File server 3 has data" in ended.stderr
    assert len(cluster.file_server_urls) == 2
    assert len(cluster.proxy_urls) == 1
    assert get_file(cluster, "a.txt") == b"two copies"
    assert get_file(cluster, "b.txt") == b"three file servers"


def test_a_reset_removes_the_cluster_and_nothing_else(make_cluster: MakeCluster) -> None:
    """--reset stops the cluster and removes its data and trust; the next start is a new, empty cluster."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1)
    put_file(cluster, "gone.txt", b"gone")
    old_key, old_ca = cluster.admin_key, cluster.ca_file.read_text()
    (cluster.data / "local_storage").mkdir()
    (cluster.data / "local_storage" / "draft.txt").write_text("mine")
    pids = [one.pid for one in cluster.programs]

    refused = run_cluster("--data", cluster.data, "--reset")
    assert refused.returncode == 11
    until_all_are_healthy(cluster)

    assert run_cluster("--data", cluster.data, "--reset", "--yes").returncode == 0
    assert not any(process_mark(pid) for pid in pids)
    assert [entry.name for entry in cluster.data.iterdir()] == ["local_storage"]
    assert (cluster.data / "local_storage" / "draft.txt").read_text() == "mine"

    cluster.start_all()
    assert cluster.ca_file.read_text() != old_ca
    assert cluster.admin_key != old_key
    url = f"{cluster.proxy_urls[0]}/api/v1/files/files/gone.txt"
    assert cluster.session().get(url, timeout=60).status_code == 404
