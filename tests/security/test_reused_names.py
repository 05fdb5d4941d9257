"""Who takes the name of a deleted account or tenant sees nothing that was its predecessor's."""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import quote

from tests.fakes.wsgi import Answer
from tests.s3.rig import S3Rig

PASSWORD = "correct horse"
_numbers = itertools.count(1)


class Account:
    """An account that administrators made, logged in."""

    def __init__(self, rig: S3Rig, name: str, role: str = "member") -> None:
        self.name = name
        self._cluster = rig.cluster
        made = admin(rig, "POST", "/users", name=name, role=role, password=PASSWORD)
        assert made.status == 201, made.body
        reply = rig.cluster.ask_with({}, "POST", "/auth/login", _json(username=name, password=PASSWORD))
        assert reply.status == 200, reply.body
        self.headers = {"Authorization": f"Bearer {reply.json['token']}"}

    def ask(self, method: str, target: str, **body: Any) -> Answer:
        return self._cluster.ask_with(self.headers, method, target, _json(**body) if body else b"")

    def delete_a_bucket(self, *, shared: bool) -> str:
        """Make a bucket, write and delete a folder in it, and delete the bucket; return its name."""
        name = f"reused-{next(_numbers)}"
        assert self.ask("POST", "/buckets", name=name, shared=shared).status == 201
        wrote = self._cluster.ask_with(self.headers, "PUT", f"/files/{name}/secret/plan", b"x")
        assert wrote.status == 201, wrote.body
        assert self.ask("DELETE", f"/folders/{name}/secret").status == 200
        assert self.ask("DELETE", f"/buckets/{name}").status == 204
        return name

    def buckets_in_journal(self) -> set[str]:
        changes = self.ask("GET", "/changes?cursor=0&limit=1000").json["changes"]
        return {change["bucket"] for change in changes}

    def folder_changes(self) -> Any:
        return self.ask("GET", "/folder-changes").json["changes"]


def _json(**body: Any) -> bytes:
    return json.dumps(body).encode()


def admin(rig: S3Rig, method: str, target: str, **body: Any) -> Answer:
    return rig.cluster.ask(method, target, _json(**body) if body else b"")


def delete(rig: S3Rig, name: str) -> None:
    assert admin(rig, "DELETE", f"/users/{quote(name, safe='')}").status == 204


def test_who_takes_an_accounts_name_sees_nothing_of_its_own(rig: S3Rig) -> None:
    """Not the journal of its deleted buckets, nor its changes of folders; others see what was shared, as before."""
    other = Account(rig, "other")
    first = Account(rig, "taken")
    private, shared = first.delete_a_bucket(shared=False), first.delete_a_bucket(shared=True)
    assert first.buckets_in_journal() >= {private, shared}
    assert len(first.folder_changes()) == 2
    before = other.buckets_in_journal()
    delete(rig, first.name)
    again = Account(rig, first.name)
    assert again.folder_changes() == []
    assert again.buckets_in_journal() == other.buckets_in_journal() == before
    assert private not in before
    assert shared in before


def test_a_deleted_accounts_locks_and_places_end_with_it(rig: S3Rig) -> None:
    """Who takes the name can neither renew nor release them, and who waits for them is next at once."""
    holder, waiter, next_one = Account(rig, "holds"), Account(rig, "waits"), Account(rig, "next")

    def acquire(account: Account, path: str, wait: float) -> Any:
        paths = [{"bucket": "files", "path": path}]
        return account.ask(
            "POST",
            "/locks",
            paths=paths,
            request_id=f"request-of-{account.name}-for-{path}",
            wait_seconds=wait,
            queue=True,
        )

    held, own = acquire(holder, "wanted", 0), acquire(waiter, "behind", 0)
    assert (held.status, own.status) == (200, 200), held.body
    assert acquire(waiter, "wanted", 0.01).status == 202
    assert acquire(next_one, "wanted", 0.01).status == 202
    delete(rig, waiter.name)
    delete(rig, holder.name)
    now = next_one.ask("GET", "/locks").json
    assert [(lock["account"], lock["paths"][0]["path"]) for lock in now["locks"]] == [("next", "wanted")]
    assert now["waiters"] == []
    again = Account(rig, holder.name)
    lock = f"/locks/{held.json['lock']['id']}"
    assert again.ask("PUT", lock, lease_seconds=60).json["code"] == "lock_stale"
    assert again.ask("DELETE", lock).status == 204, "it has ended, whoever asks"
    assert [one["account"] for one in again.ask("GET", "/locks").json["locks"]] == ["next"]


def test_who_takes_a_tenants_name_sees_nothing_of_it(rig: S3Rig) -> None:
    """Neither the journal of its deleted buckets, shared or not, nor its audit."""
    tenant = f"reused-{next(_numbers)}"
    assert admin(rig, "POST", "/tenants", name=tenant).status == 201
    first, second = (Account(rig, f"{tenant}\\{own}", role="administrator") for own in ("first", "second"))
    gone = {first.delete_a_bucket(shared=False), first.delete_a_bucket(shared=True)}
    delete(rig, first.name)
    assert second.buckets_in_journal() == gone
    delete(rig, second.name)
    assert admin(rig, "DELETE", f"/tenants/{tenant}").status == 204
    rig.cluster.clock.advance(0.5)
    assert admin(rig, "POST", "/tenants", name=tenant).status == 201
    again = Account(rig, first.name, role="administrator")
    for person in (again, Account(rig, f"{tenant}\\third")):
        assert person.buckets_in_journal() == set()
        assert person.folder_changes() == []
    events = [(one["kind"], one.get("subject", "")) for one in again.ask("GET", "/audit?limit=1000").json["events"]]
    assert events[0] == ("account made", first.name)
    assert "account deleted" not in {kind for kind, _ in events}
    assert ("account deleted", second.name) in {
        (one["kind"], one.get("subject", "")) for one in admin(rig, "GET", "/audit?limit=1000").json["events"]
    }
