"""Each program started alone, and a second machine that joins."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cluster.processes import end_processes, process_mark, spawn
from tests.cluster.cluster_command import listens, run_for
from tests.cluster.conftest import MakeCluster
from tests.waiting import wait_until


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
        if not (listens(base) and cluster.folder.credentials_file.exists()):
            return False
        answer = cluster.session().get(f"{session_url}/cluster", timeout=60)
        if answer.status_code == 503:  # its peers are not there yet
            return False
        return [one["state"] for one in answer.json()["file_servers"]] == ["up"]

    wait_until(healthy, what="a cluster that can store files")
    put = cluster.session().put(f"{session_url}/files/files/by-hand.txt", data=b"by hand", timeout=60)
    assert put.status_code == 201, put.text
    assert cluster.session().get(f"{session_url}/files/files/by-hand.txt", timeout=60).content == b"by hand"


@pytest.mark.parametrize(
    ("program", "code"),
    [("directory_server", 1), ("file_server", 1), ("client_proxy", 3)],
    ids=lambda value: str(value),
)
def test_a_program_that_cannot_use_its_certs_says_so_in_one_sentence(program: str, code: int, tmp_path: Path) -> None:
    """Without a traceback: a folder that is not one, for which it has no rights, or that is away."""
    (tmp_path / "file").write_text("where a folder should be")
    command = [sys.executable, "-P", "-m", program, "--data", tmp_path / "data", "--certs", tmp_path / "file" / "certs"]
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=240
    )
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert f"cannot use {tmp_path / 'file' / 'certs'}" in ended.stderr.splitlines()[-1]


def test_a_second_machine_joins_with_a_token(
    make_cluster: MakeCluster, alone: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """A file server with an empty certs folder joins by one command with a one-time token, and holds files."""
    cluster = make_cluster(file_servers=1, proxies=1, copies=1)
    api = f"{cluster.proxy_urls[0]}/api/v1"
    lockstep = [sys.executable, "-P", "-m", "lockstep_store.client.cli"]
    cluster.env |= {"LOCKSTEP_API_KEY": cluster.admin_key, "LOCKSTEP_CONFIG_DIR": str(tmp_path / "config")}
    token = run_for(
        [*lockstep, "--url", cluster.proxy_urls[0], "--ca", str(cluster.ca_file), "invite", "--json"], cluster
    )
    assert token.returncode == 0, token.stderr

    del cluster.env["LOCKSTEP_API_KEY"]  # the token alone carries the trust
    other_certs = tmp_path / "other machine" / "certs"
    join = [*lockstep, "join", json.loads(token.stdout)["token"], "--id", "2"]
    joined = subprocess.run(
        [*join, "--certs", other_certs], capture_output=True, text=True, check=False, env=cluster.env
    )
    assert joined.returncode == 0, joined.stderr
    assert not (other_certs / "authority").exists(), "the authority's key never leaves the directory's machine"
    again = run_for([*join, "--certs", tmp_path / "third"], cluster)
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
