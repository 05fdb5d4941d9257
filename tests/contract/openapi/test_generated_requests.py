"""Requests that schemathesis makes from the served OpenAPI document, against a whole cluster inside this process.

Every answer must be one that the document describes: its status, content type, headers and shape. Requests that break
a declared rule must be refused, requests without a valid log-in too, and none may end in a 500. `--soak` is the long
form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fakes.whole_cluster import WholeCluster

EVERYDAY_EXAMPLES, SOAK_EXAMPLES = 4, 2000
OPERATIONS = 53


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCluster]:
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "certs").mkdir()
    (folder / "cluster").mkdir()
    with WholeCluster(folder / "cluster", folder / "certs") as made:
        yield made


def _run(cluster: WholeCluster, examples: int) -> None:
    import schemathesis
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", cluster.proxies["1"].app)

    @schema.auth()
    class Administrator:
        def get(self, case: Any, context: Any) -> str:
            return cluster.admin_key

        def set(self, case: Any, data: str, context: Any) -> None:
            case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}

    chosen = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= OPERATIONS
    for operation in operations:

        @chosen
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            # What a schema cannot say is refused too: a lock that is not yours, a digest that is not the content's.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        ask()


def test_every_answer_is_as_the_document_says(cluster: WholeCluster) -> None:
    """A few requests for each operation."""
    _run(cluster, EVERYDAY_EXAMPLES)


@pytest.mark.soak
def test_every_answer_is_as_the_document_says_for_long(cluster: WholeCluster) -> None:
    """The same with thousands for each operation."""
    _run(cluster, SOAK_EXAMPLES)
