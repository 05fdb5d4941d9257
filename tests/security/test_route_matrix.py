"""Every operation of the API for everybody: who is served, and who is refused.

The operations are those of the served document. One that ROUTES does not name fails, so a new route is classified
before it is served.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fakes.wsgi import Answer
from tests.s3.post_forms import FORM_TYPE, form
from tests.s3.rig import S3Rig
from tests.security.identities import (
    ADMINISTRATORS,
    EVERYBODY,
    LIMITED,
    LIVE,
    MEMBERS,
    OWNER,
    OWNERS,
    PASSWORD,
    READERS,
    VOID,
    WRITERS,
    Identities,
)
from tests.security.people import comparable

FORBIDDEN, NOT_THERE = 403, 404


@dataclass(frozen=True)
class Route:
    """Who is served; `refusal` is the answer to others with an account, `void` to those without one, or whose key is
    for S3 alone."""

    served: frozenset[str]
    refusal: int = FORBIDDEN
    void: int = 401
    query: str = ""
    body: Any = None
    """In place of the document's example. `{name}` in texts, also in `query`, is a value of the request's world."""
    content_type: str = ""
    otherwise: tuple[int, ...] = ()
    """Further statuses of those who are served: what the world has no success for."""
    sees_bucket: frozenset[str] | None = None
    """Whose answers name the owner's bucket, where everybody gets one."""


def _for_administrators(*otherwise: int, query: str = "", body: Any = None) -> Route:
    return Route(ADMINISTRATORS, query=query, body=body, otherwise=otherwise)


