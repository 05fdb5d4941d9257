"""One command runs it: the promises of run_cluster.sh, each shown on real programs."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from local_cluster.processes import end_processes, process_mark, send, spawn
from local_cluster.records import save_record
from tests import ROOT
from tests.cluster.cluster_harness import ClusterHarness, run_cluster
from tests.cluster.conftest import MakeCluster
from tests.waiting import wait_until


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ports(cluster: ClusterHarness) -> list[int]:
    return [int(one.url.rpartition(":")[2]) for one in cluster.programs]


def _put(cluster: ClusterHarness, path: str, content: bytes) -> None:
    reply = cluster.session().put(f"{cluster.proxy_urls[0]}/api/v1/files/files/{path}", data=content, timeout=60)
    assert reply.status_code in (200, 201), reply.text


def _until_all_are_healthy(cluster: ClusterHarness) -> str:
    """What --status prints when it exits with 0. Programs that a busy machine keeps from answering within three
    seconds are asked again."""

    def status() -> str:
        ended = run_cluster("--data", cluster.data, "--status")
        return ended.stdout if ended.returncode == 0 else ""

    return wait_until(status, what="a healthy status")


def _get(cluster: ClusterHarness, path: str, proxy: int = 1) -> bytes:
    reply = cluster.session().get(f"{cluster.proxy_urls[proxy - 1]}/api/v1/files/files/{path}", timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.content


# ---- a cluster that runs ------------------------------------------------------------------------------------------


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
        assert _listens(int(one["url"].rpartition(":")[2]))
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


def test_the_status_shows_every_program_and_its_health(shared_cluster: ClusterHarness) -> None:
    """--status prints one line for each program and exits with 0 when all are healthy."""
    shown = _until_all_are_healthy(shared_cluster)
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
    _until_all_are_healthy(shared_cluster)


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
    _until_all_are_healthy(shared_cluster)
    assert run_cluster("--data", shared_cluster.data, "--menu", "9").returncode == 8


# ---- starting and stopping ----------------------------------------------------------------------------------------


def test_data_survives_a_restart(make_cluster: MakeCluster) -> None:
    """What was written before a stop is read after the next start, through the same ports."""
    cluster = make_cluster()
    content = os.urandom(300_000)
    _put(cluster, "kept.bin", content)
    ports = _ports(cluster)
    pids = [one.pid for one in cluster.programs]

    assert cluster.command("--stop").returncode == 0
    assert not any(process_mark(pid) for pid in pids)
    assert not any(_listens(port) for port in ports)
    assert not cluster.folder.cluster_file.exists()
    again = run_cluster("--data", cluster.data, "--stop")
    assert (again.returncode, again.stdout.startswith("No cluster is running")) == (0, True)
    assert run_cluster("--data", cluster.data, "--status").returncode == 8

    ended = _run([str(ROOT / "run_cluster.sh"), "--data", str(cluster.data), "--detach"], cluster)
    assert ended.returncode == 0, ended.stderr
    assert _ports(cluster) == ports, "the cluster comes back with the shape that it had"
    assert _get(cluster, "kept.bin", proxy=2) == content


def test_without_a_terminal_it_stays_until_told_to_stop(make_cluster: MakeCluster) -> None:
    """With nobody to type, the command stays in front; SIGTERM and SIGINT stop everything with exit code 0."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1, start_now=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        with _Foreground(cluster, stdin=subprocess.DEVNULL) as command:
            wait_until(cluster.folder.cluster_file.exists, what="the start")
            pids = [one.pid for one in cluster.programs]
            assert command.poll() is None
            assert "run_cluster.sh" in run_cluster("--data", cluster.data, "--detach").stderr
            command.send_signal(number)
            assert command.wait(60) == 0
            assert len(pids) == 3
            assert not any(process_mark(pid) for pid in pids)


