"""A cluster whose metadata is in PostgreSQL: what a killed directory, and a killed PostgreSQL, leave of its writes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import requests

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.people import file_path
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.fakes.postgres_server import PostgresServer

WRITERS = 4


class Writers:
    """Threads that write numbered files; remembers what was acknowledged, and what was refused how."""

    def __init__(self, cluster: ClusterHarness) -> None:
        self.cluster = cluster
        self.acknowledged: dict[str, bytes] = {}
        self.refusals: list[tuple[int, str]] = []
        self._url = f"{cluster.proxy_urls[0]}/api/v1"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def _write(self, number: int) -> None:
        session, turn = self.cluster.session(), 0
        while not self._stop.is_set():
            turn += 1
            path, content = f"{number}/{turn}.txt", f"{number} {turn}".encode()
            try:
                answer = session.put(f"{self._url}{file_path('files', path)}", data=content, timeout=60)
            except requests.ConnectionError:
                continue
            if answer.status_code in (200, 201):
                self.acknowledged[path] = content
            else:
                self.refusals.append((answer.status_code, answer.text))

    def wait_for_more(self, count: int = 20) -> None:
        so_far = len(self.acknowledged)
        wait_until(lambda: len(self.acknowledged) >= so_far + count, what=f"{count} more writes")

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def assert_all_there(self) -> None:
        session = self.cluster.session()
        for path, content in self.acknowledged.items():
            answer = session.get(f"{self._url}{file_path('files', path)}", timeout=60)
            assert (answer.status_code, answer.content) == (200, content), path


def test_nothing_acknowledged_is_lost(make_cluster: MakeCluster, own_postgres: PostgresServer) -> None:
    """The directory is killed and started again in the middle of writes, then PostgreSQL with all its processes."""
    with own_postgres.database() as address:
        cluster = make_cluster(file_servers=2, proxies=1, env={"LOCKSTEP_DIRECTORY_METADATA": address})
        assert not (cluster.data / "directory_server-1" / "metadata.db").exists()
        writers = Writers(cluster)
        try:
            writers.wait_for_more()
            cluster.kill("directory_server")
            cluster.start("directory_server")
            writers.wait_for_more()
            own_postgres.kill()
            wait_until(lambda: any("PostgreSQL" in text for _, text in writers.refusals), what="a refusal")
            own_postgres.start()
            writers.wait_for_more()
        finally:
            writers.stop()
        assert {status for status, _ in writers.refusals} <= {503, 504}, writers.refusals
        cluster.wait_healthy()
        writers.assert_all_there()
        cluster.close()
