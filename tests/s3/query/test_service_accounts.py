"""Service accounts through the REST API: made by a person, limited, with keys that S3 clients use and that expire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lockstep_store.client.service_policy import policy_of
from tests.fakes.wsgi import Answer
from tests.s3.calls import DENIED, read, refused
from tests.s3.people import token_of
from tests.s3.query.callers import Caller, new_name
from tests.s3.rig import S3Rig

ADDRESS = "/auth/service-accounts"


class Person:
    """ann, at the API."""

    def __init__(self, rig: S3Rig, name: str) -> None:
        self._rig = rig
        self._name = name
        self._headers = {"Authorization": f"Bearer {token_of(rig, name)}"}

    def ask(self, method: str, target: str, body: Any = None) -> Answer:
        sent = b"" if body is None else json.dumps(body).encode()
        return self._rig.cluster.ask_with(self._headers, method, ADDRESS + target, sent)

    def made(self, policy: dict[str, Any] | None = None, **key: Any) -> tuple[str, Caller]:
        """A new service account of this person's and its key."""
        name = new_name("service")
        body = {"name": name} if policy is None else {"name": name, "policy": policy}
        answer = self.ask("POST", "", body)
        assert answer.status == 201, answer.body
        made = self.ask("POST", f"/{name}/keys", key).json
        assert "session_token" not in made
        return name, Caller(self._rig, (made["access_key_id"], made["secret"]), self._name)


@pytest.fixture(scope="module")
def person(rig: S3Rig) -> Person:
    return Person(rig, "ann")


def test_a_service_account_is_limited(person: Person, anns: str) -> None:
    """To a prefix, for reading; it is a user to IAM."""
    name, service = person.made(policy_of([(anns, "in/")], ["read"]))
    assert service.arn == f"arn:aws:iam::ann:user/{name}"
    assert read(service.s3, anns, "in/k") == b"content"
    assert service.s3.list_objects_v2(Bucket=anns, Prefix="in/")["KeyCount"] == 1
    assert refused(service.s3.get_object, Bucket=anns, Key="out/k") == DENIED
    assert refused(service.s3.list_objects_v2, Bucket=anns) == DENIED
    assert refused(service.s3.put_object, Bucket=anns, Key="in/k", Body=b"") == DENIED


@pytest.mark.parametrize(
    ("allowed", "addresses", "may"),
    [
        (["write"], [], {"put"}),
        (["read", "write"], [], {"get", "put", "list"}),
        (["all"], [], {"get", "put", "list", "delete"}),
        (["all"], ["127.0.0.0/8"], {"get", "put", "list", "delete"}),
        (["all"], ["10.0.0.0/8", "fd00::/8"], set()),
    ],
)
def test_plain_limits_become_a_policy(
    person: Person, anns: str, allowed: list[Any], addresses: list[str], may: set[str]
) -> None:
    """What is allowed, and from where."""
    _, service = person.made(policy_of([(anns, "in/")], allowed, addresses))
    calls = {
        "get": lambda: service.s3.get_object(Bucket=anns, Key="in/k"),
        "put": lambda: service.s3.put_object(Bucket=anns, Key="in/k", Body=b""),
        "list": lambda: service.s3.list_objects_v2(Bucket=anns, Prefix="in/"),
        "delete": lambda: service.s3.delete_object(Bucket=anns, Key="in/k"),
    }
    for name, call in calls.items():
        if name in may:
            call()
        else:
            assert refused(call) == DENIED, name