def test_stop_ends_a_cluster_that_stands_in_front_elsewhere(make_cluster: MakeCluster) -> None:
    """--stop from another terminal also ends the command that stands in front of the cluster."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1, start_now=False)
    with _Foreground(cluster, stdin=subprocess.DEVNULL) as command:
        wait_until(cluster.folder.cluster_file.exists, what="the start")
        assert run_cluster("--data", cluster.data, "--stop").returncode == 0
        assert command.wait(60) == 0
        assert cluster.programs == []


def test_the_menus_end_is_the_clusters_end(make_cluster: MakeCluster) -> None:
    """With a pipe for input the menu reads it, and its end stops everything."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1, start_now=False)
    ended = cluster.command(input="")
    assert "Menu on proxy 1" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    assert cluster.programs == []
    assert not _listens(cluster.ports.base)


def test_ctrl_c_in_the_menu_on_a_terminal_stops_everything(make_cluster: MakeCluster) -> None:
    """On a terminal the menu opens on the first proxy, and Ctrl-C at its prompt leaves nothing running."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1, start_now=False)
    person, terminal = pty.openpty()
    command = [sys.executable, "-P", "-m", "local_cluster", *cluster.arguments]
    process = subprocess.Popen(
        [sys.executable, "-c", _OWN_TERMINAL, *command],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=cluster.env,
    )
    os.close(terminal)
    shown = b""
    try:
        deadline, pressed = time.monotonic() + 200, False
        while process.poll() is None:
            assert time.monotonic() < deadline, shown.decode("utf-8", "replace")
            if select.select([person], [], [], 0.5)[0]:
                with contextlib.suppress(OSError):  # the terminal's other end is gone
                    shown += os.read(person, 65536)
            if not pressed and b"User name" in shown:  # once: a second one would hit a program that is at its end
                pressed = os.write(person, b"\x03") == 1
        assert process.returncode == 0, shown.decode("utf-8", "replace")
        assert b"Traceback" not in shown
        assert cluster.programs == []
    finally:
        process.kill()
        process.wait()
        os.close(person)


# Makes the terminal on standard input the new session's own, so that Ctrl-C typed there becomes a signal.
_OWN_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class _Foreground:
    """The cluster command in front of its cluster, ended whatever happens."""

    def __init__(self, cluster: ClusterHarness, stdin: int) -> None:
        command = [sys.executable, "-P", "-m", "local_cluster", *cluster.arguments]
        self.process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=cluster.env
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


# ---- what earlier starts may have left ----------------------------------------------------------------------------


def test_what_a_killed_command_left_is_cleaned_up(make_cluster: MakeCluster) -> None:
    """When the command is killed in the middle of a start, the next start stops what it left and succeeds."""
    cluster = make_cluster(file_servers=2, proxies=1, start_now=False)
    with _Foreground(cluster, stdin=subprocess.DEVNULL) as command:
        wait_until(lambda: len(cluster.programs) >= 2, what="the first programs")
        command.kill()
        command.wait()
    left = [one.pid for one in cluster.programs if one.running]
    assert left, "the command was killed after the start had begun"
    cluster.start_all()
    assert not any(process_mark(pid) for pid in left)
    _until_all_are_healthy(cluster)


def test_a_dead_program_is_seen_and_the_next_start_repairs_it(make_cluster: MakeCluster) -> None:
    """After a program was killed, --status names it with code 9, and starting again makes all healthy."""
    cluster = make_cluster(file_servers=2, proxies=1)
    _put(cluster, "kept.txt", b"kept")
    cluster.kill("file_server", 2)
    ended = run_cluster("--data", cluster.data, "--status")
    assert ended.returncode == 9
    assert "file_server 2" in ended.stderr
    cluster.start_all()
    _until_all_are_healthy(cluster)
    assert _get(cluster, "kept.txt") == b"kept"


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


def test_a_program_that_cannot_start_ends_the_command_with_its_reason(make_cluster: MakeCluster) -> None:
    """A program that refuses to start gives code 7 and its own words, and nothing is left running."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1)
    cluster.stop()
    (cluster.data / "file_server-1").rename(cluster.data / "kept")
    (cluster.data / "file_server-1").write_text("a file where the file server's folder should be")
    ended = cluster.command("--detach")
    assert ended.returncode == 7
    assert "file_server 1 ended with exit code" in ended.stderr
    assert f"Last lines of {cluster.folder.log_file('file_server', '1')}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert cluster.programs == []
    assert not any(_listens(cluster.ports.base + offset) for offset in (0, 50, 60))


