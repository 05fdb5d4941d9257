"""The measurements of the S3 door: compared with the API, a long listing, a large multipart upload."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from benchmarks.cluster import BenchmarkCluster
from benchmarks.limits import GIB
from benchmarks.load import Connection, Noise, Result, run
from benchmarks.measurements import MIB, Measurement, peak_memory

REGION = "us-east-1"
BUCKET = "bench-s3"
CLIENTS = 4
PAGE = 1000
LISTINGS = 20
FILLERS = 32
PARALLEL_PARTS = 8
PART_BYTES = 16 * MIB


def client(cluster: BenchmarkCluster) -> Any:
    """A boto3 client of proxy 1, as the administrator."""
    return boto3.client(
        "s3",
        endpoint_url=cluster.proxies[0].url,
        aws_access_key_id=cluster.admin["s3_access_key"],
        aws_secret_access_key=cluster.admin["s3_secret_key"],
        region_name=REGION,
        verify=str(cluster.ca_file),
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=32),
    )


def _with_bucket(cluster: BenchmarkCluster) -> Any:
    s3 = client(cluster)
    s3.create_bucket(Bucket=BUCKET)
    return s3


# ------------------------------------------------------------ 1 MiB there and back


class _Signer(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        return "UNSIGNED-PAYLOAD"


def _signature(cluster: BenchmarkCluster, method: str, path: str) -> str:
    """The headers that sign a request. They are valid for 15 minutes, so a run can repeat the request."""
    request = AWSRequest(method, cluster.proxies[0].url + path)
    keys = Credentials(cluster.admin["s3_access_key"], cluster.admin["s3_secret_key"])
    _Signer(keys, "s3", REGION).add_auth(request)
    return "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())


def doors(cluster: BenchmarkCluster, seconds: float) -> list[Measurement]:
    """1 MiB through each door, alternating twice, so that other load on the machine affects both."""
    _with_bucket(cluster)
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(2):
        for method in ("PUT", "GET"):
            for door, address in (("api", f"/api/v1/files/{BUCKET}/"), ("s3", f"/{BUCKET}/")):
                result = _one_mib(cluster, method, address, door == "s3", seconds)
                rates.setdefault((method, door), []).append(result.rate)
    results = []
    for method in ("PUT", "GET"):
        api, s3 = (sum(rates[method, door]) / 2 for door in ("api", "s3"))
        detail = f"S3 {s3:,.0f}/s, API {api:,.0f}/s, {CLIENTS} clients"
        results.append(Measurement(f"1 MiB {method} over S3", api / s3, "of the API's time", 1.3, "less", detail))
    return results


def _one_mib(cluster: BenchmarkCluster, method: str, address: str, signed: bool, seconds: float) -> Result:
    tables = [bytes(byte ^ number for byte in range(256)) for number in range(1, 256)]

    def work(connection: Connection, number: int) -> Callable[[], None]:
        path = f"{address}mib-{number}"
        headers = _signature(cluster, method, path) if signed else ""
        content = random.Random(os.urandom(8)).randbytes(MIB)
        turn = itertools.cycle(tables)
        get = connection.prepare("GET", path, b"", headers)

        def operation() -> None:
            request = get
            if method == "PUT":  # new content each time: known chunks would not be sent on
                request = connection.prepare("PUT", path, content.translate(next(turn)), headers)
            status, _, body = connection.exchange(request)
            if status not in (200, 201) or (method == "GET" and len(body) != MIB):
                raise RuntimeError(f"{method} {path} was answered {status}: {body[:300]!r}")

        return operation

    return run(cluster.proxies[0], work, CLIENTS, seconds)


# ------------------------------------------------------------ a long listing


def listing(cluster: BenchmarkCluster, keys: int) -> Measurement:
    """The processor time of all programs for a page of 1,000 keys in the middle of a bucket with `keys` keys."""
    s3 = _with_bucket(cluster)
    _fill(cluster, keys)
    middle = "listed/48/"
    before = cluster.processor_seconds()
    started = time.perf_counter()
    for _ in range(LISTINGS):
        page = s3.list_objects_v2(Bucket=BUCKET, Prefix="listed/", StartAfter=middle, MaxKeys=PAGE)
        if page["KeyCount"] != min(PAGE, keys):
            raise RuntimeError(f"the page has {page['KeyCount']} keys")
    taken = time.perf_counter() - started
    used = cluster.processor_seconds() - before
    idle = cluster.processor_seconds()
    time.sleep(taken)
    used -= min(used, cluster.processor_seconds() - idle)  # what the programs do anyway
    return Measurement(
        f"a page of {PAGE:,} out of {keys:,} keys",
        1e3 * used / LISTINGS,
        "ms of processor time",
        50.0,
        "less",
        f"{1e3 * taken / LISTINGS:.0f} ms with the client's own time",
    )


def _fill(cluster: BenchmarkCluster, keys: int) -> None:
    """Create empty files through the API, which is cheapest for the client: no content, and nothing to sign."""
    numbers = iter(range(keys))

    def fill() -> None:
        connection = Connection(cluster.proxies[0])
        for number in numbers:
            path = f"/api/v1/files/{BUCKET}/listed/{number % 97:02}/{number:07}"
            status, _, body = connection.exchange(connection.prepare("PUT", path))
            if status not in (200, 201):
                raise RuntimeError(f"PUT {path} was answered {status}: {body[:300]!r}")
        connection.close()

    with ThreadPoolExecutor(FILLERS) as pool:
        for filler in [pool.submit(fill) for _ in range(FILLERS)]:
            filler.result()


# ------------------------------------------------------------ a large upload in parts


def multipart(cluster: BenchmarkCluster, size: int) -> Measurement:
    """The peak resident memory of any program during a parallel multipart upload and a download."""
    s3 = _with_bucket(cluster)
    cluster.forget_peaks()
    config = TransferConfig(
        multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=PARALLEL_PARTS
    )
    started = time.perf_counter()
    s3.upload_fileobj(Noise(size), BUCKET, "in-parts", Config=config)
    taken = time.perf_counter() - started
    answer = s3.get_object(Bucket=BUCKET, Key="in-parts")
    if sum(map(len, answer["Body"].iter_chunks(MIB))) != size:
        raise RuntimeError("a short download")
    what = f"{size / GIB:.2g} GiB in parts, {PARALLEL_PARTS} at a time"
    return peak_memory(cluster, what, f"{size / taken / 1e6:,.0f} MB/s up; ")
