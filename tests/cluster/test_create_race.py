"""`If-None-Match: *` from many people at once, through different proxies: one of them makes the file."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person, file_path

RACERS = 50


class Race:
    """`RACERS` people, each with a connection to one of the proxies, who start every round together."""

    def __init__(self, cluster: ClusterHarness, seed: int) -> None:
        self.proxies = len(cluster.proxy_urls)
        self.people = [Person(cluster, 1 + number % self.proxies) for number in range(RACERS)]
        self.rng = random.Random(seed)
        self.start = threading.Barrier(RACERS)
        self.winners: Counter[int] = Counter()

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *_: object) -> None:
        for person in self.people:
            person.session.close()

    def run(self, rounds: int) -> None:
        """Race for one new path after another; exactly one wins each, and its content is what everyone reads."""
        with ThreadPoolExecutor(RACERS) as pool:
            for number in range(rounds):
                path = f"race-{self.rng.getrandbits(64):x}"
                contents = [b"racer %d in round %d" % (racer, number) for racer in range(RACERS)]
                answers = list(pool.map(self._create, self.people, [path] * RACERS, contents))
                won = [racer for racer, status in enumerate(answers) if status == 201]
                assert len(won) == 1, f"round {number}: {Counter(answers)}, won by {won}"
                assert Counter(answers) == {201: 1, 412: RACERS - 1}
                self.winners[won[0] % self.proxies] += 1
                for proxy in range(self.proxies):
                    assert self.people[proxy].get(path) == contents[won[0]]

    def _create(self, person: Person, path: str, content: bytes) -> int:
        self.start.wait(60)
        headers = {"If-None-Match": "*"}
        return person.ask("PUT", file_path("files", path), data=content, headers=headers).status_code


def _run(cluster: ClusterHarness, seed: int, rounds: int) -> None:
    with Race(cluster, seed) as race:
        race.run(rounds)
    by_proxy = ", ".join(f"proxy {proxy + 1}: {count}" for proxy, count in sorted(race.winners.items()))
    print(f"\n{rounds} rounds of {RACERS} racers, one winner each ({by_proxy})")


def test_of_many_racers_one_makes_the_file(shared_cluster: ClusterHarness, seed: int) -> None:
    """Of 50 people who create one path at once through different proxies exactly one is told that it was made."""
    _run(shared_cluster, seed, 20)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_of_many_racers_one_makes_the_file_a_thousand_times(shared_cluster: ClusterHarness, seed: int) -> None:
    """The same, 1,000 times."""
    _run(shared_cluster, seed, 1000)
