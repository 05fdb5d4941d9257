"""Unmodified S3 clients on a real cluster, over HTTPS with its certificate authority."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from tests.cluster.cluster_harness import ClusterHarness
from tests.s3.command_clients import AwsCli, Curl, Rclone, S3cmd, S3fs, StoreClient, boto3_client

pytestmark = pytest.mark.cluster

MIB = 1 << 20
EVERYDAY_BYTES, SOAK_BYTES = 20 * MIB, 200 * MIB
STORES = [AwsCli, S3cmd, Rclone]
NAMES = (
    "plain.txt",
    "sp ace and plus+.txt",
    "per%20cent%.txt",
    "and&equals=;semi,comma.txt",
    "what? #hash @at :colon.txt",
    "quote' (paren) [bracket] {brace} !~*$.txt",
    "Grüße/日本語/🎈.txt",
    "e\u0301 and é.txt",
    "deep/er/and/deeper/.hidden",
    'double"quote<angle>.txt',
)
_numbers = itertools.count(1)

MakeFile = Callable[[int], Path]


@pytest.fixture(scope="module")
def s3(real_cluster: ClusterHarness) -> Iterator[Any]:
    client = boto3_client(real_cluster)
    yield client
    client.close()


@pytest.fixture
def new_bucket(s3: Any) -> str:
    """A bucket of the test's own on the real cluster."""
    name = f"real-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def make_file(tmp_path: Path, seed: int) -> MakeFile:
    """A file of so many random bytes."""

    def make(size: int) -> Path:
        file = tmp_path / f"random-{size}"
        file.write_bytes(random.Random(seed).randbytes(size))
        return file

    return make


@pytest.fixture(params=STORES, ids=lambda kind: kind.program)
def store(request: pytest.FixtureRequest, real_cluster: ClusterHarness, tmp_path: Path) -> StoreClient:
    client: StoreClient = request.param(real_cluster, tmp_path / "home")
    return client


def tree(folder: Path) -> dict[str, bytes]:
    """The files under a folder, by their path in it."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def stored(s3: Any, bucket: str, prefix: str) -> dict[str, bytes]:
    """The objects under a prefix, by the rest of their key."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [line["Key"] for page in pages for line in page.get("Contents", ())]
    return {key.removeprefix(prefix): s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def fill(folder: Path) -> None:
    for number, name in enumerate(NAMES):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"content {number}".encode() * number)


# ------------------------------------------------------------ large files


def there_and_back(store: StoreClient, s3: Any, bucket: str, file: Path) -> None:
    """Upload, compare, download, compare."""
    store.upload(file, bucket, "large file")
    assert s3.head_object(Bucket=bucket, Key="large file")["ContentLength"] == file.stat().st_size
    back = file.with_name("back")
    store.download(bucket, "large file", back)
    assert back.read_bytes() == file.read_bytes()


def test_a_large_file_goes_there_and_back(store: StoreClient, s3: Any, new_bucket: str, make_file: MakeFile) -> None:
    """20 MiB, in as many parts as the client likes, come back as they were."""
    there_and_back(store, s3, new_bucket, make_file(EVERYDAY_BYTES))


@pytest.mark.soak
def test_200_mb_go_there_and_back(store: StoreClient, s3: Any, new_bucket: str, make_file: MakeFile) -> None:
    """200 MiB, in as many parts as the client likes, come back as they were."""
    there_and_back(store, s3, new_bucket, make_file(SOAK_BYTES))


@pytest.mark.parametrize("size", [EVERYDAY_BYTES, pytest.param(SOAK_BYTES, marks=pytest.mark.soak)])
def test_boto3_transfers_in_parts(
    real_cluster: ClusterHarness, s3: Any, new_bucket: str, make_file: MakeFile, size: int
) -> None:
    """boto3's own transfers send parts side by side, and read them side by side through another proxy."""
    file = make_file(size)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_file(str(file), new_bucket, "large", Config=config)
    other = boto3_client(real_cluster, 2)
    back = file.with_name("back")
    other.download_file(new_bucket, "large", str(back), Config=config)
    assert back.read_bytes() == file.read_bytes()
    assert other.head_object(Bucket=new_bucket, Key="large")["ETag"].endswith(f'-{-(-size // (5 * MIB))}"')
    other.close()


# ------------------------------------------------------------ folders


