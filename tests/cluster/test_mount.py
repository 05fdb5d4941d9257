"""`lockstep mount` on a real cluster and a real kernel: what programs see, and what they see when things break."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from lockstep_store.client.mount import kernel
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.mounts import Mounted, need_fuse, refusal, said
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _fuse() -> None:
    need_fuse()


def _put(cluster: ClusterHarness, path: str, content: bytes, proxy: int = 1) -> None:
    url = f"{cluster.proxy_urls[proxy - 1]}/api/v1/files/files/{path}"
    reply = cluster.session().put(url, data=content, timeout=60)
    assert reply.status_code in (200, 201), reply.text


def _names(mounted: Mounted) -> list[str]:
    return sorted(entry.name for entry in mounted.folder.iterdir())


def test_every_program_sees_the_files(shared_cluster: ClusterHarness, tmp_path: Path, seed: int) -> None:
    """ls, find, grep, cp and diff find what was saved: names in every script, empty folders, a large file."""
    source = tmp_path / "source"
    for name in ("plain.txt", "deep/er/odd #1 100% é&'.txt", "deep/ünïcode/日本語.txt", "many/0.txt", "many/1.txt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"the content of {name}\n")
    (source / "empty.txt").write_bytes(b"")
    (source / "large.bin").write_bytes(random.Random(seed).randbytes(30 * MIB))
    mounted = Mounted(shared_cluster, tmp_path, "seen")
    assert mounted.run("put", "-r", source, "seen").returncode == 0
    assert mounted.run("mkdir", "seen/nothing here").returncode == 0
    (source / "nothing here").mkdir()
    with mounted:
        assert said("diff", "-r", source, mounted.folder) == ""
        assert sorted(said("ls", mounted.folder).split("\n")) == sorted(
            ["", "deep", "empty.txt", "large.bin", "many", "nothing here", "plain.txt"]
        )
        listed = said("find", ".", "-type", "f", cwd=mounted.folder).split()
        assert sorted(listed) == sorted(said("find", ".", "-type", "f", cwd=source).split())
        assert "deep/ünïcode/日本語.txt" in said("grep", "-rl", "the content", ".", cwd=mounted.folder)
        said("cp", "-r", mounted.folder, tmp_path / "copy")
        assert said("diff", "-r", source, tmp_path / "copy") == ""
        assert (mounted.folder / "large.bin").stat().st_size == 30 * MIB
        space = os.statvfs(mounted.folder)
        assert 0 < space.f_bavail <= space.f_blocks
        mounted.unmount()
        assert list(mounted.folder.iterdir()) == []


def test_nothing_can_be_changed(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """Programs are told that the folder is read-only."""
    _put(shared_cluster, "fixed/a.txt", b"as it was")
    with Mounted(shared_cluster, tmp_path, "fixed") as mounted:
        file = mounted.folder / "a.txt"
        assert refusal(lambda: file.write_text("other")) == errno.EROFS
        assert refusal(file.unlink) == errno.EROFS
        assert refusal(lambda: file.rename(mounted.folder / "b.txt")) == errno.EROFS
        assert refusal((mounted.folder / "folder").mkdir) == errno.EROFS
        assert refusal(lambda: os.utime(file)) == errno.EROFS
        assert file.read_text() == "as it was"


def test_what_others_save_is_seen(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """A file opened after a save was acknowledged, at any proxy, has the new content; listings follow by themselves."""
    _put(shared_cluster, "news/a.txt", b"0")
    with (
        Mounted(shared_cluster, tmp_path, "news", proxy=1) as first,
        Mounted(shared_cluster, tmp_path, "news", proxy=2) as second,
    ):
        for turn in range(1, 20):
            content = str(turn).encode() * turn
            _put(shared_cluster, "news/a.txt", content, proxy=turn % 2 + 1)
            assert (first.folder / "a.txt").read_bytes() == content
            assert (second.folder / "a.txt").read_bytes() == content
        _put(shared_cluster, "news/new/b.txt", b"b")
        for mounted in (first, second):
            wait_until(lambda mounted=mounted: (mounted.folder / "new" / "b.txt").exists(), what="the new file")
            wait_until(lambda mounted=mounted: "new" in _names(mounted), what="the new folder")
        first.run("rm", "news/new/b.txt")
        for mounted in (first, second):
            wait_until(lambda mounted=mounted: _names(mounted) == ["a.txt"], what="the folder's end")


def test_an_open_file_stays_at_its_version(shared_cluster: ClusterHarness, tmp_path: Path, seed: int) -> None:
    """Two programs have two versions open, a longer and a shorter one; neither sees a byte of the other's."""
    noise = random.Random(seed)
    old, new = noise.randbytes(6 * MIB), noise.randbytes(3 * MIB)
    _put(shared_cluster, "pinned/f", old)
    with Mounted(shared_cluster, tmp_path, "pinned") as mounted, open(mounted.folder / "f", "rb") as before:
        assert before.read(1000) == old[:1000]
        _put(shared_cluster, "pinned/f", new)
        with open(mounted.folder / "f", "rb") as after:
            assert after.read(2 * MIB) == new[: 2 * MIB]
            assert before.read(4 * MIB) == old[1000 : 4 * MIB + 1000]
            assert after.read() == new[2 * MIB :]
            assert before.read() == old[4 * MIB + 1000 :]