def test_a_prefix_is_no_pattern(person: Person, anns: str) -> None:
    """A star in it stands for itself."""
    _, service = person.made(policy_of([(anns, "i*")], ["all"]))
    assert refused(service.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    service.s3.put_object(Bucket=anns, Key="i*/k", Body=b"x")
    assert service.s3.list_objects_v2(Bucket=anns, Prefix="i*")["KeyCount"] == 1


def test_a_key_expires(rig: S3Rig, person: Person, anns: str) -> None:
    """Without a session token, at its time."""
    _, service = person.made(policy_of([(anns, "")], ["all"]), valid_seconds=600)
    assert read(service.s3, anns, "in/k") == b"content"
    session = service.of(service.sts.get_session_token(DurationSeconds=3600)["Credentials"])
    rig.cluster.pass_time(601)
    assert refused(service.s3.get_object, Bucket=anns, Key="in/k") == (400, "ExpiredToken")
    assert refused(session.s3.get_object, Bucket=anns, Key="in/k") == (400, "ExpiredToken")


def test_policies_and_keys_change_at_once(person: Person, anns: str) -> None:
    """Stored, shown, replaced, deactivated, revoked, and deleted with the account."""
    name, service = person.made()
    assert refused(service.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    document = policy_of([(anns, "")], ["read"])
    assert person.ask("PUT", f"/{name}/policies/read", document).status == 204
    assert read(service.s3, anns, "in/k") == b"content"
    shown = person.ask("GET", f"/{name}").json
    assert json.loads(shown["policies"]["read"]) == document
    assert [key["access_key_id"] for key in shown["keys"]] == [service.key[0]]
    assert person.ask("PATCH", f"/{name}/keys/{service.key[0]}", {"active": False}).status == 204
    assert refused(service.s3.get_object, Bucket=anns, Key="in/k") == (403, "InvalidAccessKeyId")
    assert person.ask("PATCH", f"/{name}/keys/{service.key[0]}", {"active": True}).status == 204
    assert person.ask("DELETE", f"/{name}/policies/read").status == 204
    assert refused(service.s3.get_object, Bucket=anns, Key="in/k") == DENIED
    assert name in [one["name"] for one in person.ask("GET", "").json["service_accounts"]]
    assert person.ask("DELETE", f"/{name}").status == 204
    assert refused(service.s3.get_object, Bucket=anns, Key="in/k") == (403, "InvalidAccessKeyId")
    assert person.ask("GET", f"/{name}").status == 404


def test_a_key_is_revoked_alone(person: Person, anns: str) -> None:
    """Another key of the same service account goes on."""
    name, service = person.made(policy_of([(anns, "")], ["read"]))
    second = person.ask("POST", f"/{name}/keys").json
    other = Caller(service.rig, (second["access_key_id"], second["secret"]), "ann")
    assert person.ask("DELETE", f"/{name}/keys/{service.key[0]}").status == 204
    assert refused(service.s3.get_object, Bucket=anns, Key="in/k") == (403, "InvalidAccessKeyId")
    assert read(other.s3, anns, "in/k") == b"content"


def test_bad_requests_say_what_is_wrong(person: Person) -> None:
    """A policy with a principal, an unknown action, a taken name, an unknown service account."""
    name, _ = person.made()
    broken = {"Statement": [{"Effect": "Allow", "Action": "s3:Fly", "Resource": "*"}]}
    named = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": "*"}]}
    for one in (broken, named, {"Statement": []}, {"Statement": [{}]}):
        assert person.ask("PUT", f"/{name}/policies/p", one).status == 400
        assert person.ask("POST", "", {"name": new_name("bad"), "policy": one}).status == 400
    assert person.ask("POST", "", {"name": name.upper()}).status == 409
    assert person.ask("POST", "", {"name": "a b"}).status == 400
    assert person.ask("POST", "/missing/keys").status == 404
    assert person.ask("DELETE", "/missing").status == 404


def test_others_have_no_part_in_it(rig: S3Rig, person: Person) -> None:
    """Each person sees and changes their own service accounts only."""
    name, service = person.made()
    other = Person(rig, "carol")
    assert name not in [one["name"] for one in other.ask("GET", "").json["service_accounts"]]
    assert other.ask("GET", f"/{name}").status == 404
    assert other.ask("POST", f"/{name}/keys").status == 404
    assert other.ask("DELETE", f"/{name}/keys/{service.key[0]}").status == 404
    assert other.ask("DELETE", f"/{name}").status == 404
