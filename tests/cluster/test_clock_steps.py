"""Wall clocks of running programs step by an hour: locks, leases, tickets, log-ins and versions do not care.

The times that people are shown do follow the clock, which is how each test knows that the step has happened.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from tests.cluster.people import Person, file_path, new_token
from tests.cluster.placed_cluster import PlacedCluster, RelayPlace, name_of
from tests.cluster.test_lock_proofs import Insider
from tests.cluster.wall_clocks import HOUR, WallClocks, library
from tests.waiting import wait_until

NAMES = ["directory_server-1", "file_server-1", "file_server-2", "client_proxy-1", "client_proxy-2"]
SHORT_LIVED = {"LOCKSTEP_DIRECTORY_TOKEN_SECONDS": "1800", "LOCKSTEP_DIRECTORY_TICKET_SECONDS": "1800"}
"""Half a step: if anything judged these by a wall clock, a step would end them."""


class Steps:
    """A cluster of two file servers and two proxies, and the wall clock of each program."""

    def __init__(self, cluster: PlacedCluster, clocks: WallClocks) -> None:
        self.cluster, self.clocks = cluster, clocks

    def step(self, seconds: int, *names: str) -> None:
        """Set the clocks of `names` (all, if none) to `seconds` from the true time, and see that it has happened."""
        for name in names or NAMES:
            self.clocks.step(name, seconds)
        if not names or "directory_server-1" in names:
            wait_until(lambda: abs(self.directory_ahead() - seconds) < 60, what=f"a step of {seconds} s")

    def directory_ahead(self) -> float:
        """Seconds by which the times that the directory shows are ahead of the test's clock."""
        with Person(self.cluster) as person:
            made = person.put("what-time-is-it", repr(time.monotonic()).encode())["version"]["created_at"]
        return float(made) - time.time()


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steps]:
    """One cluster for these tests; each sets the clocks as it needs them."""
    if library() is None:
        pytest.skip("there is no libfaketime (Debian package faketime), so wall clocks cannot be set")
    folder = tmp_path_factory.mktemp("clocks")
    clocks = WallClocks(folder / "clocks", NAMES)
    options = {"env": SHORT_LIVED, "file_servers": 2, "proxies": 2, "variables": clocks.variables()}
    with RelayPlace.start(folder, **options) as cluster:
        yield Steps(cluster, clocks)


def test_leases_are_neither_ended_nor_prolonged_by_a_step(steps: Steps, seed: int) -> None:
    """A lock outlives an hour's step of every clock, can be renewed and written under, and ends with its lease."""
    path = f"lease-{seed}"
    with Person(steps.cluster, 1) as person, Person(steps.cluster, 2) as other:
        taken = person.ask("POST", "/locks", json={"paths": [f"files/{path}"], "lease_seconds": 600}).json()["lock"]
        headers = {"X-Lockstep-Lock": str(taken["number"])}
        for seconds in (HOUR, -HOUR):
            steps.step(seconds)
            refused = other.patiently("PUT", file_path("files", path), data=b"without the lock")
            assert refused.status_code == 423, refused.text
            person.put(path, b"under the lock at %d" % seconds, **headers)
        # Renewed for two seconds by a clock that is an hour behind: it ends after two seconds, not an hour later.
        renewed_at = time.monotonic()
        assert person.ask("PUT", f"/locks/lock-{taken['number']}", json={"lease_seconds": 2}).status_code == 200
        steps.step(0)
        with other.lock(path) as number:
            assert number > taken["number"]
            assert 2 <= time.monotonic() - renewed_at < 600, "an hour, then"
            late = person.patiently("PUT", file_path("files", path), data=b"too late", headers=headers)
            assert (late.status_code, late.json()["code"]) == (409, "lock_stale")


def test_tickets_and_log_ins_outlive_steps_longer_than_they_last(steps: Steps, seed: int) -> None:
    """A write begun before every clock stepped by more than a ticket's time is committed, its writer still known."""
    steps.step(0)
    token = new_token(steps.cluster, f"walker{seed % 1000}")
    with Insider(steps.cluster) as insider, Person(steps.cluster, 2, token) as walker, Person(steps.cluster) as reader:
        for seconds in (HOUR, -HOUR):
            path, content = f"ticket-{seconds}-{seed}", f"begun before a step of {seconds} s".encode()
            begun = insider.begin(path, content, 0)
            assert begun.master is not None
            steps.step(seconds)
            insider.push(begun.master, begun.ticket or "", "master", content)
            assert walker.patiently("GET", "/auth/me").status_code == 200
            assert reader.get(path) == content


def test_versions_keep_their_order_when_the_clock_goes_back(steps: Steps, seed: int) -> None:
    """The later write is current and comes first in the list of versions, although it shows the earlier time."""
    path, bucket = f"order-{seed}", f"order-{seed}"
    with Person(steps.cluster, 1) as person, Person(steps.cluster, 2) as other:
        made = person.ask("POST", "/buckets", json={"name": bucket, "versioning": "enabled"})
        assert made.status_code in (200, 201), made.text
        versions = []
        for seconds in (HOUR, 0, -HOUR):
            steps.step(seconds, "directory_server-1")
            versions.append(person.put(path, b"written at %d" % seconds, bucket)["version"])
            assert other.get(path, bucket) == b"written at %d" % seconds
        listed = person.ask("GET", f"/versions/{bucket}/{path}").json()["versions"]
        assert [one["version"] for one in listed] == [one["version"] for one in reversed(versions)]
        assert [one["created_at"] for one in listed] == sorted(one["created_at"] for one in listed)
        cursors = [one["cursor"] for one in versions]
        assert cursors == sorted(set(cursors))
        steps.step(0)


def test_the_date_of_replies_follows_a_step_backwards(steps: Steps) -> None:
    """At once, and not only when the clock has caught up with what it showed before."""
    with Person(steps.cluster) as person:
        for seconds in (0, -HOUR, 0):
            steps.step(seconds)
            shown = parsedate_to_datetime(person.patiently("GET", "/auth/me").headers["Date"]).timestamp()
            assert shown == pytest.approx(time.time() + seconds, abs=60)


@pytest.mark.soak
def test_programs_come_back_and_work_with_a_clock_that_is_an_hour_off(steps: Steps, seed: int) -> None:
    """Killed and started with another hour than its peers, each program is trusted by them, and locks are kept."""
    path = f"restart-{seed}"
    with Person(steps.cluster, 1) as person:
        taken = person.ask("POST", "/locks", json={"paths": [f"files/{path}"], "lease_seconds": 120}).json()["lock"]
        number = str(taken["number"])
        chosen = [record for record in steps.cluster.programs if record.id == "1"]
        for seconds, record in zip((-HOUR, HOUR, -HOUR), chosen, strict=True):
            steps.clocks.step(name_of(record), seconds)
            steps.cluster.kill(record.program, record.id)
            steps.cluster.start(record.program, record.id)
        person.put(path, b"with three different hours", X_Lockstep_Lock=number)
        assert person.patiently("DELETE", f"/locks/{taken['id']}").status_code == 204
        with person.lock(path) as next_number:
            assert next_number > taken["number"]
