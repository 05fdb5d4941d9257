"""Files under named keys (SSE-KMS) on real programs: every door reads and writes them; no disk has their content."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from file_server.store.local.chunk_store import LocalChunkStore
from file_server.store.local.disk_layout import DiskLayout
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.disks import stop_and_check_disks
from tests.cluster.people import Person
from tests.waiting import wait_until

MARK = b"nobody but the reader shall see this line\n"
MIB = 1024**2


def lockstep(cluster: ClusterHarness, home: Path, *arguments: str | Path, fails: bool = False) -> str:
    """What the command line prints; it must succeed, or must not."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "LOCKSTEP_URL": cluster.proxy_urls[0],
        "LOCKSTEP_CA": str(cluster.ca_file),
        "LOCKSTEP_API_KEY": cluster.admin_key,
        "LOCKSTEP_CONFIG_DIR": str(home / "config"),
    }
    command = [str(Path(sys.executable).with_name("lockstep")), *map(str, arguments)]
    ended = subprocess.run(
        command, env=environment, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (ended.returncode != 0) == fails, f"{arguments}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout + ended.stderr


def s3_client(cluster: ClusterHarness, proxy: int) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=cluster.proxy_urls[proxy - 1],
        aws_access_key_id=cluster.admin["s3_access_key"],
        aws_secret_access_key=cluster.admin["s3_secret_key"],
        region_name="us-east-1",
        verify=str(cluster.ca_file),
    )


def content(seed: int, size: int) -> bytes:
    """Bytes with MARK at many places."""
    source = random.Random(seed)
    pieces = [source.randbytes(50_000) + MARK * 20 for _ in range(size // 50_000 + 1)]
    return b"".join(pieces)


def test_no_disk_has_what_is_under_a_named_key(make_cluster: MakeCluster, tmp_path: Path, seed: int) -> None:
    """Written by command line, API and S3, read by each, also after restarts, a rotation and a disabling; not a byte
    of it is on a file server, in a cache, or with the directory, even for who has the storage keys."""
    cluster = make_cluster()
    lockstep(cluster, tmp_path, "kms", "create", "plans")
    assert "enabled" in lockstep(cluster, tmp_path, "kms", "list")
    lockstep(cluster, tmp_path, "buckets", "create", "vault")
    s3 = s3_client(cluster, 2)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/plans"}}
    s3.put_bucket_encryption(Bucket="vault", ServerSideEncryptionConfiguration={"Rules": [rule]})
    files = {"cli": content(seed, 9 * MIB), "api": content(seed + 1, 1000), "s3": content(seed + 2, 12 * MIB)}
    local = tmp_path / "local"
    with Person(cluster, 1) as first, Person(cluster, 2) as second:
        local.write_bytes(files["cli"])
        lockstep(cluster, tmp_path, "put", local, "vault:cli")
        first.put("api", files["api"], "vault")
        local.write_bytes(files["s3"])
        parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
        s3.upload_file(str(local), "vault", "s3", Config=parts)
        # An edit: the command line would send the changed chunks alone, and has to send them all.
        files["cli"] = files["cli"][: 4 * MIB] + b"an edit" + files["cli"][4 * MIB :]
        local.write_bytes(files["cli"])
        lockstep(cluster, tmp_path, "put", local, "vault:cli")
        lockstep(cluster, tmp_path, "kms", "rotate", "plans")
        second.put("rotated", MARK, "vault")
        files["rotated"] = MARK
        cluster.kill("directory_server")
        cluster.start("directory_server")
        wait_until(lambda: first.ask("GET", "/files/vault/api").ok)

        def check_all() -> None:
            for name, expected in files.items():
                assert first.get(name, "vault") == expected
                assert second.get(name, "vault") == expected
                assert s3.get_object(Bucket="vault", Key=name)["Body"].read() == expected
                target = tmp_path / f"got-{name}"
                lockstep(cluster, tmp_path, "get", f"vault:{name}", target)
                assert target.read_bytes() == expected

        check_all()
        lockstep(cluster, tmp_path, "kms", "disable", "plans")
        assert first.ask("GET", "/files/vault/api").status_code == 400
        assert "disabled" in lockstep(cluster, tmp_path, "cat", "vault:cli", fails=True)
        with pytest.raises(ClientError, match=r"KMS\.DisabledException"):
            s3.get_object(Bucket="vault", Key="s3")
        lockstep(cluster, tmp_path, "kms", "enable", "alias/plans")
        check_all()
    folders = {f"{program.program}-{program.id}": Path(program.data_dir) for program in cluster.programs}
    checked = stop_and_check_disks(cluster)
    assert checked.copies >= 2 * len(files)
    for path in cluster.data.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert MARK.strip() not in path.read_bytes(), path
    opened = 0
    for name, folder in folders.items():
        if name.startswith("file_server"):
            store = LocalChunkStore(
                DiskLayout.open(folder), Sealer(KeyRing.load(cluster.folder.certs_dir / "storage-keys.json"))
            )
            try:
                for digest in store.blobs_by_digest(None, 10_000)[0]:
                    for chunk, _ in store.manifest(digest).chunks:
                        assert MARK.strip() not in store.read_chunk(chunk)
                        opened += 1
            finally:
                store.close()
    assert opened > 20