_OPEN, _ACCOUNT = Route(EVERYBODY), Route(LIVE)
_WITH_CODE = {"username": "{user}", "password": PASSWORD, "code": "{code}"}
_numbers = itertools.count(1)
ROUTES: dict[str, Route] = {
    # By the operations' ids; words after an id tell two uses apart.
    # Files
    "list_files": Route(READERS),
    "stat_file": Route(READERS),
    "read_file": Route(READERS),
    "write_file": Route(WRITERS, body=b"new content"),
    "upload_form": Route(WRITERS, body=form([("file", b"new content")]), content_type=FORM_TYPE),
    "delete_file": Route(WRITERS),
    "read_manifest": Route(READERS),
    "download_archive": Route(READERS),
    "download_archive of a selection": Route(READERS, query="name={path}"),
    "copy_file": Route(
        WRITERS, body={"source": {"bucket": "{bucket}", "path": "{path}"}, "bucket": "{bucket}", "path": "copy"}
    ),
    "list_versions": Route(READERS),
    "restore_version": Route(WRITERS, body={"version": "{version}"}),
    "storage_analytics": Route(OWNERS, query="bucket={bucket}"),
    "storage_analytics of all": _ACCOUNT,
    "file_type_analytics": Route(OWNERS, query="bucket={bucket}"),
    "growth_analytics": Route(OWNERS, query="bucket={bucket}"),
    "folder_analytics": Route(OWNERS),
    "facts": Route(READERS),
    "change_facts": Route(WRITERS, body={"description": "new", "tags": {"a": "1"}}),
    "search": Route(LIVE, query="q=k&limit=200", sees_bucket=READERS),
    "search in a bucket": Route(READERS, query="q=k&bucket={bucket}"),
    "changes": Route(LIVE, query="cursor={cursor}", sees_bucket=OWNERS),
    "changes of a bucket": Route(READERS, query="bucket={bucket}&cursor={cursor}"),
    # Folders
    "create_folder": Route(WRITERS, body={"bucket": "{bucket}", "path": "{new}"}),
    "move_folder": Route(WRITERS, body={"bucket": "{bucket}", "path": "in", "to_path": "moved"}),
    "delete_folder": Route(WRITERS),
    "list_folder_changes": _ACCOUNT,
    "get_folder_change": Route(OWNERS, NOT_THERE),
    "retry_folder_change": Route(OWNERS, NOT_THERE, otherwise=(409,)),  # there is nothing left to do
    "stop_folder_change": Route(OWNERS, NOT_THERE),
    # Trash
    "list_trash": Route(READERS),
    "trash_totals": Route(READERS),
    "set_trash": Route(OWNERS),
    "restore_trash": Route(OWNERS, body={"path": "{path}", "marker": "{version}"}),
    "empty_trash": Route(OWNERS, body={"path": "{path}", "marker": "{version}"}),
    # Buckets
    "list_buckets": Route(LIVE, sees_bucket=OWNERS),
    "create_bucket": Route(MEMBERS, body={"name": "{new}"}),
    "get_bucket": Route(READERS),
    "change_bucket": Route(OWNERS),
    "delete_bucket": Route(OWNERS),
    # Locks
    "acquire_lock": Route(WRITERS, body={"paths": ["{bucket}/free"]}),
    "list_locks": Route(LIVE, sees_bucket=OWNERS),
    "watch_locks": Route(LIVE, query="seconds=0", sees_bucket=OWNERS),
    "renew_lock": Route(OWNER),
    "release_lock": Route(OWNERS, query="break=true&reason=holidays"),
    # People
    "login": Route(EVERYBODY, body={"username": "stranger", "password": PASSWORD}),
    "register": Route(EVERYBODY, body={"username": "{new}", "password": PASSWORD}),
    "change_password": Route(
        EVERYBODY, body={"username": "{user}", "password": PASSWORD, "new_password": "horse, correct"}
    ),
    "second_factor": _ACCOUNT,
    "begin_second_factor": Route(EVERYBODY, body={"username": "{user}", "password": PASSWORD}),
    "confirm_second_factor": Route(EVERYBODY, body=_WITH_CODE),
    "disable_second_factor": Route(EVERYBODY, body=_WITH_CODE),
    "new_recovery_codes": Route(EVERYBODY, body=_WITH_CODE),
    "reset_second_factor": _for_administrators(),
    "logout": Route(EVERYBODY - {"anonymous"}, otherwise=(400,)),  # an API key is revoked instead
    "who_am_i": _ACCOUNT,
    "list_keys": _ACCOUNT,
    "create_key": _ACCOUNT,
    "revoke_key": Route(OWNER, NOT_THERE),
    "list_s3_keys": _ACCOUNT,
    "create_s3_key": _ACCOUNT,
    "rotate_s3_key": Route(OWNER, NOT_THERE),
    "revoke_s3_key": Route(OWNER, NOT_THERE),
    "list_service_accounts": _ACCOUNT,
    "create_service_account": Route(LIVE, body={"name": "{new}"}),
    "get_service_account": Route(OWNER, NOT_THERE),
    "delete_service_account": Route(OWNER, NOT_THERE),
    "put_service_policy": Route(OWNER, NOT_THERE),
    "delete_service_policy": Route(OWNER, NOT_THERE),
    "create_service_key": Route(OWNER, NOT_THERE),
    "change_service_key": Route(OWNER, NOT_THERE),
    "revoke_service_key": Route(OWNER, NOT_THERE),
    "list_users": _for_administrators(),
    "create_user": _for_administrators(body={"name": "{new}"}),
    "change_user": _for_administrators(),
    "delete_user": _for_administrators(),
    "reset_password": _for_administrators(),
    "user_access": _for_administrators(),
    "revoke_user_access": _for_administrators(),
    "revoke_one_access": _for_administrators(),
    "audit": _for_administrators(),
    "list_groups": Route(LIVE),
    "create_group": _for_administrators(body={"name": "{new}"}),
    "get_group": Route(OWNERS, NOT_THERE),
    "change_group": Route(OWNERS, NOT_THERE, body={"accounts": {"stranger": None}}),
    "delete_group": _for_administrators(),
    "list_tenants": _for_administrators(),
    "create_tenant": _for_administrators(body={"name": "{new}"}),
    "delete_tenant": _for_administrators(),
    "sign_on_offers": _OPEN,
    # Nobody is refused, but the test's cluster has no provider to log in with.
    "start_sign_on": Route(EVERYBODY, otherwise=(404,)),
    "continue_sign_on": Route(EVERYBODY, otherwise=(401,)),
    "list_sso_providers": _for_administrators(),
    "put_sso_provider": _for_administrators(),
    "remove_sso_provider": _for_administrators(404),
    "list_sso_links": _for_administrators(),
    "link_identity": _for_administrators(404),
    "unlink_identity": _for_administrators(404, query="issuer=https://login.lab.test&subject=1"),
    # Sharing
    "lifecycle": Route(READERS),
    "set_lifecycle": Route(OWNERS, body={"rules": []}),
    "access": _ACCOUNT,
    "bucket_policy": Route(OWNERS | {"read-only"}),  # whom the policy lets do everything
    "set_bucket_policy": Route(OWNERS, body={"policy": None}),
    "preview_bucket_policy": Route(OWNERS, body={"policy": None, "path": "{path}"}),
    "set_access": Route(OWNERS, body={"path": "k"}),
    "change_access": Route(OWNERS, body={"path": "k"}),
    "list_shared_with_me": _ACCOUNT,
    "list_shares": _ACCOUNT,
    "create_share": Route(READERS - {"read-only"}, body={"bucket": "{bucket}", "path": "{path}"}),
    "revoke_share": Route(OWNERS, NOT_THERE),
    "share_rule": Route(READERS),
    "set_share_rule": Route(OWNERS, body={"links": "any"}),
    "list_quotas": _for_administrators(),
    "account_quota": Route(OWNERS),
    "set_account_quota": _for_administrators(body={"quotas": {"bytes": 1000000}}),
    "bucket_quota": Route(OWNERS),
    "set_bucket_quota": _for_administrators(body={"quotas": {"bytes": 1000000}}),
    "tenant_quota": _for_administrators(),
    "set_tenant_quota": _for_administrators(body={"quotas": {"bytes": 1000000}}),
    # Cluster
    "health": _OPEN,
    "cluster": _ACCOUNT,
    "join_secret": _for_administrators(),
    "enrol": Route(
        frozenset(), void=FORBIDDEN, body={"secret": "x" * 40, "csr_pem": "none", "role": "file_server", "id": "9"}
    ),
    "dashboard": _for_administrators(),
    "policy_metrics": _for_administrators(),
    "list_servers": _ACCOUNT,
    "drain_server": _for_administrators(),
    "remove_server": _for_administrators(),
    "balance": _for_administrators(),
    "repair_report": _for_administrators(),
    "list_proxies": _for_administrators(),
    "remove_proxy": _for_administrators(404),
    "revoke_program": _for_administrators(404),
    "start_fsck": _for_administrators(409),
    "fsck_report": _for_administrators(),
    "backup": _for_administrators(),
    "follow_backup": _for_administrators(),
    "recovery": _for_administrators(),
    "recover": _for_administrators(409),  # nothing to recover
    "list_storage_keys": _for_administrators(),
    "rotate_storage_keys": _for_administrators(),
    "retire_storage_key": _for_administrators(404),
    "list_authorities": _for_administrators(),
    "rotate_authority": _for_administrators(),
    "retire_authority": _for_administrators(404),
    "trusted_authorities": _OPEN,
    "list_targets": _for_administrators(),
    "add_target": _for_administrators(),
    "remove_target": _for_administrators(404),
    "test_target": _for_administrators(404),
    "list_kms_keys": _for_administrators(),
    "create_kms_key": _for_administrators(body={"name": "{new}"}),
    "enable_kms_key": _for_administrators(),
    "disable_kms_key": _for_administrators(),
    "rotate_kms_key": _for_administrators(),
    # About
    "openapi": _OPEN,
    "docs": _OPEN,
    "docs_file": _OPEN,
}


