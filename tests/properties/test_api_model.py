"""The whole API against a dictionary: whatever is asked in whatever order, every answer is the model's.

The everyday form drives a whole cluster inside this process, and a few steps against a real one over HTTPS; the long
form (`--soak`) is the same machine for a million steps. When they differ, Hypothesis prints the shortest program of
calls that shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import initialize, run_state_machine_as_test

from tests.fakes.whole_cluster import WholeCluster
from tests.properties.api_file_rules import FileRules
from tests.properties.api_lock_rules import LockRules
from tests.properties.api_machine import ADMIN, NAMES, PEOPLE, Door
from tests.properties.api_people_rules import PeopleRules
from tests.properties.api_reading_rules import ReadingRules

EVERYDAY_EXAMPLES, EVERYDAY_STEPS = 20, 80
SOAK_EXAMPLES, SOAK_STEPS = 6000, 200


class Api(FileRules, ReadingRules, LockRules, PeopleRules):
    """All rules together."""

    @initialize()
    def something_to_begin_with(self) -> None:
        """Two buckets with files: most requests should be for what exists."""
        self.create_bucket("ann", "one", "off", True)
        self.create_bucket("bob", "two", "enabled", False)
        for place, content in enumerate(("byte", "inline", "file", "empty")):
            for who, bucket in (("ann", "one"), ("bob", "two")):
                self.put(who, bucket, NAMES[place], content, None, 0, "", {"place": str(place)}, 7, False)

    def teardown(self) -> None:
        """Nothing stays that a later example could meet: locks, keys and places."""
        for claim in [*self.model.queue, *self.model.held]:
            if claim.number > 0:
                self.door.ask(self.door.credentials[ADMIN], "DELETE", f"/locks/lock-{claim.number}?break=true")
            elif not claim.number:
                self.door.ask(self.door.credentials[claim.who], "DELETE", f"/locks/{claim.request_id}")
        for who, keys in self.keys.items():
            for id in keys:
                self.door.ask(self.door.credentials[who], "DELETE", f"/auth/keys/{id}")


def run(door: Door, examples: int, steps: int) -> None:
    """Run the machine, and print how many requests were compared."""

    machine = type("Machine", (Api,), {"door": door})
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=False,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)
    print(f"{door.requests} requests in {examples} programs of up to {steps} steps: no difference")


@pytest.fixture
def door(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A whole cluster in this process."""
    certs = tmp_path_factory.getbasetemp() / "certs"
    with WholeCluster(tmp_path, certs, token_seconds=1e12) as cluster:
        credentials = {ADMIN: {"X-Api-Key": cluster.admin_key}} | {who: cluster.log_in(who) for who in PEOPLE[1:]}
        yield Door(cluster.ask_with, credentials, cluster.pass_time)


def test_the_api_agrees_with_a_dictionary(door: Door) -> None:
    """Whatever people ask of the API, in whatever order, every answer, receipt and listing is the model's."""
    run(door, EVERYDAY_EXAMPLES, EVERYDAY_STEPS)


@pytest.mark.soak
@pytest.mark.timeout(6 * 3600)
def test_a_million_steps_agree_with_a_dictionary(door: Door) -> None:
    """The same for a million steps."""
    run(door, SOAK_EXAMPLES, SOAK_STEPS)
