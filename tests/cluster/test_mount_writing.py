"""`lockstep mount --writable` on a real cluster: programs save through it; nothing is lost, or overwritten unseen."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.mounts import need_fuse, refusal, said, writable
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster

MIB = 1024 * 1024
COUNT = """
import errno, sys, time
path, times = sys.argv[1], int(sys.argv[2])
done = 0
while done < times:
    try:
        with open(path, "r+") as file:
            value = int(file.read())
            file.seek(0)
            file.write(str(value + 1))
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ESTALE):
            raise
        time.sleep(0.01)
    else:
        done += 1
"""
"""Adds one to the number in a file, again and again: refused is who finds it locked, or changed since it was opened."""


@pytest.fixture(autouse=True)
def _fuse() -> None:
    need_fuse()


def _changes(cluster: ClusterHarness, bucket: str) -> list[dict[str, Any]]:
    """Every version that was ever made in a bucket, in order."""
    reply = cluster.session().get(
        f"{cluster.proxy_urls[0]}/api/v1/changes", params={"bucket": bucket, "cursor": "0"}, timeout=60
    )
    found: list[dict[str, Any]] = reply.json()["changes"]
    return found


def _in_cluster(cluster: ClusterHarness, bucket: str, path: str, proxy: int = 1) -> bytes | None:
    url = f"{cluster.proxy_urls[proxy - 1]}/api/v1/files/{bucket}/{path}"
    reply = cluster.session().get(url, timeout=60)
    return reply.content if reply.status_code == 200 else None


def _unsaved(home: Path) -> list[Path]:
    return [path for path in home.glob(".local/state/lockstep/*/unsaved/**/*") if path.is_file()]


def test_programs_save_what_they_write(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """What a program wrote is in the cluster when it has closed the file; each save is one version, none is half."""
    with writable(shared_cluster, tmp_path, "mount-programs") as mounted:
        said("sh", "-c", "echo one > a && echo two >> a && sed -i s/one/first/ a", cwd=mounted.folder)
        assert _in_cluster(shared_cluster, "mount-programs", "a") == b"first\ntwo\n"
        made = [change for change in _changes(shared_cluster, "mount-programs") if change["path"] == "a"]
        assert [change["size"] for change in made] == [4, 8, 10]
        said("sh", "-c", "mkdir -p d/e && mv a d/e/b && cp d/e/b d/c && rm d/e/b && ls d/e", cwd=mounted.folder)
        assert (mounted.folder / "d" / "e").is_dir()
        assert _in_cluster(shared_cluster, "mount-programs", "d/c", proxy=2) == b"first\ntwo\n"
        said("sh", "-c", "rmdir d/e && truncate -s 3 d/c && : > empty && touch new", cwd=mounted.folder)
        assert (mounted.folder / "d" / "c").read_bytes() == b"fir"
        assert refusal((mounted.folder / "d").rmdir) == errno.ENOTEMPTY
        said("mv", "d", "moved", cwd=mounted.folder)
        wait_until(lambda: _in_cluster(shared_cluster, "mount-programs", "new") == b"", what="the empty file")
        assert sorted(said("find", ".", "-type", "f", cwd=mounted.folder).split()) == ["./empty", "./moved/c", "./new"]
        said("rm", "-r", "moved", cwd=mounted.folder)
        assert not (mounted.folder / "moved").exists()
        assert _unsaved(tmp_path) == []


def test_times_and_the_executable_bit_are_kept(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """Set while a file is written or later, and seen by another mount; no content is sent for them."""
    with (
        writable(shared_cluster, tmp_path, "mount-times") as first,
        writable(shared_cluster, tmp_path, "mount-times", 2) as second,
    ):
        script = first.folder / "run.sh"
        script.write_text("#!/bin/sh\necho ran\n")
        assert not os.access(script, os.X_OK)
        assert refusal(lambda: subprocess.run([script], check=False)) == errno.EACCES
        script.chmod(0o755)
        os.utime(script, ns=(1_600_000_000_000_000_007, 1_600_000_000_000_000_007))
        assert said(script) == "ran\n"
        for mounted in (first, second):
            seen = mounted.folder / "run.sh"
            wait_until(lambda seen=seen: seen.exists() and seen.stat().st_mtime_ns == 1_600_000_000_000_000_007)
            assert seen.stat().st_mode & 0o777 == 0o755
        assert os.access(script, os.X_OK)
        said("cp", "-p", script, first.folder / "copy.sh")
        assert (first.folder / "copy.sh").stat().st_mtime_ns == 1_600_000_000_000_000_007
        script.write_text("changed")
        assert script.stat().st_mtime_ns > 1_700_000_000_000_000_000


def test_git_works_in_the_folder(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """Its files are renamed, read back and compared by their times and numbers."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    with writable(shared_cluster, tmp_path, "mount-git") as mounted:
        git = ("git", "-c", "user.email=a@example.org", "-c", "user.name=ann", "-C", mounted.folder / "work")
        said("git", "init", "--quiet", "--initial-branch=main", mounted.folder / "work")
        for number in range(10):
            (mounted.folder / "work" / f"f{number}").write_text(str(number))
        said(*git, "add", ".")
        said(*git, "commit", "--quiet", "--message=one")
        assert said(*git, "status", "--short") == ""
        said("git", "clone", "--quiet", mounted.folder / "work", mounted.folder / "clone")
        said("git", "-C", mounted.folder / "clone", "fsck")
        assert (mounted.folder / "clone" / "f7").read_text() == "7"
        assert _unsaved(tmp_path) == []