def test_folders_are_kept_in_step_both_ways(store: StoreClient, s3: Any, new_bucket: str, tmp_path: Path) -> None:
    """Sync makes the bucket what the folder is and the folder what the bucket is: awkward names, changes, deletes."""
    folder, copy = tmp_path / "folder", tmp_path / "copy"
    folder.mkdir()
    copy.mkdir()
    fill(folder)
    store.sync_up(folder, new_bucket, "a b+c")
    assert stored(s3, new_bucket, "a b+c/") == tree(folder)

    (folder / NAMES[0]).unlink()
    (folder / NAMES[1]).write_bytes(b"changed, and longer than it was before")
    (folder / "new").write_bytes(b"new")
    store.sync_up(folder, new_bucket, "a b+c")
    assert stored(s3, new_bucket, "a b+c/") == tree(folder)

    store.sync_down(new_bucket, "a b+c", copy)
    assert tree(copy) == tree(folder)
    store.remove(new_bucket, f"a b+c/{NAMES[2]}")
    s3.put_object(Bucket=new_bucket, Key=f"a b+c/{NAMES[3]}", Body=b"changed at the other end, and longer")
    store.sync_down(new_bucket, "a b+c", copy)
    assert tree(copy) == stored(s3, new_bucket, "a b+c/")
    assert NAMES[2] not in tree(copy)


def test_boto3_takes_every_name(real_cluster: ClusterHarness, s3: Any, new_bucket: str) -> None:
    """Keys that need every kind of escape are written, listed, read through the other proxy, and deleted."""
    names = [*NAMES, "two//slashes", "ends/", "%2F", "+", "a\u00a0b", "~", "\u2028line", "x" * 1024]
    names += ["/", "//", "/absolute", "..", ".", "../up", "a/../b", "a/./b", "a/b/.."]
    for name in names:
        s3.put_object(Bucket=new_bucket, Key=name, Body=name.encode())
    other = boto3_client(real_cluster, 2)
    assert stored(other, new_bucket, "") == {name: name.encode() for name in names}
    gone = other.delete_objects(Bucket=new_bucket, Delete={"Objects": [{"Key": name} for name in names]})
    assert {line["Key"] for line in gone["Deleted"]} == set(names)
    assert stored(s3, new_bucket, "") == {}
    other.close()


# ------------------------------------------------------------ addresses, versions, locks


def test_a_presigned_address_is_read_with_curl(
    real_cluster: ClusterHarness, store: StoreClient, s3: Any, new_bucket: str, tmp_path: Path
) -> None:
    """An address that a client signs opens the key to a program that has no key at all."""
    if not store.presigns:
        pytest.skip(f"{store.program} signs addresses with the retired version 2 only")
    curl = Curl(real_cluster, tmp_path / "curl")
    for name in (NAMES[1], NAMES[6]):
        s3.put_object(Bucket=new_bucket, Key=name, Body=name.encode())
        assert curl.fetch(store.presigned(new_bucket, name)) == name.encode()


def test_curl_reads_and_writes_what_boto3_presigned(
    real_cluster: ClusterHarness, s3: Any, new_bucket: str, tmp_path: Path, make_file: MakeFile
) -> None:
    """Presigned PUT and GET, with a body large enough for curl to ask before it sends."""
    curl = Curl(real_cluster, tmp_path / "curl")
    file = make_file(3 * MIB)
    at = {"Bucket": new_bucket, "Key": "pre signed+ü"}
    curl.run("--upload-file", file, s3.generate_presigned_url("put_object", at))
    assert curl.fetch(s3.generate_presigned_url("get_object", at)) == file.read_bytes()


def test_curl_signs_by_itself(
    real_cluster: ClusterHarness, s3: Any, new_bucket: str, tmp_path: Path, make_file: MakeFile
) -> None:
    """`curl --aws-sigv4` writes, lists, reads and deletes."""
    curl = Curl(real_cluster, tmp_path / "curl")
    address = f"{curl.url}/{new_bucket}/folder/file.bin"
    file = make_file(3 * MIB)
    curl.signed("--upload-file", file, address)
    assert "<Key>folder/file.bin</Key>" in curl.signed(f"{curl.url}/{new_bucket}?list-type=2&prefix=folder%2F")
    curl.signed("--output", tmp_path / "back", address)
    assert (tmp_path / "back").read_bytes() == file.read_bytes()
    curl.signed("--request", "DELETE", address)
    assert stored(s3, new_bucket, "") == {}


