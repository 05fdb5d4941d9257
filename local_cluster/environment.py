"""Creates or updates the checkout's virtual environment. The shell scripts run it with the system's Python.

It uses only the standard library, because nothing is installed yet, and no other module imports it. Of two starts at
once, one waits for the other. The stamp is written last, so a start that was cut short is repeated.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

EXIT_NO_PYTHON = 3
EXIT_NOT_INSTALLED = 4
PIP_OPTIONS = ("--disable-pip-version-check", "--no-input", "--quiet")


class InstallFailure(Exception):
    """One sentence for the user, and the exit code."""

    def __init__(self, sentence: str, exit_code: int = EXIT_NOT_INSTALLED) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class Environment:
    """The `.venv` of one checkout. `kind` is `run`, or `dev` with the tests' tools as well."""

    def __init__(self, root: Path, kind: str) -> None:
        self.root = root
        self.kind = kind
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self.log = self.venv / "install.log"

    def wanted_stamp(self) -> str:
        """Return the content of an up-to-date stamp: the place and the dependencies. venv.sh compares the same text."""
        return f"{self.root}\n{(self.root / 'setup.cfg').read_text()}"

    def is_ready(self) -> bool:
        """Whether `.venv` is up to date. One of kind `dev` also has everything of kind `run`."""
        kinds = ("dev",) if self.kind == "dev" else ("run", "dev")
        wanted = self.wanted_stamp().rstrip("\n")
        stamps = [self._stamp(kind) for kind in kinds]
        return os.access(self.python, os.X_OK) and any(
            stamp.exists() and stamp.read_text().rstrip("\n") == wanted for stamp in stamps
        )

    def _stamp(self, kind: str) -> Path:
        return self.venv / f"lockstep-{kind}.stamp"

    def prepare(self) -> None:
        """Create or update `.venv`; raises InstallFailure."""
        with self._one_at_a_time():
            if self.is_ready():
                return
            if not self._has_pip():
                self._make()
            self._install()

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        # This locks the checkout itself: a lock file inside .venv would be removed when .venv is rebuilt.
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Waiting for another start that is preparing .venv ...")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _has_pip(self) -> bool:
        if not os.access(self.python, os.X_OK):
            return False
        check = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
        return subprocess.run([self.python, "-c", check], capture_output=True, check=False).returncode == 0

    def _make(self) -> None:
        version = ".".join(map(str, sys.version_info[:3]))
        command = [sys.executable, "-m", "venv", "--clear", str(self.venv)]
        code, output = run_visibly(f"Creating .venv with Python {version}", command)
        if code:
            raise InstallFailure(
                f"{sys.executable} could not create the virtual environment: {last_line(output)}. "
                "On Debian and Ubuntu: apt install python3-venv",
                EXIT_NO_PYTHON,
            )

    def _install(self) -> None:
        self._stamp(self.kind).unlink(missing_ok=True)
        target = f"{self.root}[dev]" if self.kind == "dev" else str(self.root)
        command = [str(self.python), "-m", "pip", "install", *PIP_OPTIONS, "--editable", target]
        what = "Lockstep, its libraries and the tests' tools" if self.kind == "dev" else "Lockstep and its libraries"
        code, output = run_visibly(f"Installing {what} into .venv (once)", command)
        self.log.write_text(output)
        if code:
            raise InstallFailure(
                f"the libraries could not be installed: {last_line(output)}. "
                f"Check the network or the package registry, then start again; the full log is {self.log}"
            )
        self._stamp(self.kind).write_text(self.wanted_stamp())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run_visibly(what: str, command: Sequence[str]) -> tuple[int, str]:
    """Run `command` under a progress line on standard error; return its exit code and its output."""
    started = time.monotonic()
    done = threading.Event()
    live = sys.stderr.isatty()
    if not live:
        say(f"{what} ...")

    def draw() -> None:
        while live and not done.wait(0.5):
            print(f"\r{what} ... {time.monotonic() - started:.0f} s", end="", file=sys.stderr, flush=True)

    drawer = threading.Thread(target=draw, daemon=True)
    drawer.start()
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    finally:
        done.set()
        drawer.join()
    result = "done" if ended.returncode == 0 else "failed"
    say(f"{chr(13) if live else ''}{what} ... {result} in {time.monotonic() - started:.0f} s")
    return ended.returncode, ended.stdout


def last_line(output: str) -> str:
    """Return the line that names the fault: pip's last ERROR line, otherwise the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no message"])[-1].rstrip(".")


def main(root: str, kind: str) -> int:
    """Prepare `.venv` in the checkout `root` and return the exit code."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        say(
            f"{sys.executable} cannot create virtual environments ({error}). "
            f"On Debian and Ubuntu: apt install python3.{sys.version_info.minor}-venv"
        )
        return EXIT_NO_PYTHON
    try:
        Environment(Path(root), kind).prepare()
    except InstallFailure as error:
        say(f"Lockstep: {error}")
        return error.exit_code
    except OSError as error:
        say(f"Lockstep: cannot prepare .venv in {root} ({error}): check the disk and its permissions")
        return EXIT_NOT_INSTALLED
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
