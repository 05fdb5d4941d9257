"""The state machine of `tests/properties/test_api_model.py` against a real cluster, over HTTPS, through two proxies."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import pytest

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person, new_token
from tests.fakes.wsgi import Answer
from tests.properties.api_machine import ADMIN, PEOPLE, Door
from tests.properties.test_api_model import run

EVERYDAY_EXAMPLES, EVERYDAY_STEPS = 12, 40
"""Few steps each: a place in line that nobody asks about is lost after half a minute, which no example may last."""
SOAK_EXAMPLES, SOAK_STEPS = 100, 200


@pytest.fixture
def door(shared_cluster: ClusterHarness) -> Iterator[Door]:
    """A real cluster; each request goes through the other proxy than the one before. Nobody moves its clock."""
    credentials = {ADMIN: {"X-Api-Key": shared_cluster.admin_key}}
    credentials |= {who: {"Authorization": f"Bearer {new_token(shared_cluster, who)}"} for who in PEOPLE[1:]}
    with ExitStack() as stack:
        people = [stack.enter_context(Person(shared_cluster, proxy)) for proxy in (1, 2)]
        for person in people:
            person.session.headers.clear()
        turn = itertools.cycle(people)

        def ask(headers: dict[str, str], method: str, target: str, body: bytes = b"") -> Answer:
            answer = next(turn).ask(method, target, data=body or None, headers=headers)
            # Servers may spell header names as they like.
            return Answer(answer.status_code, cast("dict[str, str]", answer.headers), answer.content)

        yield Door(ask, credentials)


def test_a_real_cluster_agrees_with_a_dictionary(door: Door) -> None:
    """Through two proxies in turn, every answer, receipt and listing is what one dictionary says."""
    run(door, EVERYDAY_EXAMPLES, EVERYDAY_STEPS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_real_cluster_agrees_with_a_dictionary_for_long(door: Door) -> None:
    """The same for 20,000 steps."""
    run(door, SOAK_EXAMPLES, SOAK_STEPS)