# ---- changing and removing ----------------------------------------------------------------------------------------


def test_the_shape_of_a_cluster_can_change_between_starts(make_cluster: MakeCluster) -> None:
    """More file servers join, fewer are said, and the files stay readable; unsaid numbers stay as they were."""
    cluster = make_cluster(file_servers=2, proxies=1, copies=2)
    _put(cluster, "a.txt", b"two copies")
    cluster.stop()
    cluster.start_all(file_servers=3)
    assert len(cluster.file_server_urls) == 3
    _put(cluster, "b.txt", b"three file servers")
    cluster.stop()
    ended = run_cluster("--data", cluster.data, "--file-servers", "2", "--detach")
    assert ended.returncode == 0, ended.stderr
    assert "File server 3 has data" in ended.stderr
    assert len(cluster.file_server_urls) == 2
    assert len(cluster.proxy_urls) == 1
    assert _get(cluster, "a.txt") == b"two copies"
    assert _get(cluster, "b.txt") == b"three file servers"


def test_a_reset_removes_the_cluster_and_nothing_else(make_cluster: MakeCluster) -> None:
    """--reset stops the cluster and removes its data and trust; the next start is a new, empty cluster."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1)
    _put(cluster, "gone.txt", b"gone")
    old_key, old_ca = cluster.admin_key, cluster.ca_file.read_text()
    (cluster.data / "local_storage").mkdir()
    (cluster.data / "local_storage" / "draft.txt").write_text("mine")
    pids = [one.pid for one in cluster.programs]

    refused = run_cluster("--data", cluster.data, "--reset")
    assert refused.returncode == 11
    _until_all_are_healthy(cluster)

    assert run_cluster("--data", cluster.data, "--reset", "--yes").returncode == 0
    assert not any(process_mark(pid) for pid in pids)
    assert [entry.name for entry in cluster.data.iterdir()] == ["local_storage"]
    assert (cluster.data / "local_storage" / "draft.txt").read_text() == "mine"

    cluster.start_all()
    assert cluster.ca_file.read_text() != old_ca
    assert cluster.admin_key != old_key
    url = f"{cluster.proxy_urls[0]}/api/v1/files/files/gone.txt"
    assert cluster.session().get(url, timeout=60).status_code == 404


# ---- each program alone, and a second machine ---------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs that a test starts by hand; all are ended afterwards."""
    programs: list[subprocess.Popen[bytes]] = []
    yield programs
    marks = [(one.pid, process_mark(one.pid)) for one in programs if one.poll() is None]
    end_processes(marks, 15.0, lambda: [one.poll() for one in programs])
    for one in programs:
        one.wait()