@dataclass
class Operation:
    """One operation of the served document."""

    method: str
    template: str
    described: dict[str, Any] = field(repr=False)

    @property
    def successes(self) -> list[int]:
        return [int(status) for status in self.described["responses"] if status.startswith("2")]


@pytest.fixture(scope="module")
def everybody(rig: S3Rig) -> Identities:
    return Identities(rig)


@pytest.fixture(scope="module")
def operations(rig: S3Rig) -> dict[str, Operation]:
    """By their ids."""
    served = rig.cluster.ask_with({}, "GET", "/openapi.json").json
    return {
        described["operationId"]: Operation(method.upper(), path.removeprefix("/api/v1"), described)
        for path, methods in served["paths"].items()
        for method, described in methods.items()
    }


HIDDEN = ("bucket", "user", "group", "tenant", "service_account", "id")


class World:
    """What a request for the operation `id` is about, by the names in its address and body."""

    def __init__(self, everybody: Identities, id: str) -> None:
        number = next(_numbers)
        self._everybody = everybody
        self._values = {"new": f"new-{number}", "user": f"user-{number}", "key": f"key-{number}", "id": "9"}
        self._values |= {"path": "k", "file": "page.css", "role": "file_server", "provider": "9"}
        self._values["bucket"] = everybody.bucket([] if id == "delete_bucket" else ["k"])
        if id in ("account_quota", "set_account_quota"):
            self._values["user"] = "owner"
        for ids, make in (
            (("change_user", "delete_user", "reset_password", "user_access", "revoke_user_access"), self._user),
            (("revoke_one_access", "change_password"), self._log_in),
            (("begin_second_factor",), self._user),
            (("confirm_second_factor",), self._begun_factor),
            (("disable_second_factor", "new_recovery_codes", "reset_second_factor"), self._factor),
            (("renew_lock", "release_lock", "list_locks", "watch_locks"), self._lock),
            (("revoke_key",), self._api_key),
            (("rotate_s3_key", "revoke_s3_key"), self._s3_key),
            (("get_service_account", "delete_service_account", "put_service_policy"), self._service_account),
            (("delete_service_policy", "create_service_key"), self._service_account),
            (("change_service_key", "revoke_service_key"), self._service_key),
            (("enable_kms_key", "disable_kms_key", "rotate_kms_key"), self._kms_key),
            (("restore_version",), self._version),
            (("changes", "changes of a bucket"), self._change),
            (("drain_server", "remove_server"), self._server),
            (("revoke_share",), self._share),
            (("delete_tenant", "tenant_quota", "set_tenant_quota"), self._tenant),
            (("get_group", "change_group", "delete_group"), self._group),
            (("set_trash", "restore_trash", "empty_trash"), self._trash),
            (("move_folder", "delete_folder"), self._folder),
            (("get_folder_change", "retry_folder_change", "stop_folder_change"), self._folder_change),
        ):
            if id in ids:
                make()

    def without(self) -> World:
        """The same with names of what does not exist."""
        other = copy.copy(self)
        nothing = {name: f"no-{name.replace('_', '-')}" for name in HIDDEN} | {"id": "99999"}
        other._values = self._values | {name: value for name, value in nothing.items() if name in self._values}
        return other

    def names_in(self, text: str) -> list[str]:
        """Of the names that nobody of another tenant may see, those that a request has."""
        return [self._values[name] for name in HIDDEN if f"{{{name}}}" in text]

    @property
    def bucket(self) -> str:
        return self._values["bucket"]

    def fill(self, text: str) -> str:
        """`text` with every `{name}` replaced."""
        return re.sub(r"\{(\w+)\}", lambda found: self._values[found[1]], text)

    def _make(self, who: str, target: str, **body: Any) -> Any:
        answer = self._everybody.ask(who, "POST", target, json.dumps(body).encode())
        assert answer.status in (200, 201), answer.body
        return answer.json

    def _user(self) -> None:
        self._make("administrator", "/users", name=self._values["user"], password=PASSWORD)

    def _log_in(self) -> None:
        self._user()
        self._make("anonymous", "/auth/login", username=self._values["user"], password=PASSWORD)
        found = self._everybody.ask("administrator", "GET", self.fill("/users/{user}/access")).json
        self._values["id"] = found["sessions"][0]["id"]

    def _begun_factor(self) -> None:
        self._user()
        made = self._make("anonymous", "/auth/mfa", username=self._values["user"], password=PASSWORD)
        self._values["code"] = self._everybody.authenticator(made["secret"]).code()

    def _factor(self) -> None:
        self._begun_factor()
        user, code = self._values["user"], self._values["code"]
        made = self._make("anonymous", "/auth/mfa/confirm", username=user, password=PASSWORD, code=code)
        self._values["code"] = made["recovery_codes"][0]

    def _lock(self) -> None:
        self._values["id"] = str(self._make("owner", "/locks", paths=[f"{self.bucket}/k"])["lock"]["number"])

    def _api_key(self) -> None:
        self._values["id"] = self._make("owner", "/auth/keys", name="another")["id"]

    def _s3_key(self) -> None:
        self._values["id"] = self._make("owner", "/auth/s3-keys", name="another")["access_key_id"]

    def _service_account(self) -> None:
        self._values |= {"service_account": self._values["new"], "policy": "policy"}
        nothing = {"Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
        self._make("owner", "/auth/service-accounts", name=self._values["new"], policy=nothing)

    def _service_key(self) -> None:
        self._service_account()
        made = self._make("owner", self.fill("/auth/service-accounts/{service_account}/keys"))
        self._values["id"] = made["access_key_id"]

    def _kms_key(self) -> None:
        self._values["id"] = self._values["key"]
        self._make("administrator", "/kms/keys", name=self._values["id"])

    def _version(self) -> None:
        found = self._everybody.ask("owner", "HEAD", f"/files/{self.bucket}/k")
        self._values["version"] = found.headers["X-Lockstep-Version"]

    def _change(self) -> None:
        self._values["cursor"] = str(self._everybody.ask("administrator", "GET", "/cluster").json["cursor"])
        assert self._everybody.ask("owner", "PUT", f"/files/{self.bucket}/new", b"content").status == 201

    def _folder(self) -> None:
        self._values["path"] = "in"
        assert self._everybody.ask("owner", "PUT", f"/files/{self.bucket}/in/k", b"content").status == 201

    def _folder_change(self) -> None:
        self._folder()
        self._values["id"] = self._make("owner", "/folders/move", bucket=self.bucket, path="in", to_path="out")["id"]

    def _trash(self) -> None:
        body = b'{"versioning": "enabled"}'
        assert self._everybody.ask("owner", "PATCH", f"/buckets/{self.bucket}", body).status == 200
        deleted = self._everybody.ask("owner", "DELETE", f"/files/{self.bucket}/k")
        self._values["version"] = deleted.json["version"]

    def _share(self) -> None:
        self._values["id"] = self._make("owner", "/shares", bucket=self.bucket, path="k")["id"]

    def _group(self) -> None:
        self._values["group"] = self._values["new"]
        self._make("administrator", "/groups", name=self._values["group"], accounts={"owner": "manager"})

    def _tenant(self) -> None:
        self._values["tenant"] = self._values["new"]
        self._make("administrator", "/tenants", name=self._values["tenant"])

    def _server(self) -> None:
        self._values["id"] = self._everybody.file_server()


def asked(everybody: Identities, world: World, operation: Operation, route: Route, who: str) -> Answer:
    content = operation.described.get("requestBody", {}).get("content", {})
    body = content.get("application/json", {}).get("example") if route.body is None else route.body
    if not isinstance(body, bytes):
        body = b"" if body is None else filled(world, body)
    query = f"?{world.fill(route.query)}" if route.query else ""
    headers = {"Content_Type": route.content_type} if route.content_type else {}
    return everybody.ask(who, operation.method, world.fill(operation.template) + query, body, **headers)


def filled(world: World, body: Any) -> bytes:
    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fill(one) for name, one in value.items()}
        if isinstance(value, list):
            return [fill(one) for one in value]
        return world.fill(value) if isinstance(value, str) else value

    return json.dumps(fill(body)).encode()


