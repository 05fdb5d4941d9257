"""Creates or updates the checkout's virtual environment. The shell scripts run it with the system's Python.

It uses only the standard library, because nothing is installed yet, and no other module imports it. Of two starts at
once, one waits for the other. The stamp is written last, so a start that was cut short is repeated.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

EXIT_NO_PYTHON = 3
EXIT_NOT_INSTALLED = 4
PIP_OPTIONS = ("--disable-pip-version-check", "--no-input", "--quiet")

# uv takes a fifth of pip's time, but ignores pip's settings: these are passed on to it.
UV_VARIABLES = {"index-url": "UV_DEFAULT_INDEX", "find-links": "UV_FIND_LINKS", "cert": "SSL_CERT_FILE"}
# These change how pip works, not what it installs.
PIPS_OWN = {
    *("break-system-packages", "cache-dir", "default-timeout", "disable-pip-version-check", "no-cache-dir", "no-color"),
    *("no-input", "no-warn-script-location", "progress-bar", "quiet", "require-virtualenv", "retries"),
    *("root-user-action", "timeout", "user", "verbose"),
}


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
        code, output = run_visibly(f"Creating .venv with Python {version}", [command])
        if code:
            raise InstallFailure(
                f"{sys.executable} could not create the virtual environment: {last_line(output)}. "
                "On Debian and Ubuntu: apt install python3-venv",
                EXIT_NO_PYTHON,
            )

    def _install(self) -> None:
        self._stamp(self.kind).unlink(missing_ok=True)
        target = f"{self.root}[dev]" if self.kind == "dev" else str(self.root)
        what = "Lockstep, its libraries and the tests' tools" if self.kind == "dev" else "Lockstep and its libraries"
        what = f"Installing {what} into .venv (once)"
        pip = [str(self.python), "-m", "pip"]
        listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False).stdout
        variables = uv_variables(listed)
        code, output = 1, ""
        if variables is not None:
            uv = self.venv / "bin" / "uv"
            get = [*pip, "install", *PIP_OPTIONS, "--only-binary", "uv", "uv"]
            install = [str(uv), "pip", "install", "--quiet", "--python", str(self.python), "--editable", target]
            code, output = run_visibly(what, [install] if uv.exists() else [get, install], variables)
        if code:  # also where there is no uv for this machine
            code, more = run_visibly(f"{what} with pip", [[*pip, "install", *PIP_OPTIONS, "--editable", target]])
            output += more
        self.log.write_text(output)
        if code:
            raise InstallFailure(
                f"the libraries could not be installed: {last_line(output)}. "
                f"Check the network or the package registry, then start again; the full log is {self.log}"
            )
        self._stamp(self.kind).write_text(self.wanted_stamp())


def uv_variables(listed: str) -> dict[str, str] | None:
    """Turn pip's settings, as `pip config list` prints them, into variables for uv.

    Return None if uv cannot follow one of them: it could take packages from a source that pip must not use.
    """
    variables: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, printed = line.partition("=")
        name = name.rpartition(".")[2]
        if name in PIPS_OWN:
            continue
        variable = UV_VARIABLES.get(name)
        try:
            value = str(ast.literal_eval(printed))
        except (ValueError, SyntaxError):
            return None
        if variable is None or len(value.split()) != 1 or variables.setdefault(variable, value) != value:
            return None
    return variables


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run_visibly(
    what: str, commands: Sequence[Sequence[str]], variables: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run `commands` until one fails, under a progress line on standard error.

    `variables` join the environment. Returns the last exit code and all output.
    """
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
    code, output = 0, ""
    try:
        for command in commands:
            ended = subprocess.run(
                command,
                env={**os.environ, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
            code, output = ended.returncode, output + ended.stdout
            if code:
                break
    finally:
        done.set()
        drawer.join()
    result = "failed" if code else "done"
    say(f"{chr(13) if live else ''}{what} ... {result} in {time.monotonic() - started:.0f} s")
    return code, output


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
