"""The cluster command's rules and its dealings with processes, folders and failed starts; no real programs."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local_cluster.actions import Cluster
from local_cluster.cli import main
from local_cluster.failures import AlreadyRunning, UnsuitableFolder
from local_cluster.foreground import StopSignals, input_is_for_menu
from local_cluster.health import HealthProbe
from local_cluster.plan import ClusterSettings, Folder
from local_cluster.records import (
    RunLock,
    load_settings,
    save_cluster_file,
    save_settings,
)
from local_cluster.reset import check_folder, remove, what_would_go
from lockstep_store.wire.cluster_file import ProgramEntry
from tests import ROOT
from tests.unit.local_cluster.programs import record_of


def test_cluster_json_has_exactly_the_promised_keys(folder: Folder) -> None:
    """Tools read cluster.json, so neither a key may be missing nor internal ones leak into it."""
    save_cluster_file(folder, [record_of(7, "mark", "1")])
    content = json.loads(folder.cluster_file.read_text())
    assert set(content) == {"ca_file", "admin_credentials_file", "programs"}
    assert set(content["programs"][0]) == {"program", "id", "url", "pid", "data_dir", "log_file"}
    assert [entry.name for entry in folder.data.iterdir()] == ["cluster.json"]


def test_the_next_start_resumes_the_shape_of_the_cluster(folder: Folder) -> None:
    """Numbers that are not given again keep their last value, so no file server with data is forgotten."""
    save_settings(folder, ClusterSettings(file_servers=5, copies=3, base_port=7000))
    settings = Cluster(folder, 0o022)._settle({"proxies": 1})
    assert settings == ClusterSettings(file_servers=5, proxies=1, copies=3, base_port=7000)


def test_a_file_server_left_out_is_said(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """Starting fewer file servers than have data says which one stays away and how to bring it back."""
    for number in (1, 2, 3, 10):
        folder.data_dir("file_server", str(number)).mkdir()
    Cluster(folder, 0o022)._settle({"file_servers": 3})
    assert "File server 10 has data" in capsys.readouterr().err


def test_settings_that_cannot_be_read_are_refused(folder: Folder) -> None:
    """A damaged or newer settings file ends with a sentence instead of a cluster of another shape."""
    folder.settings_file.write_text("{")
    with pytest.raises(UnsuitableFolder, match=r"settings\.json"):
        load_settings(folder)
    folder.settings_file.write_text('{"format": 2}')
    with pytest.raises(UnsuitableFolder, match="newer"):
        load_settings(folder)


def test_two_commands_cannot_have_the_same_cluster(folder: Folder) -> None:
    """The second start of a data folder is refused at once and names the process that has it."""
    with RunLock(folder).held():
        with pytest.raises(AlreadyRunning, match=str(os.getpid())):
            with RunLock(folder).held():
                pass
        assert RunLock(folder).holder() == os.getpid()
    assert RunLock(folder).holder() == 0
    with RunLock(folder).held():
        pass


def test_a_folder_with_things_of_others_is_refused(folder: Folder) -> None:
    """A --data that has something under our names, and no cluster's settings, is not touched."""
    foreign = folder.data / "directory_server"
    foreign.mkdir()
    check_folder(folder)
    (foreign / "__init__.py").write_text("")
    with pytest.raises(UnsuitableFolder, match="directory_server"):
        check_folder(folder)
    assert what_would_go(folder) == []