def test_every_route_is_classified(operations: dict[str, Operation]) -> None:
    """The served operations and those of the table are the same."""
    assert set(operations) == {id.partition(" ")[0] for id in ROUTES}


@pytest.mark.parametrize("id", ROUTES)
def test_only_those_of_the_table_are_served(everybody: Identities, operations: dict[str, Operation], id: str) -> None:
    """Each request of those who are served gets a world of its own, because it may change it."""
    operation, route = operations[id.partition(" ")[0]], ROUTES[id]
    world = World(everybody, id)
    for who in sorted(EVERYBODY - route.served):
        answer = asked(everybody, world, operation, route, who)
        assert answer.status == (route.void if who in VOID | LIMITED else route.refusal), (who, answer.body[:300])
    for who in sorted(route.served):
        world = World(everybody, id)
        answer = asked(everybody, world, operation, route, who)
        assert answer.status in (*operation.successes, *route.otherwise), (who, answer.body[:300])
        if route.sees_bucket is not None:
            assert (f'"{world.bucket}"'.encode() in answer.body) == (who in route.sees_bucket), who


OF_A_TENANT = frozenset(
    (
        *("list_users", "create_user", "change_user", "delete_user", "reset_password", "user_access"),
        *("revoke_user_access", "revoke_one_access", "reset_second_factor", "audit"),
        *("list_groups", "create_group", "get_group", "change_group", "delete_group"),
        *("list_quotas", "account_quota", "set_account_quota", "bucket_quota", "set_bucket_quota", "tenant_quota"),
    )
)
"""What an administrator of a tenant does as one of the cluster does, with what is the tenant's."""
ACCOUNTS = ("owner", "reader", "writer", "stranger", "admin")


