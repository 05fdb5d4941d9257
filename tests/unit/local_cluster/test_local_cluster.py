"""The cluster command's rules and its dealings with processes, folders and failed starts; no real programs."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cluster.actions import Cluster, folder_for
from local_cluster.cli import main
from local_cluster.environment import Environment, last_line
from local_cluster.failures import AlreadyRunning, Interrupted, NotHealthy, PortBusy, UnsuitableFolder
from local_cluster.foreground import StopSignals, input_is_for_menu
from local_cluster.lifecycle import check_ports, start_programs, stop_programs
from local_cluster.plan import ClusterSettings, Folder, ProgramPlan, plan_programs
from local_cluster.processes import end_processes, is_running, last_lines, process_mark, spawn
from local_cluster.records import (
    RunLock,
    RunRecord,
    load_records,
    load_settings,
    save_cluster_file,
    save_record,
    save_settings,
)
from local_cluster.reset import check_folder, remove, what_would_go
from tests import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    data = tmp_path / "data"
    data.mkdir()
    return Folder(data, data / "certs")


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = spawn([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "child.log")
    yield process
    process.kill()
    process.wait()


class Silent:
    """A progress display that only remembers."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def healthy(self, name: str) -> None:
        self.names.append(name)

    def tick(self, faults: dict[str, str]) -> None:
        pass


# ---- plan ---------------------------------------------------------------------------------------------------------


def test_the_default_cluster_has_the_documented_ports() -> None:
    """Without options: proxies 5000 and 5010, directory 5050, file servers 5060, 5070, 5080."""
    assert ClusterSettings().ports() == [
        ("directory_server", "1", 5050),
        ("file_server", "1", 5060),
        ("file_server", "2", 5070),
        ("file_server", "3", 5080),
        ("client_proxy", "1", 5000),
        ("client_proxy", "2", 5010),
    ]


def test_no_two_programs_share_a_port_in_a_cluster_of_any_size() -> None:
    """Proxies beyond the fifth come after the last file server, so ports never collide."""
    for proxies in (1, 5, 6, 64):
        for file_servers in (1, 2, 64):
            ports = [
                port for _, _, port in ClusterSettings(proxies=proxies, file_servers=file_servers, copies=1).ports()
            ]
            assert len(set(ports)) == len(ports)
    sixth = ClusterSettings(proxies=6).ports()[-1]
    assert sixth == ("client_proxy", "6", 5090)


def test_the_base_port_shifts_every_port() -> None:
    """--base-port moves all ports by the same amount."""
    shift = [
        new - old
        for (*_, new), (*_, old) in zip(ClusterSettings(base_port=7123).ports(), ClusterSettings().ports(), strict=True)
    ]
    assert set(shift) == {2123}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ClusterSettings(file_servers=1), "--copies 1"),
        (ClusterSettings(base_port=65500), "65535"),
    ],
)
def test_an_impossible_cluster_is_refused_with_what_to_do(settings: ClusterSettings, words: str) -> None:
    """More copies than file servers, or ports above the last one, are refused before anything happens."""
    assert words in settings.fault()


def test_every_program_gets_its_own_folder_and_log(folder: Folder) -> None:
    """No two programs write to the same place, and everything is inside the data folder."""
    plans = plan_programs(ClusterSettings(), folder)
    places = [plan.data_dir for plan in plans] + [plan.log_file for plan in plans]
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to(folder.data) for place in places)


def test_only_the_default_cluster_uses_the_checkouts_certificates(tmp_path: Path) -> None:
    """Another --data has its own trust in DIR/certs, so that clusters cannot be mistaken for one another."""
    assert folder_for(None) == Folder(ROOT / ".cluster", ROOT / "certs")
    assert folder_for(ROOT / ".cluster").certs_dir == ROOT / "certs"
    assert folder_for(tmp_path).certs_dir == tmp_path / "certs"


# ---- processes ----------------------------------------------------------------------------------------------------