def test_each_program_starts_alone(make_cluster: MakeCluster, alone: list[subprocess.Popen[bytes]]) -> None:
    """Three commands by hand, as on three machines with one certs folder, make a working cluster."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1, start_now=False)
    base, data, certs = cluster.ports.base, cluster.data, cluster.folder.certs_dir
    directory = f"https://127.0.0.1:{base + 50}"
    where = ["--certs", str(certs)]
    commands = {
        "directory_server": ["--port", str(base + 50), "--copies", "1"],
        "file_server": ["--id", "1", "--port", str(base + 60), "--directory", directory],
        "client_proxy": ["--id", "1", "--port", str(base), "--directory", directory],
    }
    commands["directory_server"] += ["--admin-credentials", str(cluster.folder.credentials_file)]
    data.mkdir()
    for program, options in commands.items():
        command = [sys.executable, "-P", "-m", program, *options, *where, "--data", str(data / program)]
        alone.append(spawn(command, cluster.folder.log_dir / f"{program}.log", cluster.env))
        wait_until(cluster.ca_file.exists, what="the authority")
    session_url = f"https://127.0.0.1:{base}/api/v1"

    def healthy() -> bool:
        assert all(one.poll() is None for one in alone), cluster.log_tails()
        if not (_listens(base) and cluster.folder.credentials_file.exists()):
            return False
        answer = cluster.session().get(f"{session_url}/cluster", timeout=60)
        if answer.status_code == 503:  # its peers are not there yet
            return False
        return [one["state"] for one in answer.json()["file_servers"]] == ["up"]

    wait_until(healthy, what="a cluster that can store files")
    put = cluster.session().put(f"{session_url}/files/files/by-hand.txt", data=b"by hand", timeout=60)
    assert put.status_code == 201, put.text
    assert cluster.session().get(f"{session_url}/files/files/by-hand.txt", timeout=60).content == b"by hand"


def _run(command: Sequence[str | Path], cluster: ClusterHarness) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=cluster.env,
        timeout=240,
    )


def test_a_second_machine_joins_with_a_token(
    make_cluster: MakeCluster, alone: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """A file server with an empty certs folder joins by one command with a one-time token, and holds files."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1)
    api = f"{cluster.proxy_urls[0]}/api/v1"
    lockstep = [sys.executable, "-P", "-m", "lockstep_store.client.cli"]
    cluster.env |= {"LOCKSTEP_API_KEY": cluster.admin_key, "LOCKSTEP_CONFIG_DIR": str(tmp_path / "config")}
    token = _run([*lockstep, "--url", cluster.proxy_urls[0], "--ca", str(cluster.ca_file), "invite", "--json"], cluster)
    assert token.returncode == 0, token.stderr

    del cluster.env["LOCKSTEP_API_KEY"]  # the token alone carries the trust
    other_certs = tmp_path / "other machine" / "certs"
    join = [*lockstep, "join", json.loads(token.stdout)["token"], "--role", "file-server", "--id", "2"]
    joined = subprocess.run(
        [*join, "--certs", other_certs], capture_output=True, text=True, check=False, env=cluster.env
    )
    assert joined.returncode == 0, joined.stderr
    assert not (other_certs / "authority").exists(), "the authority's key never leaves the directory's machine"
    again = _run([*join, "--certs", tmp_path / "third"], cluster)
    assert again.returncode != 0, "a token works once"

    port = cluster.ports.base + 70
    options = ["--id", "2", "--port", str(port), "--directory", cluster.directory_url]
    options += ["--certs", str(other_certs), "--data", str(tmp_path / "other machine" / "data")]
    alone.append(spawn([sys.executable, "-P", "-m", "file_server", *options], tmp_path / "file_server-2.log"))

    def both_up() -> bool:
        assert alone[0].poll() is None, (tmp_path / "file_server-2.log").read_text()
        reply = cluster.session().get(f"{api}/cluster", timeout=60).json()
        return [one["state"] for one in reply["file_servers"]] == ["up", "up"]

    wait_until(both_up, what="the second file server")


def test_stopping_answers_those_who_wait_for_a_lock(cluster: ClusterHarness) -> None:
    """A long wait for a lock does not hold up the end of the cluster, and is answered with its place."""
    waiting = threading.Event()
    answers: list[int] = []

    def wait() -> None:
        with cluster.session() as session:
            waiting.set()
            body = {"paths": ["files/x"], "wait_seconds": 30, "client": "two"}
            answers.append(session.post(f"{cluster.proxy_urls[0]}/api/v1/locks", json=body, timeout=60).status_code)

    with cluster.session() as session:
        answer = session.post(f"{cluster.proxy_urls[0]}/api/v1/locks", json={"paths": ["files/x"], "client": "one"})
        assert answer.status_code == 200
        thread = threading.Thread(target=wait)
        thread.start()
        waiting.wait(60)
        locks = f"{cluster.proxy_urls[1]}/api/v1/locks"
        wait_until(lambda: session.get(locks, timeout=60).json()["waiters"], what="a place in line")
    assert cluster.command("--stop").returncode == 0
    thread.join(60)
    assert answers == [202], "had the wait gone on, the program would have been killed in it"
