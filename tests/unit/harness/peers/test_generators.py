"""Both load generators do the same jobs: the Go one where Go is, and the Python one everywhere."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peers.generator import Generator, LoadFailed
from benchmarks.peers.job import Job
from tests.unit.harness.peers.s3_double import ACCESS_KEY, API_KEY, REGION, SECRET_KEY, S3Double


@pytest.fixture(scope="module", params=["Go", "Python"])
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    go = shutil.which("go") if request.param == "Go" else None
    if request.param == "Go" and go is None:
        pytest.skip("Go is not installed")
    made = Generator(tmp_path_factory.mktemp("generator"), lambda text: None, go)
    assert made.language == request.param
    return made


@pytest.fixture
def server() -> Iterator[S3Double]:
    double = S3Double()
    yield double
    double.close()


@pytest.fixture
def job(server: S3Double) -> Job:
    return Job("", [server.url], "", ACCESS_KEY, SECRET_KEY, REGION, "bucket", API_KEY, "p/", "seed", 5000, clients=3)


def test_writes_are_numbered_without_gaps_and_all_differ(server: S3Double, job: Job, generator: Generator) -> None:
    """Every key up to the count is written once, and no block of 16 bytes appears twice in all contents."""
    load = generator.run(job.but(operation="put", limit=40))
    assert load.operations == 40 == len(load.latencies_us)
    assert load.rate > 0
    assert load.processor_seconds > 0
    assert set(server.objects) == {f"p/{number:07d}" for number in range(40)}
    blocks = [body[at : at + 16] for body in server.objects.values() for at in range(0, 5000 - 16, 16)]
    assert len(blocks) == len(set(blocks))
    assert {len(body) for body in server.objects.values()} == {5000}


def test_what_was_written_can_be_used_and_then_deleted(server: S3Double, job: Job, generator: Generator) -> None:
    """Reads, heads and listings find what a run of their own wrote, by key and seed alone; deletions leave nothing."""
    generator.run(job.but(operation="put", limit=20))
    for operation in ("get", "head"):
        assert generator.run(job.but(operation=operation, keys=20, limit=50)).operations == 50
    assert generator.run(job.but(operation="list", keys=20, limit=4)).operations == 4
    assert generator.run(job.but(operation="delete", limit=20)).operations == 20
    assert server.objects == {}
    assert server.asked == {"PUT": 20, "GET": 54, "HEAD": 50, "DELETE": 20}


def test_a_run_ends_when_its_time_is_over(server: S3Double, job: Job, generator: Generator) -> None:
    """Without a limit, the seconds end a run, and what it counts is what the server was asked."""
    load = generator.run(job.but(operation="put", seconds=0.3))
    assert load.operations == len(server.objects) > 0
    assert load.elapsed_seconds >= 0.3


def test_a_bucket_and_locks(server: S3Double, job: Job, generator: Generator) -> None:
    """Each client has a lock of its own, so nobody waits for another, and all are released."""
    generator.run(job.but(operation="make_bucket", limit=1))
    assert server.buckets == {"bucket"}
    assert generator.run(job.but(operation="lock", limit=30)).operations == 30
    assert server.locks == set()
    assert server.asked["POST"] == server.asked["DELETE"] == 30


def test_an_upload_sends_every_part_once_and_names_them_in_order(
    server: S3Double, job: Job, generator: Generator
) -> None:
    """Parts go up several at a time, the last one is shorter, and the completion lists their tags by number."""
    load = generator.run(job.but(operation="upload", size=10_500, part_size=1000))
    assert load.operations == 1
    assert {number: len(body) for number, body in server.parts.items()} == {
        **dict.fromkeys(range(1, 11), 1000),
        11: 500,
    }
    assert len(set(server.parts.values())) == 11
    listed = re.findall(r"<PartNumber>(\d+)</PartNumber><ETag>([^<]+)</ETag>", server.completed)
    assert [int(number) for number, _ in listed] == list(range(1, 12))
    assert all(f"part-{number}" in tag for number, tag in listed)


@pytest.mark.parametrize("operation", ["get", "list"])
def test_a_wrong_answer_ends_the_run(server: S3Double, job: Job, generator: Generator, operation: str) -> None:
    """Wrong bytes and pages that are too short are failures, not figures."""
    generator.run(job.but(operation="put", limit=3))
    server.break_content = True
    with pytest.raises(LoadFailed, match=r"wrong content of p/|a page has 3 keys instead of 4"):
        generator.run(job.but(operation=operation, keys=4 if operation == "list" else 3, limit=3))


def test_a_refused_request_is_named(job: Job, generator: Generator) -> None:
    """The failure says what was refused, and how."""
    with pytest.raises(LoadFailed, match=r"403.*SignatureDoesNotMatch"):
        generator.run(job.but(operation="put", secret_key="other", limit=1))


def test_a_server_that_is_not_there(job: Job, generator: Generator) -> None:
    """No connection is a failure that the generator reports in one line."""
    with pytest.raises(LoadFailed, match=r"the load generator ended: .*refused"):
        generator.run(job.but(operation="put", endpoints=["http://127.0.0.1:1"]))


def test_a_machine_where_go_cannot_build_uses_python(tmp_path: Path) -> None:
    """A Go that fails is said, and does not end the run."""
    said: list[str] = []
    made = Generator(tmp_path, said.append, "false")
    assert made.language == "Python"
    assert any("runs in Python" in text for text in said)