def test_a_reset_removes_only_what_is_ours(folder: Folder, tmp_path: Path) -> None:
    """Data, certificates and logs go; other files, local_storage and what a link points at stay."""
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "gold").write_text("gold")
    ours = ["directory_server/db", "file_server-1/chunk", "certs/ca.pem", "certs/authority/ca.key"]
    ours += ["certs/file_server-1/key.pem", "certs/.authority.lock", "certs/.storage-keys.json.lock"]
    ours += ["certs/revoked.pem", "certs/.revoked.lock"]
    ours += ["logs/file_server-1.log", "cluster.json", "admin-credentials.json"]
    theirs = ["certs/README.md", "logs/mine.log", "local_storage/draft", "file_server-x/notes", "thesis.txt"]
    for name in ours + theirs:
        (folder.data / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.data / name).write_text(name)
    (folder.data / "client_proxy-1").symlink_to(treasure)
    save_settings(folder, ClusterSettings())

    remove(folder)
    assert [name for name in ours if (folder.data / name).exists()] == []
    assert [name for name in theirs if not (folder.data / name).exists()] == []
    assert not (folder.data / "client_proxy-1").is_symlink()
    assert (treasure / "gold").read_text() == "gold"
    remove(folder)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--copies", "4"], 2, "--file-servers 4"),
        (["--stop", "--status"], 2, "only one"),
        (["--yes"], 2, "--reset"),
        (["--detach", "--stop"], 2, "--stop"),
        (["--menu", "x"], 2, "number of a proxy"),
        (["--file-servers", "0"], 2, "0"),
        (["--status"], 8, "no cluster is running"),
        (["--menu", "3", "--proxies", "2"], 8, "no proxy 3"),
    ],
)
def test_a_wrong_command_ends_with_a_sentence_and_its_code(
    arguments: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind of failure has its own exit code and says what to do, without a traceback."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        assert main([*arguments, "--data", str(tmp_path / "data")]) == code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_an_empty_name_of_the_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a script's unset variable, and not the current folder."""
    assert main(["--reset", "--yes", "--data", ""]) == 2
    assert "the folder's name is empty" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_installs_nothing(option: str, tmp_path: Path) -> None:
    """The help appears without Python, without libraries and without a virtual environment."""
    (tmp_path / "local_cluster").mkdir()
    for name in ("run_cluster.sh", "local_cluster/venv.sh", "local_cluster/help.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("cat", "dirname", "readlink"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    bash = shutil.which("bash") or ""
    command = [bash, str(tmp_path / "run_cluster.sh"), "--detach", option]
    ended = subprocess.run(command, env={"PATH": str(tools)}, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (ROOT / "local_cluster" / "help.txt").read_text()
    assert not (tmp_path / ".venv").exists()


def test_the_stored_help_is_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m local_cluster --help > local_cluster/help.txt` was run after the last change of an option."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == (ROOT / "local_cluster" / "help.txt").read_text()


def test_stopping_what_does_not_run_succeeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--stop can be repeated, and makes no folder."""
    assert main(["--stop", "--data", str(tmp_path / "data")]) == 0
    assert "No cluster is running" in capsys.readouterr().out
    assert not (tmp_path / "data").exists()


def test_a_reset_asks_first(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a yes nothing is removed, and nobody to ask counts as no."""
    save_settings(folder, ClusterSettings())
    for answer in ("n\n", ""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        assert main(["--reset", "--data", str(folder.data)]) == 11
        assert folder.settings_file.exists()
    assert main(["--reset", "--yes", "--data", str(folder.data)]) == 0
    assert not folder.data.exists()


def test_the_menu_reads_pipes_and_files_but_not_the_null_device(tmp_path: Path) -> None:
    """Input that can bring requests opens the menu; /dev/null and a terminal that is not ours do not."""
    reader, writer = os.pipe()
    parent, terminal = pty.openpty()
    null = os.open(os.devnull, os.O_RDONLY)
    (tmp_path / "requests").write_text("1\n")
    file = os.open(tmp_path / "requests", os.O_RDONLY)
    try:
        assert input_is_for_menu(reader)
        assert input_is_for_menu(file)
        assert not input_is_for_menu(null)
        assert not input_is_for_menu(terminal), "a terminal of which we are not the foreground"
    finally:
        for descriptor in (reader, writer, parent, terminal, null, file):
            os.close(descriptor)
    assert not input_is_for_menu(reader), "closed"


def test_a_signal_is_remembered_and_not_raised() -> None:
    """Ctrl-C and SIGTERM set a flag, so that no step of a start is cut in the middle."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    signals = StopSignals()
    try:
        signals.install()
        assert not signals.came()
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.came()
        assert not signals.came_except_interrupt()
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.came_except_interrupt()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_first_start_looks_like_one_until_the_directory_has_run(folder: Folder) -> None:
    """The health probe leaves the directory's certificate to the directory, which makes it after its metadata."""
    entry = ProgramEntry("directory_server", "1", "https://127.0.0.1:1")
    assert HealthProbe(folder).fault(entry) == "is not listening yet"
    assert not list(folder.certs_dir.glob("directory_server-*"))
