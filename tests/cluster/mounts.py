"""Mounted folders for tests, unmounted whatever happens, with no process left behind."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lockstep_store.client.mount import kernel
from lockstep_store.wire.errors import SetupError
from tests.cluster.cluster_harness import ClusterHarness
from tests.waiting import PATIENCE_SECONDS, wait_until

TRIAL = """
import sys, mfusepy
class Empty(mfusepy.Operations):
    use_ns = True
mfusepy.FUSE(Empty(), sys.argv[1], foreground=True)
"""
COMMAND_SECONDS = PROGRAM_SECONDS = 120.0


def need_fuse() -> None:
    """Skip the test where folders cannot be mounted."""
    reason = _why_not()
    if reason:
        pytest.skip(reason)


@cache
def _why_not() -> str:
    """Why folders cannot be mounted here, found out by mounting an empty one; nothing if they can."""
    try:
        kernel.check_usable()
    except SetupError as error:
        return f"{error} (.ci/run installs what is missing)"
    if not any(map(shutil.which, kernel.UNMOUNTERS)):
        return "fusermount is not installed (.ci/run installs it)"
    with TemporaryDirectory() as folder:
        trial = subprocess.Popen([sys.executable, "-c", TRIAL, folder], stderr=subprocess.PIPE, text=True)
        try:
            wait_until(
                lambda: trial.poll() is not None or kernel.is_mounted(Path(folder)), what="a mount or its refusal"
            )
            if trial.poll() is None:
                kernel.unmount(Path(folder))
                return ""
        finally:
            trial.kill()
            said = trial.communicate()[1].strip().splitlines()
    return f"this machine refuses to mount folders ({said[0] if said else 'without a reason'})"


class Mounted:
    """A folder that `lockstep mount` serves from a proxy of a cluster. A context manager."""

    def __init__(
        self, cluster: ClusterHarness, home: Path, *words: str, proxy: int = 1, timeout: float = PATIENCE_SECONDS
    ) -> None:
        """`words` are the command's own, after the folder. `timeout`: its patience, long for a busy machine."""
        home.mkdir(exist_ok=True)
        self.folder = home / f"team-{proxy}"
        self.bucket = words[0].rstrip(":") if words else "files"
        self._words = (*words, "--timeout", str(timeout))
        self._home = home
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "LOCKSTEP_URL": cluster.proxy_urls[proxy - 1],
            "LOCKSTEP_CA": str(cluster.ca_file),
            "LOCKSTEP_API_KEY": cluster.admin_key,
        }

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a `lockstep` command as the person who mounts."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "lockstep_store.client.cli", *map(str, words)],
            env=self._environment,
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def mount(self) -> None:
        ended = self.run("mount", self.folder, *self._words)
        assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}\n{self.log()}"

    def unmount(self, *words: str) -> None:
        """Unmount, and wait for the end of the process that served the folder."""
        with self._until_its_process_has_ended():
            ended = self.run("unmount", self.folder, *words)
            assert ended.returncode == 0, ended.stderr

    def processes(self) -> list[int]:
        """The processes that serve the folder."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
            except OSError:  # it has just ended
                continue
            if b"--foreground" in words and os.fsencode(self.folder) in words:
                found.append(int(entry.name))
        return found

    def log(self) -> str:
        """What the mount's process has written."""
        return "".join(file.read_text() for file in self._home.glob(".cache/lockstep/*/log"))

    def kill(self) -> None:
        """End the process that serves the folder as a power failure would."""
        with self._until_its_process_has_ended() as handles:
            for handle in handles:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)

    @contextmanager
    def _until_its_process_has_ended(self) -> Iterator[list[int]]:
        """Give handles of the processes that serve the folder; wait at the end until none of them runs.

        A process that is ending loses its command line (`processes`) before its open files and locks.
        """
        handles = []
        for process in self.processes():
            with suppress(ProcessLookupError):
                handles.append(os.pidfd_open(process))
        try:
            yield handles
            for handle in handles:
                ended, _, _ = select.select([handle], [], [], PATIENCE_SECONDS)
                assert ended, f"the mount's process has not ended after {PATIENCE_SECONDS} s\n{self.log()}"
        finally:
            for handle in handles:
                os.close(handle)

    def __enter__(self) -> Mounted:
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        if kernel.is_mounted(self.folder):
            kernel.unmount(self.folder, detach=True)
        self.kill()


def writable(
    cluster: ClusterHarness,
    home: Path,
    bucket: str,
    proxy: int = 1,
    *words: str,
    timeout: float = PATIENCE_SECONDS,
) -> Mounted:
    """A writable mount of a bucket of the test's own, which is made if it does not exist."""
    mounted = Mounted(cluster, home, f"{bucket}:", "--writable", *words, proxy=proxy, timeout=timeout)
    mounted.run("buckets", "create", bucket)
    return mounted


def said(*command: str | Path, cwd: Path | None = None) -> str:
    """What a program prints; it must succeed."""
    ended = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False
    )
    assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def refusal(call: Callable[[], object]) -> int | None:
    """The number with which the system refuses a call."""
    with pytest.raises(OSError) as refused:
        call()
    return refused.value.errno
