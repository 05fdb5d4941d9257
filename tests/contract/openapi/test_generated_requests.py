"""Requests that schemathesis makes from the served OpenAPI document, against a whole cluster inside this process.

Every answer must be one that the document describes: its status, content type, headers and shape. Requests that break
a declared rule must be refused, requests without a valid log-in too, and none may end in a 500. `--soak` is the long
form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from tests.fakes.whole_cluster import WholeCluster

EVERYDAY_EXAMPLES, SOAK_EXAMPLES = 10, 2000
OPERATIONS = 53
EVERYDAY_ROUNDS, SOAK_ROUNDS, MORE_ROUNDS, WALKS, WALK_STEPS = 4, 400, 30, 5, 12
FILE = "/api/v1/files/{bucket}/{path}"
ACCEPTED = ["2xx", "304", "401", "403", "404", "409", "412", "416", "423", "424", "503", "507"]
"""Requests that are valid by their schemas are done, or refused for what is there: a lock, a version, a quota."""
BEYOND_SCHEMAS = {
    "write_file": "a digest is only for chunk streams",
    "upload_form": "what a form's path and file name may be",
    "copy_file": "content types, and names in metadata",
    "create_folder": "the slash at a folder's end counts towards the length of its name",
    "delete_folder": "the slash at a folder's end counts towards the length of its name",
    "move_folder": "a folder cannot be moved into itself",
    "download_archive": "the folder counts towards the length of a name, and all names towards that of the address",
    "set_lifecycle": "which members of a rule belong together",
    "set_bucket_policy": "what a policy may say",
    "preview_bucket_policy": "what a policy may say",
    "create_share": "1.0 is an integer to a schema",
    "set_trash": "1.0 is an integer to a schema",
    "restore_trash": "1.0 is an integer to a schema",
    "empty_trash": "a path and its marker belong together",
    "folder_analytics": "the path of a folder ends with a slash",
    "change_facts": "something has to change; which characters descriptions and tags may have",
    "search": "a search needs a text or a filter",
    "set_account_quota": "1.0 is an integer to a schema",
    "set_bucket_quota": "1.0 is an integer to a schema",
    "set_tenant_quota": "1.0 is an integer to a schema",
    "create_tenant": "which names a tenant may have",
    "acquire_lock": "what a path is depends on the bucket beside it",
    "release_lock": "a reason is for breaking only",
    "restore_version": "a lock's number is written without a point: 1.0 is an integer to a schema",
    "login": "which characters a name may have (RFC 8265)",
    "register": "which characters a name may have (RFC 8265)",
    "change_password": "which characters a name may have (RFC 8265), and which passwords are refused",
    "begin_second_factor": "which characters a name may have (RFC 8265)",
    "confirm_second_factor": "which characters a name may have (RFC 8265)",
    "disable_second_factor": "which characters a name may have (RFC 8265)",
    "new_recovery_codes": "which characters a name may have (RFC 8265)",
    "start_sign_on": "a browser needs an address to come back to",
    "put_sso_provider": "what an issuer, a rule and a CA file are",
    "unlink_identity": "both arguments are needed",
    "create_user": "which characters a name may have (RFC 8265)",
    "create_group": "which characters a name may have (RFC 8265)",
    "create_service_account": "what a policy may say",
    "put_service_policy": "what a policy may say",
    "logout": "an API key cannot log out",
    "create_kms_key": "a name must not look like an id",
    "join_secret": "which ids a program may have",
    "repair_report": "which buckets and paths there can be in `after`",
    "add_target": "addresses of brokers, and names",
    "remove_target": "names of targets",
    "test_target": "names of targets",
}
"""Operations that refuse with 400 what no schema says, and what that is."""
WALKED = [
    *("list_buckets", "create_bucket", "list_files", "write_file", "read_file", "delete_file"),
    *("list_versions", "restore_version", "acquire_lock", "renew_lock", "release_lock"),
]
REACHED = {
    (f"GET {FILE}", 200),
    (f"DELETE {FILE}", 200),
    ("GET /api/v1/versions/{bucket}/{path}", 200),
    ("DELETE /api/v1/locks/{id}", 204),
}
"""What the walks must have met: operations that succeed only on what exists."""


PROXY = "1"
ADMINISTRATOR = "admin"
ENDING = frozenset({"remove_proxy", "revoke_program"})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCluster]:
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "certs").mkdir()
    (folder / "cluster").mkdir()
    with WholeCluster(folder / "cluster", folder / "certs") as made:
        # Long polls end at once, as they do for lack of a change: nobody else is there who could make one.
        made.proxies[PROXY].app.extensions["lockstep"].on_stopping()
        yield made


def _schema(cluster: WholeCluster) -> Any:
    """The served document, whose requests are an administrator's."""
    import schemathesis

    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", cluster.proxies[PROXY].app)

    @schema.auth()
    class Administrator:
        def get(self, case: Any, context: Any) -> str:
            return cluster.admin_key

        def set(self, case: Any, data: str, context: Any) -> None:
            case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}

    schema.config.checks.positive_data_acceptance.expected_statuses = ACCEPTED
    schema.config.checks.negative_data_rejection.expected_statuses += ["304", "412", "416"]
    return schema


