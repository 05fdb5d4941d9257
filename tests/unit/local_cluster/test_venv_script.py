"""The shell script that makes the environment."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local_cluster.environment import PIP_OPTIONS, Environment, InstallFailure, last_line, uv_variables
from tests import ROOT


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


@pytest.mark.parametrize(
    ("listed", "variables"),
    [
        ("", {}),
        (":env:.default-timeout='180'\nglobal.no-input='true'\n", {}),
        (
            "global.index-url='https://me:it%27s@packages.example/simple'",
            {"UV_DEFAULT_INDEX": "https://me:it%27s@packages.example/simple"},
        ),
        (
            ":env:.cert='/ca.pem'\n:env:.find-links='/wheels'\nglobal.cert='/ca.pem'",
            {"SSL_CERT_FILE": "/ca.pem", "UV_FIND_LINKS": "/wheels"},
        ),
        ("global.cert='/ca.pem'\nuser.cert='/other.pem'", None),
        ("global.extra-index-url='https://packages.example/simple'", None),
        ("install.constraint='pins.txt'", None),
        (":env:.find-links='/wheels /more'", None),
        ("global.no-index='true'", None),
        ("global.index-url=unquoted", None),
    ],
)
def test_uv_installs_only_what_pip_would(listed: str, variables: dict[str, str] | None) -> None:
    """Where pip is told to take packages from elsewhere, uv is told the same, or pip installs."""
    assert uv_variables(listed) == variables


def test_pip_installs_where_there_is_no_uv(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A machine for which uv cannot be had installs with pip; its words are shown when that fails too."""
    environment = Environment(checkout, "run")
    environment.python.parent.mkdir(parents=True)
    calls = checkout / "calls"
    environment.python.write_text(
        f"""#!{shutil.which("bash")}
        case "$*" in
            *config*) ;;
            -c*) ;;
            *only-binary*) echo "ERROR: No matching distribution found for uv"; exit 1 ;;
            *editable*)
                echo "$*" >>"{calls}"
                [ ! -e "{checkout}/offline" ] || {{ echo "ERROR: no network"; exit 1; }}
                ;;
        esac
        """
    )
    environment.python.chmod(0o755)
    (checkout / "offline").touch()
    with pytest.raises(InstallFailure, match="could not be installed: no network"):
        environment.prepare()
    assert not environment.is_ready()
    (checkout / "offline").unlink()
    environment.prepare()
    assert environment.is_ready()
    assert calls.read_text().splitlines() == [f"-m pip install {' '.join(PIP_OPTIONS)} --editable {checkout}"] * 2
    assert "with pip ... done" in capfd.readouterr().err
