"""The S3 clients that people run, set up as docs/clients.md says, each told the same few things in its own words.

They run unmodified, trust the cluster's certificate authority, and see nothing of this machine's own settings.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.cluster.cluster_harness import ClusterHarness
from tests.waiting import wait_until

REGION = "us-east-1"
SECONDS = 120.0


def boto3_client(cluster: ClusterHarness, proxy: int = 1, *, endpoint: str = "", **config: Any) -> Any:
    """The administrator's boto3 client at one of the proxies, or at `endpoint`; `config` is botocore's."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint or cluster.proxy_urls[proxy - 1],
        aws_access_key_id=cluster.admin["s3_access_key"],
        aws_secret_access_key=cluster.admin["s3_secret_key"],
        region_name=REGION,
        verify=str(cluster.ca_file),
        config=Config(**{"signature_version": "s3v4", "s3": {"addressing_style": "path"}} | config),
    )


class CommandClient:
    """One client on one cluster. `home` is a folder of its own for what it keeps."""

    program = ""
    presigns = True
    options: tuple[str, ...] = ()

    def __init__(self, cluster: ClusterHarness, home: Path, proxy: int = 1) -> None:
        if shutil.which(self.program) is None:
            pytest.skip(f"{self.program} is not installed (.ci/run installs it)")
        self.url = cluster.proxy_urls[proxy - 1]
        self.host = self.url.removeprefix("https://")
        self.ca_file = cluster.ca_file
        self.access, self.secret = cluster.admin["s3_access_key"], cluster.admin["s3_secret_key"]
        self.home = home
        home.mkdir(exist_ok=True)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"}
        self.set_up()

    def set_up(self) -> None:
        """Write the client's settings."""

    def run(self, *arguments: str | Path) -> str:
        """What the client prints; it must succeed."""
        command = [self.program, *self.options, *map(str, arguments)]
        ended = subprocess.run(
            command,
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        shown = " ".join(command).replace(self.secret, "…")
        assert ended.returncode == 0, f"{shown} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout


class StoreClient(CommandClient):
    """A client that copies files and folders to and from a bucket."""

    def upload(self, file: Path, bucket: str, key: str) -> None:
        raise NotImplementedError

    def download(self, bucket: str, key: str, file: Path) -> None:
        raise NotImplementedError

    def sync_up(self, folder: Path, bucket: str, prefix: str) -> None:
        """Make `bucket/prefix` what `folder` is, with deletes."""
        raise NotImplementedError

    def sync_down(self, bucket: str, prefix: str, folder: Path) -> None:
        """Make `folder` what `bucket/prefix` is, with deletes."""
        raise NotImplementedError

    def remove(self, bucket: str, key: str) -> None:
        raise NotImplementedError

    def presigned(self, bucket: str, key: str) -> str:
        """An address that anybody can read the key at."""
        raise NotImplementedError


class AwsCli(StoreClient):
    program = "aws"

    def set_up(self) -> None:
        # Some releases would sign addresses with the retired version 2 unless told.
        (self.home / ".aws").mkdir(exist_ok=True)
        (self.home / ".aws" / "config").write_text("[default]\ns3 =\n  signature_version = s3v4\n")
        self.environment |= {
            "AWS_ACCESS_KEY_ID": self.access,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CA_BUNDLE": str(self.ca_file),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.options = ("--endpoint-url", self.url)

    def upload(self, file: Path, bucket: str, key: str) -> None:
        self.run("s3", "cp", "--no-progress", file, f"s3://{bucket}/{key}")

    def download(self, bucket: str, key: str, file: Path) -> None:
        self.run("s3", "cp", "--no-progress", f"s3://{bucket}/{key}", file)

    def sync_up(self, folder: Path, bucket: str, prefix: str) -> None:
        self.run("s3", "sync", "--delete", "--no-progress", folder, f"s3://{bucket}/{prefix}")

    def sync_down(self, bucket: str, prefix: str, folder: Path) -> None:
        self.run("s3", "sync", "--delete", "--no-progress", f"s3://{bucket}/{prefix}", folder)

    def remove(self, bucket: str, key: str) -> None:
        self.run("s3", "rm", f"s3://{bucket}/{key}")

    def presigned(self, bucket: str, key: str) -> str:
        return self.run("s3", "presign", f"s3://{bucket}/{key}", "--expires-in", "60").strip()


class S3cmd(StoreClient):
    program = "s3cmd"
    presigns = False  # it signs addresses with the retired version 2 only

    def set_up(self) -> None:
        settings = {
            "access_key": self.access,
            "secret_key": self.secret,
            "host_base": self.host,
            "host_bucket": self.host,
            "ca_certs_file": str(self.ca_file),
        }
        file = self.home / ".s3cfg"
        file.write_text("[default]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        self.options = ("--no-progress", "--quiet")

    def upload(self, file: Path, bucket: str, key: str) -> None:
        self.run("put", file, f"s3://{bucket}/{key}")

    def download(self, bucket: str, key: str, file: Path) -> None:
        self.run("get", f"s3://{bucket}/{key}", file)

    def sync_up(self, folder: Path, bucket: str, prefix: str) -> None:
        self.run("sync", "--delete-removed", f"{folder}/", f"s3://{bucket}/{prefix}/")

    def sync_down(self, bucket: str, prefix: str, folder: Path) -> None:
        self.run("sync", "--delete-removed", f"s3://{bucket}/{prefix}/", f"{folder}/")

    def remove(self, bucket: str, key: str) -> None:
        self.run("del", f"s3://{bucket}/{key}")


class Rclone(StoreClient):
    program = "rclone"

    def set_up(self) -> None:
        settings = {
            "type": "s3",
            "provider": "Other",
            "access_key_id": self.access,
            "secret_access_key": self.secret,
            "endpoint": self.url,
        }
        file = self.home / "rclone.conf"
        file.write_text("[lockstep]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        sizes = ("--s3-upload-cutoff", "8Mi", "--s3-chunk-size", "8Mi")
        self.options = ("--config", str(file), "--ca-cert", str(self.ca_file), "--quiet", *sizes)

    def upload(self, file: Path, bucket: str, key: str) -> None:
        self.run("copyto", file, f"lockstep:{bucket}/{key}")

    def download(self, bucket: str, key: str, file: Path) -> None:
        self.run("copyto", f"lockstep:{bucket}/{key}", file)

    def sync_up(self, folder: Path, bucket: str, prefix: str) -> None:
        self.run("sync", folder, f"lockstep:{bucket}/{prefix}")

    def sync_down(self, bucket: str, prefix: str, folder: Path) -> None:
        self.run("sync", f"lockstep:{bucket}/{prefix}", folder)

    def remove(self, bucket: str, key: str) -> None:
        self.run("deletefile", f"lockstep:{bucket}/{key}")

    def presigned(self, bucket: str, key: str) -> str:
        return self.run("link", "--expire", "1m", f"lockstep:{bucket}/{key}").strip()


class Curl(CommandClient):
    program = "curl"

    def set_up(self) -> None:
        self.options = ("--silent", "--show-error", "--fail-with-body", "--cacert", str(self.ca_file))

    def fetch(self, address: str) -> bytes:
        """What an address that needs no key gives."""
        file = self.home / "fetched"
        self.run("--output", file, address)
        return file.read_bytes()

    def signed(self, *arguments: str | Path) -> str:
        """A request that curl itself signs. Releases before 8 leave the header of the body's digest to the caller."""
        return self.run(
            *("--aws-sigv4", f"aws:amz:{REGION}:s3", "--user", f"{self.access}:{self.secret}"),
            *("--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", *arguments),
        )


class S3fs(CommandClient):
    program = "s3fs"

    @contextmanager
    def mounted(self, bucket: str) -> Iterator[Path]:
        """The bucket as a folder. Skips the test where this machine lets nobody mount."""
        passwords = self.home / "passwd-s3fs"
        passwords.write_text(f"{self.access}:{self.secret}\n")
        passwords.chmod(0o600)
        place = self.home / "mounted"
        place.mkdir()
        options = f"url={self.url},use_path_request_style,endpoint={REGION},passwd_file={passwords},use_cache="
        log = (self.home / "s3fs.log").open("w+")
        mount = subprocess.Popen(  # in the foreground, so that it is this test's to end
            [self.program, bucket, str(place), "-f", "-o", options],
            env=self.environment | {"CURL_CA_BUNDLE": str(self.ca_file)},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: mount.poll() is not None or place.is_mount(), 60.0, "the mount")
            if mount.poll() is not None:
                log.seek(0)
                said = log.read()
                if "ermission denied" in said or "not permitted" in said or "No such device" in said:
                    pytest.skip(f"this machine does not let s3fs mount: {said.strip()[-200:]}")
                pytest.fail(f"s3fs ended with {mount.returncode}: {said}")
            yield place
        finally:
            mount.terminate()
            mount.wait(60)
            log.close()
