"""Unmodified WebDAV clients on a real cluster, over HTTPS: litmus, rclone, cadaver and davfs2."""

from __future__ import annotations

import os
import pty
import random
import re
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import requests

from tests.cluster.cluster_harness import ClusterHarness
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster

SECONDS = 120.0
LITMUS = {"basic": 16, "copymove": 13, "props": 30, "locks": 41, "http": 3}
"""The suites, and how many tests of each must pass. One of `http` is skipped over TLS."""


class Dav:
    """A bucket at the WebDAV door of a proxy."""

    def __init__(self, cluster: ClusterHarness, bucket: str, proxy: int = 1) -> None:
        self.url = f"{cluster.proxy_urls[proxy - 1]}/dav/{bucket}"
        self.ca_file = cluster.ca_file
        self.name, self.password, self.key = (cluster.admin[one] for one in ("username", "password", "api_key"))

    def ask(self, method: str, path: str = "", body: bytes = b"", **headers: str) -> requests.Response:
        return requests.request(
            method,
            self.url + path,
            data=body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            auth=(self.name, self.key),
            verify=str(self.ca_file),
            timeout=60,
        )


@pytest.fixture
def dav(shared_cluster: ClusterHarness, request: pytest.FixtureRequest) -> Dav:
    """A new bucket of the test's own."""
    found = Dav(shared_cluster, "dav-" + re.sub("[^a-z0-9]+", "-", request.node.name).strip("-")[-40:])
    assert found.ask("MKCOL").status_code == 201
    return found


def _need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (.ci/run installs it)")


def _run(command: list[str], home: Path) -> str:
    ended = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"},
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, f"{command[0]} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.mark.parametrize("suite", LITMUS)
def test_litmus_passes(dav: Dav, tmp_path: Path, suite: str) -> None:
    """Every test of every suite, with the account's password."""
    _need("litmus")
    program = Path("/usr/libexec/litmus") / suite
    if not program.exists():
        pytest.skip("litmus has its suites in another place here")
    command = [str(program), "--htdocs", "/usr/share/litmus/htdocs", f"{dav.url}/", dav.name, dav.password]
    said = _run(command, tmp_path)
    summary = f"of {LITMUS[suite]} tests run: {LITMUS[suite]} passed, 0 failed"
    assert summary in said, said


def test_rclone_keeps_a_folder_in_step(dav: Dav, tmp_path: Path, seed: int) -> None:
    _need("rclone")
    source, back = tmp_path / "source", tmp_path / "back"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "big.bin").write_bytes(random.Random(seed).randbytes(9_000_000))
    (source / "empty").write_bytes(b"")
    (source / "deep" / "er" / "odd name #1 100% é&'.txt").write_text("odd")
    hidden = _run(["rclone", "obscure", dav.key], tmp_path).strip()
    (tmp_path / "rclone.conf").write_text(
        f"[dav]\ntype = webdav\nvendor = other\nurl = {dav.url}\nuser = {dav.name}\npass = {hidden}\n"
    )
    rclone = ["rclone", "--config", str(tmp_path / "rclone.conf"), "--ca-cert", str(dav.ca_file), "--quiet"]
    _run([*rclone, "sync", str(source), "dav:copy"], tmp_path)
    _run([*rclone, "check", "--download", str(source), "dav:copy"], tmp_path)
    _run([*rclone, "moveto", "dav:copy/deep", "dav:copy/moved"], tmp_path)
    _run([*rclone, "sync", "dav:copy", str(back)], tmp_path)
    assert (back / "moved" / "er" / "odd name #1 100% é&'.txt").read_text() == "odd"
    assert (back / "big.bin").read_bytes() == (source / "big.bin").read_bytes()
    _run([*rclone, "purge", "dav:copy"], tmp_path)
    assert dav.ask("PROPFIND", "/copy", Depth="0").status_code == 404


class Terminal:
    """A program on a terminal of its own, as it asks there about certificates and passwords."""

    def __init__(self, command: list[str], home: Path) -> None:
        self._shown = b""
        leader, follower = pty.openpty()
        self._terminal = leader
        self._program = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "dumb"},
            cwd=home,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )
        os.close(follower)

    def until(self, text: str) -> str:
        """What it shows until `text`."""
        while text.encode() not in self._shown:
            ready, _, _ = select.select([self._terminal], [], [], 60)
            assert ready, f"waiting for {text!r}: {self._shown!r}"
            try:
                piece = os.read(self._terminal, 4096)
            except OSError:
                piece = b""
            assert piece, f"it ended before {text!r}: {self._shown!r}"
            self._shown += piece
        before, _, self._shown = self._shown.partition(text.encode())
        return before.decode("utf-8", "replace")

    def type(self, line: str) -> None:
        os.write(self._terminal, line.encode() + b"\n")

    def close(self) -> None:
        if self._program.poll() is None:
            self._program.kill()
        self._program.wait(60)
        os.close(self._terminal)