@pytest.mark.parametrize("id", ROUTES)
def test_another_tenant_is_invisible(everybody: Identities, operations: dict[str, Operation], id: str) -> None:
    """An administrator of another tenant gets the answer for what does not exist, and no name of what does."""
    operation, route = operations[id.partition(" ")[0]], ROUTES[id]
    if route.served == EVERYBODY:
        return  # a request without an account gets the same
    world = World(everybody, id)
    answer = asked(everybody, world, operation, route, "outsider")
    if route.served == ADMINISTRATORS and id not in OF_A_TENANT:
        assert answer.status == FORBIDDEN, answer.body[:300]
    parts = f"{operation.template}{route.query}{route.body}"
    named, nothing = world.names_in(parts), world.without()
    if named:
        missing = asked(everybody, nothing, operation, route, "outsider")
        assert answer.status == missing.status, (answer.body[:300], missing.body[:300])
        if operation.method != "HEAD":
            names = named + nothing.names_in(parts)  # both in both: "owner" is a word of some sentences, too
            assert comparable(answer, *names) == comparable(missing, *names)
    told = answer.body.decode("utf-8", "replace")
    for name in {*ACCOUNTS, world.bucket}.difference(named):
        assert re.search(rf'"{name}"(?!:)', told) is None, told[:300]