def test_a_process_is_known_by_more_than_its_id(child: subprocess.Popen[bytes]) -> None:
    """A process id that belongs to somebody else by now is not taken for ours."""
    mark = process_mark(child.pid)
    assert is_running(child.pid, mark)
    assert not is_running(child.pid, mark + "0")
    assert not is_running(os.getpid(), mark)


def test_a_process_that_only_waits_to_be_reaped_is_gone(child: subprocess.Popen[bytes]) -> None:
    """A zombie does not count as running, because whoever adopts it in a container may never reap it."""
    mark = process_mark(child.pid)
    child.kill()
    deadline = time.monotonic() + 60
    while is_running(child.pid, mark):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert child.returncode is None


def test_a_stranger_with_a_recycled_id_is_never_signalled(child: subprocess.Popen[bytes]) -> None:
    """Ending processes by a mark that does not fit leaves the process with that id alone."""
    assert end_processes([(child.pid, "an older process")], 0.5) == []
    assert child.poll() is None


def test_a_paused_process_ends_without_force(child: subprocess.Popen[bytes]) -> None:
    """A program that was paused hears the request to stop too."""
    os.kill(child.pid, signal.SIGSTOP)
    assert end_processes([(child.pid, process_mark(child.pid))], 60, child.poll) == []
    assert child.returncode == -signal.SIGTERM


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    """SIGTERM is given a bounded time, then SIGKILL ends the process."""
    log = tmp_path / "deaf.log"
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    deaf = spawn([sys.executable, "-c", code], log)
    deadline = time.monotonic() + 60
    while last_lines(log) != ["deaf"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert end_processes([(deaf.pid, process_mark(deaf.pid))], 0.3, deaf.poll) == [deaf.pid]
    assert deaf.wait(60) == -signal.SIGKILL


def test_only_the_lines_of_this_start_are_shown(tmp_path: Path) -> None:
    """The last lines of a log leave out what an earlier start wrote."""
    log = tmp_path / "some.log"
    log.write_text("old\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.writelines(f"new {number}\n" for number in range(20))
    assert last_lines(log, start, 2) == ["new 18", "new 19"]
    assert last_lines(log, start, 100)[0] == "new 0"
    assert last_lines(tmp_path / "none.log") == []


# ---- failed starts ------------------------------------------------------------------------------------------------


def _plan(folder: Folder, id: str, code: str) -> ProgramPlan:
    command = (sys.executable, "-c", code)
    return ProgramPlan(
        "file_server", id, 1, folder.data_dir("file_server", id), folder.log_file("file_server", id), command
    )


def _running(folder: Folder) -> list[int]:
    return [record.pid for record in load_records(folder) if record.running]


def test_a_program_that_ends_early_stops_the_start_with_its_last_words(folder: Folder) -> None:
    """One program's early end stops all others, and the message has its exit code and its last log lines."""
    healthy = _plan(folder, "1", "import time; time.sleep(600)")
    ill = _plan(folder, "2", "import sys; sys.exit('the disk is on fire')")
    pids: list[int] = []

    def interrupted() -> bool:
        pids[:] = pids or [record.pid for record in load_records(folder)]
        return False

    with pytest.raises(NotHealthy) as failure:
        start_programs([healthy, ill], folder, Silent(), wait_seconds=120, interrupted=interrupted)
    assert "file_server 2 ended with exit code 1" in str(failure.value)
    assert "the disk is on fire" in str(failure.value)
    assert len(pids) == 2
    assert not any(process_mark(pid) for pid in pids)
    assert load_records(folder) == []
    assert not folder.cluster_file.exists()


def test_a_program_that_never_becomes_healthy_ends_the_wait(folder: Folder) -> None:
    """The wait is bounded: it names who is late and why, and leaves nothing running."""
    late = _plan(folder, "1", "import time; print('looking for the key', flush=True); time.sleep(600)")
    started = time.monotonic()
    with pytest.raises(NotHealthy, match=r"not healthy within 8 s.*file_server 1 is not listening yet"):
        start_programs([late], folder, Silent(), wait_seconds=8)
    assert time.monotonic() - started < 60
    assert load_records(folder) == []


def test_an_interrupted_start_leaves_nothing_running(folder: Folder) -> None:
    """Ctrl-C while the programs start stops them all."""
    plans = [_plan(folder, str(number), "import time; time.sleep(600)") for number in (1, 2)]
    with pytest.raises(Interrupted):
        start_programs(plans, folder, Silent(), wait_seconds=120, interrupted=lambda: bool(_running(folder)))
    assert load_records(folder) == []


def test_a_busy_port_is_named_before_anything_starts(folder: Folder) -> None:
    """The message has the port, the program that wanted it, and the option that helps."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        base = other.getsockname()[1] - 50
        with pytest.raises(PortBusy, match=rf"port {base + 50} \(directory_server 1\).*--base-port"):
            check_ports(plan_programs(ClusterSettings(base_port=base), folder)[:1])


def test_what_a_cut_start_left_is_stopped_by_the_next_stop(folder: Folder, child: subprocess.Popen[bytes]) -> None:
    """A start that was killed before cluster.json existed is known by its records, and a stale one is forgotten."""
    save_record(folder, _record(child.pid, process_mark(child.pid), "1"))
    save_record(folder, _record(child.pid, "a process of last week", "2"))
    assert stop_programs(folder, reap=child.poll) == 1
    assert child.returncode is not None
    assert load_records(folder) == []
    assert stop_programs(folder) == 0


def _record(pid: int, mark: str, id: str) -> RunRecord:
    return RunRecord("file_server", id, "https://127.0.0.1:1", pid, "/nowhere", "/nowhere.log", mark=mark)


# ---- files --------------------------------------------------------------------------------------------------------


def test_cluster_json_has_exactly_the_promised_keys(folder: Folder) -> None:
    """Tools read cluster.json, so neither a key may be missing nor internal ones leak into it."""
    save_cluster_file(folder, [_record(7, "mark", "1")])
    content = json.loads(folder.cluster_file.read_text())
    assert set(content) == {"ca_file", "admin_credentials_file", "programs"}
    assert set(content["programs"][0]) == {"program", "id", "url", "pid", "data_dir", "log_file"}
    assert [entry.name for entry in folder.data.iterdir()] == ["cluster.json"]


def test_the_next_start_resumes_the_shape_of_the_cluster(folder: Folder) -> None:
    """Numbers that are not given again keep their last value, so no file server with data is forgotten."""
    save_settings(folder, ClusterSettings(file_servers=5, copies=3, base_port=7000))
    settings = Cluster(folder)._settle({"proxies": 1})
    assert settings == ClusterSettings(file_servers=5, proxies=1, copies=3, base_port=7000)


def test_a_file_server_left_out_is_said(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """Starting fewer file servers than have data says which one stays away and how to bring it back."""
    for number in (1, 2, 3, 10):
        folder.data_dir("file_server", str(number)).mkdir()
    Cluster(folder)._settle({"file_servers": 3})
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


# ---- the command --------------------------------------------------------------------------------------------------


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


# ---- the shell part -----------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The shell part alone, in a folder whose name has a space, with no virtual environment."""
    root = tmp_path / "my checkout"
    (root / "local_cluster").mkdir(parents=True)
    for name in ("run_cluster.sh", "setup.cfg", "local_cluster/venv.sh", "local_cluster/environment.py"):
        shutil.copy(ROOT / name, root / name)
    return root


def _run(checkout: Path, tmp_path: Path, tools: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the script where only `tools` (name to script) and the few programs that it needs can be found."""
    bin = tmp_path / "bin"
    bin.mkdir()
    for name in ("bash", "dirname", "readlink"):
        (bin / name).symlink_to(shutil.which(name) or name)
    for name, script in tools.items():
        (bin / name).write_text(f"#!{bin}/bash\n{script}\n")
        (bin / name).chmod(0o755)
    command = [str(bin / "bash"), str(checkout / "run_cluster.sh"), "--data", "here and there"]
    return subprocess.run(command, env={"PATH": str(bin)}, cwd=tmp_path, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("tools", [{}, {"python3": "exit 1"}])
def test_without_a_usable_python_there_is_one_sentence(checkout: Path, tmp_path: Path, tools: dict[str, str]) -> None:
    """No Python, or only an old one: exit code 3, one line on standard error, nothing made."""
    ended = _run(checkout, tmp_path, tools)
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1
    assert "Python 3.11" in ended.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_cannot_make_environments_is_named(checkout: Path, tmp_path: Path) -> None:
    """A Python without venv or ensurepip, as some systems ship it, ends with what to install and code 3."""
    code = "import sys; sys.modules['ensurepip'] = None; import runpy; sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    python = f'[ "$1" = -c ] && exit 0\nexec "{sys.executable}" -c "{code}" "$@"'
    ended = _run(checkout, tmp_path, {"python3": python})
    assert ended.returncode == 3, ended.stderr
    assert "venv" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_ready_environment_is_used_at_once(checkout: Path, tmp_path: Path) -> None:
    """With an up-to-date stamp no Python is looked for and nothing installed; arguments arrive unharmed."""
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!{shutil.which("bash")}\nprintf "<%s>" "$@"')
    python.chmod(0o755)
    environment = Environment(checkout, "run")
    assert not environment.is_ready()
    (checkout / ".venv" / "lockstep-run.stamp").write_text(environment.wanted_stamp())
    assert environment.is_ready()
    ended = _run(checkout, tmp_path, {})
    assert ended.stdout == "<-P><-m><local_cluster><--data><here and there>", ended.stderr

    (checkout / "setup.cfg").write_text("changed")
    assert not environment.is_ready()
    (tmp_path / "again").mkdir()
    assert _run(checkout, tmp_path / "again", {}).returncode == 3, "changed dependencies need a Python to install"


def test_the_tests_environment_serves_for_running_but_not_the_reverse(checkout: Path) -> None:
    """An environment made for the tests has all that running needs; one made for running lacks the tests' tools."""
    run, dev = Environment(checkout, "run"), Environment(checkout, "dev")
    run.python.parent.mkdir(parents=True)
    run.python.symlink_to(sys.executable)
    (run.venv / "lockstep-run.stamp").write_text(run.wanted_stamp())
    assert run.is_ready()
    assert not dev.is_ready()
    (run.venv / "lockstep-run.stamp").rename(run.venv / "lockstep-dev.stamp")
    assert run.is_ready()
    assert dev.is_ready()


def test_two_preparations_wait_for_each_other(checkout: Path) -> None:
    """While one start makes .venv, another waits and then finds it ready instead of making it again."""
    descriptor = os.open(checkout, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    command = [sys.executable, str(ROOT / "local_cluster" / "environment.py"), str(checkout), "run"]
    second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert second.stderr is not None
    assert "Waiting for another start" in second.stderr.readline()
    environment = Environment(checkout, "run")
    environment.python.parent.mkdir(parents=True)
    environment.python.symlink_to(sys.executable)
    (environment.venv / "lockstep-run.stamp").write_text(environment.wanted_stamp())
    os.close(descriptor)
    rest = second.stderr.read()
    second.stderr.close()
    assert second.wait(60) == 0
    assert rest == ""


def test_the_installers_message_is_the_line_that_matters() -> None:
    """Of pages of output the sentence shows the installer's error line."""
    output = "Collecting flask\nERROR: no version fits\nERROR: No matching distribution found for flask.\nmore\n"
    assert last_line(output) == "No matching distribution found for flask"
    assert last_line("") == "no message"