def test_a_silent_proxy_is_an_error_and_never_a_hang(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """Programs get EHOSTDOWN within the deadline, the next ones at once; the folder works again when the proxy does."""
    cluster = make_cluster(file_servers=2, proxies=1, copies=1)
    _put(cluster, "a.txt", b"one")
    with Mounted(cluster, tmp_path, timeout=3.0) as mounted:
        file = mounted.folder / "a.txt"
        wait_until(lambda: _reads(file) == b"one", what="the file")
        cluster.pause("client_proxy")
        try:
            assert refusal(file.read_bytes) == errno.EHOSTDOWN
            assert refusal(file.read_bytes) == errno.EHOSTDOWN
        finally:
            cluster.resume("client_proxy")
        wait_until(lambda: _reads(file) == b"one", what="the proxy's return")
        cluster.kill("client_proxy")
        wait_until(lambda: _reads(file) == errno.EHOSTDOWN, what="EHOSTDOWN")
        cluster.start("client_proxy")
        _put(cluster, "a.txt", b"two")
        wait_until(lambda: _reads(file) == b"two", what="the new content after a restart of the proxy")
        assert "changes cannot be followed" in mounted.log()
        cluster.pause("client_proxy")
        try:
            mounted.unmount()
        finally:
            cluster.resume("client_proxy")


def _reads(file: Path) -> bytes | int | None:
    try:
        return file.read_bytes()
    except OSError as error:
        return error.errno


def test_a_killed_mount_leaves_a_folder_that_can_be_mounted_again(
    shared_cluster: ClusterHarness, tmp_path: Path
) -> None:
    _put(shared_cluster, "killed/a.txt", b"one")
    with Mounted(shared_cluster, tmp_path, "killed") as mounted:
        mounted.kill()
        assert _reads(mounted.folder / "a.txt") == errno.ENOTCONN
        refused = mounted.run("mount", mounted.folder, "killed")
        assert refused.returncode == 8
        assert "end it with `lockstep unmount" in refused.stderr
        mounted.unmount()
        mounted.mount()
        assert (mounted.folder / "a.txt").read_bytes() == b"one"


def test_a_folder_in_use_is_detached_only_when_asked(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    _put(shared_cluster, "used/a.txt", b"one")
    with Mounted(shared_cluster, tmp_path, "used") as mounted, open(mounted.folder / "a.txt", "rb"):
        refused = mounted.run("unmount", mounted.folder)
        assert refused.returncode == 8
        assert "is in use" in refused.stderr
        assert kernel.is_mounted(mounted.folder)
        assert mounted.run("unmount", mounted.folder, "--detach").returncode == 0
        assert not kernel.is_mounted(mounted.folder)


def test_what_cannot_be_mounted_says_why(shared_cluster: ClusterHarness, tmp_path: Path) -> None:
    """Nothing is left mounted, no process is left, and the exit code is that of the reason."""
    mounted = Mounted(shared_cluster, tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    for words, code, reason in (
        ([mounted.folder, "no-such-bucket:"], 3, "no-such-bucket"),
        ([mounted.folder, "no such folder"], 3, "does not exist"),
        ([tmp_path / "full"], 8, "has files in it"),
        ([tmp_path / "file"], 2, "is a file"),
        ([mounted.folder, "--url", "https://127.0.0.1:9"], 7, "does not answer"),
    ):
        refused = mounted.run("mount", *words)
        assert refused.returncode == code, (words, refused.stderr)
        assert reason in refused.stderr, (words, refused.stderr)
    nothing = mounted.run("unmount", mounted.folder)
    assert (nothing.returncode, "nothing is mounted" in nothing.stderr) == (8, True)
    assert mounted.processes() == []
