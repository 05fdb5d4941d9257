"""One lock at every door: whoever takes it, and wherever, others are refused by the holder's name until it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import pytest
from botocore.exceptions import ClientError

from tests.fakes.webdav import LOCK_BODY, header
from tests.fakes.wsgi import ask
from tests.security.people import Person

PATH = "game/level.umap"


class Outcome(NamedTuple):
    """What a door answered."""

    done: bool
    words: str


def _dav(person: Person, method: str, bucket: str, body: bytes = b"", **headers: str) -> tuple[Outcome, str]:
    answer = ask(person.webdav, method, f"/dav/{bucket}/{PATH}", body, headers={**person.headers, **headers})
    assert answer.status in (200, 201, 204, 423), answer.body
    return Outcome(answer.status != 423, answer.body.decode()), header(answer, "Lock-Token")


def _lfs(person: Person, method: str, what: str, bucket: str, **body: object) -> tuple[Outcome, str]:
    raw = json.dumps(body).encode() if body else b""
    answer = ask(
        person.lfs,
        method,
        f"/lfs/{bucket}/game/{what}",
        raw,
        headers={**person.headers, "Content-Type": "application/json"},
    )
    assert answer.status in (200, 201, 409), answer.body
    return Outcome(answer.status != 409, answer.body.decode()), answer.json.get("lock", {}).get("id", "")


def _api(person: Person, method: str, target: str, body: bytes = b"") -> tuple[Outcome, str]:
    answer = person.ask(method, target, body)
    assert answer.status in (200, 201, 204, 423), answer.body
    return Outcome(answer.status != 423, answer.body.decode()), answer.body.decode()


def _s3_put(person: Person, bucket: str) -> Outcome:
    try:
        person.s3.put_object(Bucket=bucket, Key=PATH, Body=b"x")
    except ClientError as error:
        return Outcome(False, str(error))
    return Outcome(True, "")


def _take_api(person: Person, bucket: str) -> tuple[Outcome, str]:
    wanted = json.dumps({"paths": [f"{bucket}/{PATH}"], "queue": False}).encode()
    outcome, text = _api(person, "POST", "/locks", wanted)
    return outcome, json.loads(text)["lock"]["id"] if outcome.done else ""


def _take_dav(person: Person, bucket: str) -> tuple[Outcome, str]:
    return _dav(person, "LOCK", bucket, LOCK_BODY.format(scope="exclusive", owner="an editor").encode())


TAKERS: dict[str, Callable[[Person, str], tuple[Outcome, str]]] = {
    "API": _take_api,
    "WebDAV": _take_dav,
    "LFS": lambda person, bucket: _lfs(person, "POST", "locks", bucket, path="level.umap"),
}
ENDERS: dict[str, Callable[[Person, str, str], object]] = {
    "API": lambda person, bucket, id: _api(person, "DELETE", f"/locks/{id}"),
    "WebDAV": lambda person, bucket, token: _dav(person, "UNLOCK", bucket, **{"Lock-Token": token}),
    "LFS": lambda person, bucket, id: _lfs(person, "POST", f"locks/{id}/unlock", bucket, force=False),
}
WRITERS: dict[str, Callable[[Person, str], Outcome]] = {
    "API": lambda person, bucket: _api(person, "PUT", f"/files/{bucket}/{PATH}", b"x")[0],
    "WebDAV": lambda person, bucket: _dav(person, "PUT", bucket, b"x")[0],
    "S3": _s3_put,
}


@pytest.fixture(scope="module")
def bucket(olga: Person) -> str:
    """A bucket that eve may use, too."""
    name = olga.bucket()
    assert olga.ask("PATCH", f"/buckets/{name}", b'{"shared": true}').status == 200
    assert olga.put(name, "game/other", b"").status == 201
    return name


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("taker", TAKERS)
def test_a_lock_refuses_writes_at_every_door(olga: Person, eve: Person, bucket: str, taker: str, writer: str) -> None:
    """Also of the path's first version. Afterwards the other writes, and what was written is read at once."""
    taken, held = TAKERS[taker](olga, bucket)
    assert taken.done, taken.words
    refused = WRITERS[writer](eve, bucket)
    assert not refused.done
    assert "olga" in refused.words
    ENDERS[taker](olga, bucket, held)
    assert WRITERS[writer](eve, bucket).done
    assert olga.get(bucket, PATH).body == b"x"
    assert olga.ask("DELETE", f"/files/{bucket}/{PATH}").status == 200


@pytest.mark.parametrize("second", TAKERS)
@pytest.mark.parametrize("first", TAKERS)
def test_a_lock_is_taken_once_among_all_doors(olga: Person, eve: Person, bucket: str, first: str, second: str) -> None:
    taken, held = TAKERS[first](olga, bucket)
    assert taken.done, taken.words
    refused, _ = TAKERS[second](eve, bucket)
    assert not refused.done
    assert "olga" in refused.words
    ENDERS[first](olga, bucket, held)
    again, by_eve = TAKERS[second](eve, bucket)
    assert again.done, again.words
    ENDERS[second](eve, bucket, by_eve)


@pytest.mark.parametrize("taker", TAKERS)
def test_who_waits_is_next_and_who_was_before_comes_late(olga: Person, eve: Person, bucket: str, taker: str) -> None:
    """A place in line holds whatever door the lock is from; afterwards its number or token writes nothing any more."""
    taken, held = TAKERS[taker](olga, bucket)
    assert taken.done, taken.words
    wanted = {"paths": [f"{bucket}/{PATH}"], "request_id": f"waits-behind-{taker.lower()}"}
    waiting = eve.ask("POST", "/locks", json.dumps(wanted).encode())
    assert (waiting.status, waiting.json["holder"]) == (202, olga.name)
    ENDERS[taker](olga, bucket, held)
    for other in TAKERS:
        refused, _ = TAKERS[other](olga, bucket)
        assert not refused.done, other
        assert "eve" in refused.words
    granted = eve.ask("POST", "/locks", json.dumps(wanted).encode())
    assert granted.status == 200
    if taker == "WebDAV":
        late = ask(
            olga.webdav, "PUT", f"/dav/{bucket}/{PATH}", b"late", headers={**olga.headers, "If": f"({held})"}
        ).status
    else:
        number = held.removeprefix("lock-")
        late = olga.ask("PUT", f"/files/{bucket}/{PATH}", b"late", X_Lockstep_Lock=number).status
    assert late in (409, 412)
    number = str(granted.json["lock"]["number"])
    assert eve.ask("PUT", f"/files/{bucket}/{PATH}", b"in turn", X_Lockstep_Lock=number).status in (200, 201)
    assert eve.ask("DELETE", f"/locks/{granted.json['lock']['id']}").status == 204
    assert olga.get(bucket, PATH).body == b"in turn"