def test_an_archive_is_one_version_a_file(shared_cluster: ClusterHarness, tmp_path: Path, seed: int) -> None:
    """tar sets times and permissions while the files are open: they are saved with the content."""
    source = tmp_path / "source"
    noise = random.Random(seed)
    for number in range(100):
        file = source / f"d{number % 5}" / f"f{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(noise.randbytes(noise.randrange(20_000)))
    said("tar", "-C", source, "-cf", tmp_path / "archive.tar", ".")
    with writable(shared_cluster, tmp_path, "mount-tar") as mounted:
        said("tar", "-C", mounted.folder, "-xf", tmp_path / "archive.tar", "--touch", "--no-same-owner")
        assert said("diff", "-r", source, mounted.folder) == ""
    made = [change["path"] for change in _changes(shared_cluster, "mount-tar") if not change["path"].endswith("/")]
    assert len(made) == len(set(made)) == 100


def test_a_large_file_is_changed_in_its_middle(shared_cluster: ClusterHarness, tmp_path: Path, seed: int) -> None:
    data = bytearray(random.Random(seed).randbytes(12 * MIB))
    with writable(shared_cluster, tmp_path, "mount-large") as mounted:
        file = mounted.folder / "f"
        file.write_bytes(data)
        with open(file, "r+b") as opened:
            opened.seek(7 * MIB)
            opened.write(b"changed")
            opened.flush()
            os.fsync(opened.fileno())
            data[7 * MIB : 7 * MIB + 7] = b"changed"
            assert _in_cluster(shared_cluster, "mount-large", "f", proxy=2) == data
        with open(file, "ab") as opened:
            opened.write(b"the end")
        assert _in_cluster(shared_cluster, "mount-large", "f") == data + b"the end"


