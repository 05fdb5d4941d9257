"""Real clusters for tests, each stopped whatever happens, with the ends of their logs beside a failure."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.cluster_harness import ClusterHarness, live_harnesses

if TYPE_CHECKING:
    from tests.fakes.postgres_server import PostgresServer

MakeCluster = Callable[..., ClusterHarness]


@pytest.fixture
def make_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeCluster]:
    """`make_cluster(**options)` starts a cluster of the test's own; see ClusterHarness for the options."""
    with ExitStack() as stack:

        def make(**options: Any) -> ClusterHarness:
            return stack.enter_context(ClusterHarness(tmp_path_factory.mktemp("cluster"), **options))

        yield make


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> ClusterHarness:
    """A fresh cluster of the test's own: 3 file servers, 2 proxies, 2 copies."""
    return make_cluster()


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterHarness]:
    """One cluster for all tests that neither stop nor harm a program and use names of their own in it."""
    with ClusterHarness(tmp_path_factory.mktemp("shared")) as harness:
        yield harness


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server of the test's own, which it may kill."""
    pytest.importorskip("psycopg")
    from tests.fakes.postgres_server import PostgresServer

    server = PostgresServer()
    yield server
    server.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if report.failed and report.when in ("setup", "call"):
        for harness in live_harnesses():
            for name, tail in harness.log_tails().items():
                report.sections.append((f"end of {name}", tail))
