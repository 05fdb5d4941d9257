"""One cluster for all S3 tests of a module; each test makes buckets of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.cluster.cluster_harness import ClusterHarness
from tests.s3.calls import Answer, Ask
from tests.s3.people import anonymous_client, client_of
from tests.s3.rig import ENDPOINT, REGION, S3Rig

_numbers = itertools.count(1)

REAL_DOMAIN = "s3.lockstep.test"
"""Of the real cluster's virtual hosts."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Rig]:
    rig = S3Rig(tmp_path_factory.mktemp("s3"), tmp_path_factory.getbasetemp() / "s3-certs")
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def s3(rig: S3Rig) -> Any:
    """A boto3 client of the administrator."""
    return rig.client()


@pytest.fixture(scope="module")
def ask(rig: S3Rig) -> Ask:
    """Sends a signed request as it stands: (method, path with arguments, headers, body)."""
    credentials = Credentials(*rig.key())

    def send(method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
        request = AWSRequest(method=method, url=ENDPOINT + path, data=body or b"", headers=headers or {})
        S3SigV4Auth(credentials, "s3", REGION).add_auth(request)
        sent = dict(request.headers.items())
        if body is not None:
            sent["Content-Length"] = str(len(body))
        status, answered, content = rig.ask(method, request.url, sent, body or b"")
        return status, {name.lower(): value for name, value in answered}, content

    return send


@pytest.fixture(scope="module")
def owner(rig: S3Rig) -> Any:
    """A client of an account, no administrator, that makes buckets."""
    return client_of(rig, "olga")


@pytest.fixture(scope="module")
def eve(rig: S3Rig) -> Any:
    """A client of another account, which owns nothing."""
    return client_of(rig, "eve")


@pytest.fixture(scope="module")
def nobody(rig: S3Rig) -> Any:
    """A client that signs nothing."""
    return anonymous_client(rig)


@pytest.fixture
def owned_bucket(owner: Any) -> str:
    """A new bucket of the owner's, with the object `k`."""
    name = f"owned-{next(_numbers)}"
    owner.create_bucket(Bucket=name)
    owner.put_object(Bucket=name, Key="k", Body=b"content")
    return name


@pytest.fixture
def make_bucket(s3: Any) -> Callable[..., str]:
    """Makes a bucket with a name of its own."""

    def make(versioning: bool = False) -> str:
        name = f"bucket-{next(_numbers)}"
        s3.create_bucket(Bucket=name)
        if versioning:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    return make


@pytest.fixture
def bucket(make_bucket: Callable[..., str]) -> str:
    """A new bucket that keeps no versions."""
    return make_bucket()


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterHarness]:
    """Real programs on real sockets, for tests that use buckets of their own and harm nothing."""
    folder, env = tmp_path_factory.mktemp("s3-cluster"), {"LOCKSTEP_PROXY_S3_DOMAIN": REAL_DOMAIN}
    with ClusterHarness(folder, file_servers=2, env=env) as cluster:
        yield cluster