def test_cadaver_edits_under_a_lock(dav: Dav, shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """The lock that it takes is one of the cluster's, and refuses everybody else."""
    _need("cadaver")
    (tmp_path / "plan.txt").write_text("the plan")
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine 127.0.0.1\nlogin {dav.name}\npassword {dav.key}\n")
    netrc.chmod(0o600)
    terminal = Terminal(["cadaver", f"{dav.url}/"], tmp_path)

    def do(line: str, expected: str = "succeeded.") -> None:
        terminal.until("/> ")
        terminal.type(line)
        terminal.until(expected)

    try:
        terminal.until("(y/n)")
        terminal.type("y")
        do("put plan.txt")
        do("lock plan.txt")
        with shared_cluster.session() as session:
            locks = session.get(f"{shared_cluster.proxy_urls[1]}/api/v1/locks").json()["locks"]
        (lock,) = (one for one in locks if one["paths"][0]["bucket"] == dav.url.rpartition("/")[2])
        assert lock["account"] == dav.name
        assert dav.ask("PUT", "/plan.txt", b"x").status_code == 423
        do("put plan.txt")
        do("unlock plan.txt")
        do("mkcol sub")
        do("move plan.txt sub/plan.txt")
        do("propset sub/plan.txt color red")
        do("propget sub/plan.txt color", "Value of color is: red")
        do("copy sub copied")
        do("rmcol sub")
        terminal.until("/> ")
        terminal.type("quit")
    finally:
        terminal.close()
    assert dav.ask("GET", "/copied/plan.txt").text == "the plan"


@contextmanager
def _mounted(dav: Dav, home: Path) -> Iterator[Path]:
    """The bucket as a folder with davfs2. Skips the test where this machine lets nobody mount."""
    _need("mount.davfs")
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("davfs2 needs root and /dev/fuse here")
    home.chmod(0o755)
    place, config, known = home / "mounted", home / "davfs2.conf", home / "secrets"
    place.mkdir()
    (home / "cache").mkdir()
    (home / "cache").chmod(0o777)  # it writes there as a user of its own
    known.write_text(f"{dav.url} {dav.name} {dav.key}\n")
    known.chmod(0o600)
    authority = home / "ca.pem"
    shutil.copy(dav.ca_file, authority)
    config.write_text(
        f"trust_ca_cert {authority}\nsecrets {known}\ncache_dir {home / 'cache'}\nbuf_size 64\nask_auth 0\n"
        "use_locks 1\ndelay_upload 0\n"
    )
    config.chmod(0o600)
    if not all(folder.stat().st_mode & 0o001 for folder in home.parents):
        pytest.skip("davfs2 reads the certificate as a user of its own, who cannot get there")
    ended = subprocess.run(
        ["mount.davfs", "-o", f"conf={config}", dav.url, str(place)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if ended.returncode != 0 or not place.is_mount():
        said = ended.stdout + ended.stderr
        if "ermission" in said or "not permitted" in said or "No such device" in said or "fuse" in said.lower():
            pytest.skip(f"this machine does not let davfs2 mount: {said.strip()[-200:]}")
        pytest.fail(f"davfs2 did not mount: {said}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=False, capture_output=True, timeout=SECONDS)


def test_davfs2_is_a_folder(dav: Dav) -> None:
    """Files are written, renamed right after they were made, replaced by renaming, and deleted."""
    with TemporaryDirectory() as home, _mounted(dav, Path(home)) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "new.txt").write_text("one")
        (folder / "sub" / "new.txt").rename(folder / "sub" / "plan.txt")
        (folder / "sub" / ".plan.tmp").write_text("two")
        (folder / "sub" / ".plan.tmp").rename(folder / "sub" / "plan.txt")
        assert (folder / "sub" / "plan.txt").read_text() == "two"
        (folder / "gone.txt").write_text("x")
        (folder / "gone.txt").unlink()
        wait_until(lambda: dav.ask("GET", "/sub/plan.txt").text == "two", 60.0, "the upload")
    assert dav.ask("GET", "/gone.txt").status_code == 404
    assert dav.ask("PUT", "/sub/plan.txt", b"free").status_code == 204
