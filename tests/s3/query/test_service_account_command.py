"""`lockstep service-accounts` on a real cluster: limited keys for programs, made in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.cluster.cluster_harness import ClusterHarness
from tests.s3.calls import DENIED, read, refused
from tests.s3.command_clients import REGION, boto3_client
from tests.s3.query.callers import new_name

pytestmark = pytest.mark.cluster

Lockstep = Callable[..., Any]


@pytest.fixture
def lockstep(real_cluster: ClusterHarness, tmp_path: Path) -> Lockstep:
    """Runs a command as the administrator, and returns what it prints as JSON."""
    environment = {**os.environ, "LOCKSTEP_API_KEY": real_cluster.admin_key, "LOCKSTEP_CONFIG_DIR": str(tmp_path)}
    program = [sys.executable, "-P", "-m", "lockstep_store.client.cli"]
    program += ["--url", real_cluster.proxy_urls[0], "--ca", str(real_cluster.ca_file), "service-accounts"]

    def run(*words: str, code: int = 0) -> Any:
        command = [*program, *words, "--json"]
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
        )
        assert ended.returncode == code, ended.stderr
        return json.loads(ended.stdout) if code == 0 else ended.stderr

    return run


def client_of(cluster: ClusterHarness, key: dict[str, Any]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=cluster.proxy_urls[0],
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret"],
        region_name=REGION,
        verify=str(cluster.ca_file),
        config=Config(s3={"addressing_style": "path"}),
    )


def test_a_limited_key_in_one_line(lockstep: Lockstep, real_cluster: ClusterHarness, tmp_path: Path) -> None:
    """It reads below its prefix and nothing else, until its policy is replaced, it is revoked, or all is deleted."""
    bucket, name, admin = new_name("service"), new_name("backup"), boto3_client(real_cluster)
    admin.create_bucket(Bucket=bucket)
    for path in ("in/k", "out/k"):
        admin.put_object(Bucket=bucket, Key=path, Body=b"content")
    key = lockstep("create", name, "--to", f"{bucket}/in/", "--from", "127.0.0.0/8", "--valid", "3600")
    assert key["expires_at"] > key["created_at"]
    service = client_of(real_cluster, key)
    assert read(service, bucket, "in/k") == b"content"
    assert refused(service.get_object, Bucket=bucket, Key="out/k") == DENIED
    assert refused(service.put_object, Bucket=bucket, Key="in/k", Body=b"") == DENIED
    wider = tmp_path / "policy.json"
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    wider.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    lockstep("policy", name, str(wider))
    service.put_object(Bucket=bucket, Key="out/k", Body=b"new")
    shown = lockstep("show", name)
    assert [one["access_key_id"] for one in shown["keys"]] == [key["access_key_id"]]
    assert json.loads(shown["policies"]["policy"])["Statement"] == [statement]
    assert name in [one["name"] for one in lockstep("list")["service_accounts"]]
    second = client_of(real_cluster, lockstep("key", name))
    lockstep("revoke", name, key["access_key_id"])
    assert refused(service.get_object, Bucket=bucket, Key="in/k") == (403, "InvalidAccessKeyId")
    assert read(second, bucket, "in/k") == b"content"
    lockstep("delete", name)
    assert refused(second.get_object, Bucket=bucket, Key="in/k") == (403, "InvalidAccessKeyId")


def test_mistakes_are_named(lockstep: Lockstep, tmp_path: Path) -> None:
    """Neither limits nor a policy, both, and a file that is no policy: nothing is made."""
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert "--to" in lockstep("create", "nobody", code=2)
    assert "--to" in lockstep("create", "nobody", "--to", "b", "--policy", str(broken), code=2)
    assert "JSON" in lockstep("create", "nobody", "--policy", str(broken), code=2)
    assert "nobody" in lockstep("show", "nobody", code=3)
