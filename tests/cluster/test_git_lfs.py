"""Unmodified git-lfs on a real cluster: two people push, pull, lock, are refused, and break locks."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.cluster.cluster_harness import ClusterHarness

pytestmark = pytest.mark.cluster

SECONDS = 120.0
PASSWORD = "correct horse battery"


class Developer:
    """A person with a clone of the repository, who logs in with the account's password."""

    def __init__(self, cluster: ClusterHarness, home: Path, name: str, lfs_url: str) -> None:
        self.name, self.home, self.clone = name, home, home / "clone"
        home.mkdir()
        host = lfs_url.split("/")[2]
        (home / "credentials").write_text(f"https://{name}:{PASSWORD.replace(' ', '%20')}@{host}\n")
        (home / ".gitconfig").write_text(
            f"[user]\nname = {name}\nemail = {name}@example.org\n"
            f"[http]\nsslCAInfo = {cluster.ca_file}\n"
            f"[credential]\nhelper = store --file={home / 'credentials'}\n"
            f"[lfs]\nurl = {lfs_url}\nlocksverify = true\n"
            "[init]\ndefaultBranch = main\n"
        )
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def git(self, *arguments: str, fails: bool = False) -> str:
        """What git prints; it must succeed, or fail."""
        ended = subprocess.run(
            ["git", *arguments],
            env=self.environment,
            cwd=self.clone if self.clone.exists() else self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        said = ended.stdout + ended.stderr
        assert (ended.returncode != 0) is fails, f"git {' '.join(arguments)} ended with {ended.returncode}:\n{said}"
        return said

    def join(self, remote: Path) -> None:
        self.git("lfs", "install", "--skip-repo")
        self.git("clone", "--quiet", str(remote), str(self.clone))

    def commit(self, path: str, content: bytes) -> None:
        (self.clone / path).write_bytes(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"change {path}")


class Studio:
    """A bucket of the first person's that everybody may use."""

    def __init__(self, cluster: ClusterHarness, folder: Path) -> None:
        self._cluster, self._folder = cluster, folder
        self.proxy = cluster.proxy_urls[0]
        self.session = cluster.session()

    def developer(self, name: str) -> Developer:
        """An account, made now."""
        answer = self.session.post(f"{self.proxy}/api/v1/auth/login", json={"username": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return Developer(self._cluster, self._folder / name, name, f"{self.proxy}/lfs/studio/game")

    def open(self, owner: Developer) -> None:
        """Make the bucket."""
        for method, target, body in (
            ("POST", "/buckets", {"name": "studio"}),
            ("PATCH", "/buckets/studio", {"shared": True}),
        ):
            answer = requests.request(
                method,
                f"{self.proxy}/api/v1{target}",
                json=body,
                headers={"Authorization": f"Bearer {self._token(owner)}"},
                verify=str(self._cluster.ca_file),
                timeout=SECONDS,
            )
            assert answer.status_code in (200, 201), answer.text

    def _token(self, person: Developer) -> str:
        body = {"username": person.name, "password": PASSWORD}
        return str(self.session.post(f"{self.proxy}/api/v1/auth/login", json=body).json()["token"])

    def locks(self) -> dict[str, str]:
        """Who has locked which path of the bucket, as every door says."""
        found = self.session.get(f"{self.proxy}/api/v1/locks").json()["locks"]
        return {p["path"]: one["account"] for one in found for p in one["paths"] if p["bucket"] == "studio"}

    def put(self, person: Developer, path: str) -> requests.Response:
        """A write of the path through WebDAV."""
        address = f"{self.proxy}/dav/studio/{path}"
        return requests.put(
            address, b"x", auth=(person.name, PASSWORD), verify=str(self._cluster.ca_file), timeout=SECONDS
        )


@pytest.fixture
def studio(shared_cluster: ClusterHarness, tmp_path: Path) -> Iterator[Studio]:
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed (.ci/run installs it)")
    studio = Studio(shared_cluster, tmp_path)
    yield studio
    studio.session.close()


def test_a_studio_shares_binary_files_under_locks(studio: Studio, tmp_path: Path, seed: int) -> None:
    olga, eve = studio.developer("lfs-olga"), studio.developer("lfs-eve")
    studio.open(olga)
    remote = tmp_path / "remote.git"
    olga.git("init", "--quiet", "--bare", str(remote))
    olga.join(remote)
    olga.git("lfs", "track", "--lockable", "*.umap")
    level = random.Random(seed).randbytes(3_000_000)
    olga.commit("level.umap", level)
    olga.git("push", "--quiet", "origin", "main")
    eve.join(remote)
    assert (eve.clone / "level.umap").read_bytes() == level

    assert "Locked level.umap" in olga.git("lfs", "lock", "level.umap")
    assert studio.locks() == {"game/level.umap": "lfs-olga"}
    assert "is locked by lfs-olga" in eve.git("lfs", "lock", "level.umap", fails=True)
    assert "lfs-olga" in eve.git("lfs", "locks")
    refused = studio.put(eve, "game/level.umap")
    assert (refused.status_code, refused.headers.get("X-Lockstep-Lock-Holder")) == (423, "lfs-olga")

    (eve.clone / "level.umap").chmod(0o644)
    eve.commit("level.umap", b"by eve")
    assert "level.umap" in eve.git("push", "origin", "main", fails=True)
    olga.commit("level.umap", level + b"more")
    olga.git("push", "--quiet", "origin", "main")
    assert "Unlocked level.umap" in olga.git("lfs", "unlock", "level.umap")
    assert studio.locks() == {}
    eve.git("fetch", "--quiet")
    eve.git("reset", "--quiet", "--hard", "origin/main")
    assert (eve.clone / "level.umap").read_bytes() == level + b"more"

    eve.git("lfs", "lock", "level.umap")
    olga.git("lfs", "unlock", "level.umap", fails=True)
    assert studio.locks() == {"game/level.umap": "lfs-eve"}
    assert "Unlocked level.umap" in olga.git("lfs", "unlock", "--force", "level.umap")
    assert studio.locks() == {}
    assert "Locked level.umap" in olga.git("lfs", "lock", "level.umap")
    olga.git("lfs", "unlock", "level.umap")