def test_a_file_that_is_open_for_writing_is_locked(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """At every door; the log says who has it. What the first one saved, the second one reads and may change at once."""
    with (
        writable(shared_cluster, tmp_path, "mount-locks", 1, "--wait", "0") as first,
        writable(shared_cluster, tmp_path, "mount-locks", 2, "--wait", "0") as second,
    ):
        (first.folder / "f").write_text("one")
        with open(first.folder / "f", "r+") as held:
            held.write("two")
            held.flush()
            assert refusal(lambda: os.open(second.folder / "f", os.O_WRONLY)) == errno.EBUSY
            with open(second.folder / "f", "r+b", buffering=0) as late:
                assert refusal(lambda: late.write(b"2")) == errno.EBUSY
            assert refusal((second.folder / "f").unlink) == errno.EBUSY
            other = second.folder / "other"
            other.write_text("by rename")
            assert refusal(lambda: other.rename(second.folder / "f")) == errno.EBUSY
            url = f"{shared_cluster.proxy_urls[0]}/api/v1/files/mount-locks/f"
            assert shared_cluster.session().put(url, data=b"through the API", timeout=60).status_code == 423
            assert (second.folder / "f").read_text() == "one"
        assert (second.folder / "f").read_text() == "two"
        (second.folder / "f").write_text("three")
        assert (first.folder / "f").read_text() == "three"
        assert "holds the lock" in second.log()
        locks = shared_cluster.session().get(f"{shared_cluster.proxy_urls[0]}/api/v1/locks", timeout=60).json()["locks"]
        assert [lock for lock in locks if lock["paths"][0]["bucket"] == "mount-locks"] == []


def test_two_machines_count_in_one_file(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """Each reads, adds one and writes, without a lock of its own: no step is lost."""
    with (
        writable(shared_cluster, tmp_path, "mount-count", 1) as first,
        writable(shared_cluster, tmp_path, "mount-count", 2) as second,
    ):
        (first.folder / "n").write_text("0")
        wait_until((second.folder / "n").exists, what="the file on the other machine")
        counters = [
            subprocess.Popen([sys.executable, "-c", COUNT, str(mounted.folder / "n"), "40"])
            for mounted in (first, second)
        ]
        try:
            assert [counter.wait(300) for counter in counters] == [0, 0]
        finally:
            for counter in counters:
                counter.kill()
                counter.wait()
        assert _in_cluster(shared_cluster, "mount-count", "n") == b"80"


def test_a_name_that_others_took_meanwhile_is_theirs(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """Two machines create one name: the later close fails, and its content is kept and named."""
    with (
        writable(shared_cluster, tmp_path / "1", "mount-new", 1) as first,
        writable(shared_cluster, tmp_path / "2", "mount-new", 2) as second,
    ):
        late = open(first.folder / "f", "w")  # noqa: SIM115 - its close is what is tested
        late.write("later")
        (second.folder / "f").write_text("earlier")
        assert refusal(late.close) == errno.ESTALE
        (kept,) = wait_until(lambda: _unsaved(tmp_path / "1"), what="the unsaved file")
        wait_until(lambda: _reads(first.folder / "f") == "earlier", what="the file that was first")
        assert kept.read_text() == "later"
        assert str(kept) in first.log()


def test_what_cannot_be_saved_is_an_error_and_is_kept(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """The cluster goes while a file is open: closing it fails, the content is kept, and the folder works again."""
    cluster = make_cluster(file_servers=2, proxies=1, copies=1)
    with writable(cluster, tmp_path, "mount-away") as mounted:
        (mounted.folder / "f").write_text("before")
        lost = open(mounted.folder / "f", "w")  # noqa: SIM115 - its close is what is tested
        lost.write("written while the cluster was away")
        cluster.kill("client_proxy")
        assert refusal(lost.close) == errno.EHOSTDOWN
        (kept,) = wait_until(lambda: _unsaved(tmp_path), what="the unsaved file")
        assert kept.read_text() == "written while the cluster was away"
        cluster.start("client_proxy")
        wait_until(lambda: _reads(mounted.folder / "f") == "before", what="the return of the folder")


def _reads(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def test_a_killed_mount_keeps_what_was_being_written(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """The version before stays current; the next mount puts aside what was written, and says where."""
    with writable(shared_cluster, tmp_path, "mount-killed", 1) as mounted:
        (mounted.folder / "f").write_text("before")
        cut = os.open(mounted.folder / "f", os.O_WRONLY | os.O_TRUNC)
        os.write(cut, b"half of the next")
        mounted.kill()
        assert refusal(lambda: os.close(cut)) in (errno.ENOTCONN, errno.ECONNABORTED)
        mounted.unmount()
        mounted.mount()
        assert _in_cluster(shared_cluster, "mount-killed", "f") == b"before"
        assert (mounted.folder / "f").read_text() == "before"
        (kept,) = _unsaved(tmp_path)
        assert (kept.name, kept.read_bytes()) == ("f", b"half of the next")
        assert str(kept) in mounted.log()