def _run(cluster: WholeCluster, examples: int) -> None:
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    schema = _schema(cluster)
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
        is_beyond = operation.definition.raw["operationId"] in BEYOND_SCHEMAS
        _ask(operation, chosen, [positive_data_acceptance] if is_beyond else [])


def _ends_the_proxy(case: Any) -> bool:
    """Whether the request ends the membership of the proxy that it goes through."""
    named = unquote(str((case.path_parameters or {}).get("id")))
    return named == PROXY and case.operation.definition.raw["operationId"] in ENDING


def _ends_the_administrator(case: Any) -> bool:
    """Whether the request may end the log-ins and keys of the account that all requests are made with."""
    named = unquote(str((case.path_parameters or {}).get("user")))
    return named == ADMINISTRATOR and case.operation.method.upper() != "GET"


def _is_as_declared(case: Any) -> bool:
    """Whether the values in the address fit their patterns. In rare cases schemathesis 4.32 sends others as valid."""
    for parameter in case.operation.definition.raw.get("parameters", ()):
        pattern = parameter["schema"].get("pattern", "") if parameter["in"] == "path" else ""
        if pattern and not re.search(pattern, unquote(str(case.path_parameters[parameter["name"]]))):
            return False
    return True


def _ask(operation: Any, chosen: settings, excluded: list[Any]) -> None:
    @chosen
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        assume(not _ends_the_proxy(case) and not _ends_the_administrator(case) and _is_as_declared(case))
        case.call_and_validate(excluded_checks=excluded)

    ask()


def test_every_answer_is_as_the_document_says(cluster: WholeCluster) -> None:
    """A few requests for each operation."""
    _run(cluster, EVERYDAY_EXAMPLES)


@pytest.mark.soak
def test_every_answer_is_as_the_document_says_for_long(cluster: WholeCluster) -> None:
    """The same with thousands for each operation."""
    _run(cluster, SOAK_EXAMPLES)


def _follow(cluster: WholeCluster, rounds: int) -> None:
    """Follow the document's links from what requests created: read, restore, lock, release, delete it.

    A round ends early when an answer differs from that of an earlier walk, because the cluster remembers both.
    """
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    schema = _schema(cluster).include(operation_id=WALKED)

    @schema.hook
    def map_headers(context: Any, headers: Any) -> Any:
        """Writes that ask for nothing more: hardly one succeeds with a lock, a digest and conditions made up."""
        return {} if context.operation.label == f"PUT {FILE}" else headers

    class Followed(schema.as_state_machine()):  # type: ignore[misc]
        def validate_response(self, response: Any, case: Any, *args: Any, **more: Any) -> None:
            reached.add((case.operation.label, response.status_code))
            try:
                case.validate_response(response, excluded_checks=[positive_data_acceptance])
            except Exception as failure:
                failures.append(failure)
                raise

    reached: set[tuple[str, int]] = set()
    failures: list[Exception] = []
    chosen = settings(
        max_examples=WALKS,
        stateful_step_count=WALK_STEPS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    number = 0
    while number < rounds or not reached >= REACHED:
        with suppress(Flaky):
            run_state_machine_as_test(seed(number)(Followed), settings=chosen)
        assert failures == []
        number += 1
        assert number < rounds + MORE_ROUNDS, f"never reached: {REACHED - reached}"


def test_links_lead_to_what_was_created(cluster: WholeCluster) -> None:
    """Without them, hardly a generated request meets a file, a version or a lock that exists."""
    _follow(cluster, EVERYDAY_ROUNDS)


@pytest.mark.soak
def test_links_lead_to_what_was_created_for_long(cluster: WholeCluster) -> None:
    """The same with many walks."""
    _follow(cluster, SOAK_ROUNDS)