def test_awscli_deletes_a_version_and_brings_it_back(
    real_cluster: ClusterHarness, s3: Any, new_bucket: str, tmp_path: Path
) -> None:
    """With versions kept, a delete hides the key; deleting the marker brings it back; an old version stays readable."""
    aws = AwsCli(real_cluster, tmp_path / "home")
    at = ("--bucket", new_bucket, "--key", "report")
    s3.put_bucket_versioning(Bucket=new_bucket, VersioningConfiguration={"Status": "Enabled"})
    for text in (b"first", b"second"):
        s3.put_object(Bucket=new_bucket, Key="report", Body=text)
    aws.remove(new_bucket, "report")
    assert stored(s3, new_bucket, "") == {}
    listed = json.loads(aws.run("s3api", "list-object-versions", *at[:2], "--output", "json"))
    aws.run("s3api", "delete-object", *at, "--version-id", listed["DeleteMarkers"][0]["VersionId"])
    assert stored(s3, new_bucket, "") == {"report": b"second"}
    first = listed["Versions"][1]["VersionId"]
    aws.run("s3api", "get-object", *at, "--version-id", first, tmp_path / "first")
    assert (tmp_path / "first").read_text() == "first"


def test_s3cmd_says_who_may_read(real_cluster: ClusterHarness, s3: Any, new_bucket: str, tmp_path: Path) -> None:
    """Policies, lists, a copy, and rules of a bucket, whose bodies it vouches for with its signature alone."""
    s3cmd, at = S3cmd(real_cluster, tmp_path / "home"), f"s3://{new_bucket}"
    (tmp_path / "file").write_text("content")
    s3cmd.upload(tmp_path / "file", new_bucket, "k")
    said = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{new_bucket}/k"}
    (tmp_path / "policy").write_text(json.dumps({"Version": "2012-10-17", "Statement": [said]}))
    s3cmd.run("setpolicy", tmp_path / "policy", at)
    assert Curl(real_cluster, tmp_path / "curl").fetch(f"{real_cluster.proxy_urls[0]}/{new_bucket}/k") == b"content"
    s3cmd.run("delpolicy", at)
    s3cmd.run("setacl", "--acl-public", f"{at}/k")
    assert Curl(real_cluster, tmp_path / "curl").fetch(f"{real_cluster.proxy_urls[0]}/{new_bucket}/k") == b"content"
    s3cmd.run("cp", f"{at}/k", f"{at}/copy")
    s3cmd.run("accesslog", f"--access-logging-target-prefix={at}/log/", at)
    s3cmd.run("expire", "--expiry-days=3", at)
    assert stored(s3, new_bucket, "")["copy"] == b"content"
    assert s3.get_bucket_logging(Bucket=new_bucket)["LoggingEnabled"]["TargetPrefix"] == "log/"


# ------------------------------------------------------------ s3fs


def test_s3fs_is_a_folder(real_cluster: ClusterHarness, s3: Any, new_bucket: str, tmp_path: Path) -> None:
    """Programs that know nothing of S3 write, read, append, rename, list and delete in a mounted bucket."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse may not be used here, so s3fs cannot mount")
    with S3fs(real_cluster, tmp_path / "home").mounted(new_bucket) as folder:
        (folder / "note ü+.txt").write_text("one\n")
        with (folder / "note ü+.txt").open("a") as note:
            note.write("two\n")
        (folder / "sub").mkdir()
        (folder / "note ü+.txt").rename(folder / "sub" / "moved.txt")
        (folder / "sub" / "gone.txt").write_text("gone")
        (folder / "sub" / "gone.txt").unlink()
        content = random.Random(1).randbytes(EVERYDAY_BYTES)
        (folder / "large").write_bytes(content)
        s3.put_object(Bucket=new_bucket, Key="sub/from-elsewhere.txt", Body=b"hello")
        assert {file.name for file in (folder / "sub").iterdir()} == {"moved.txt", "from-elsewhere.txt"}
        assert (folder / "sub" / "from-elsewhere.txt").read_text() == "hello"
        assert (folder / "large").read_bytes() == content
    found = stored(s3, new_bucket, "")
    assert found["sub/moved.txt"] == b"one\ntwo\n"
    assert found["large"] == content
    assert "sub/gone.txt" not in found
