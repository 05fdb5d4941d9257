"""Every call of the directory for keys with limits: it asks their policies, or refuses them altogether.

The calls are those that proxies may make. One that neither list names must refuse such a key whatever its policies
allow, so a new call is closed to them until somebody makes it ask.
"""

from __future__ import annotations

import itertools
import typing
from typing import Any

import msgspec
import pytest

from lockstep_store.wire.codec import Call
from lockstep_store.wire.errors import BadRequest, Forbidden, LockstepError, NotLoggedIn
from lockstep_store.wire.messages.s3_access import S3Access
from lockstep_store.wire.messages.shares import CREATE_SHARE, CreateShareRequest, ShareProof
from tests.contract.wire_corpus.examples import minimal
from tests.s3.calls import refused
from tests.s3.people import token_of
from tests.s3.query.callers import ALL, Caller, account, passed_on, policy, stocked_bucket
from tests.s3.rig import S3Rig
from tests.security.test_limited_keys import user
from tests.unit.directory_server.api.directory_calls import FROM_PROXIES

_numbers = itertools.count(1)
ASK = {
    *("/v1/lookup", "/v1/list", "/v1/versions", "/v1/delete", "/v1/delete-many", "/v1/copy", "/v1/begin"),
    *("/v1/buckets", "/v1/buckets/create", "/v1/buckets/get", "/v1/buckets/change", "/v1/buckets/delete"),
    *("/v1/bucket-settings", "/v1/bucket-settings/put", "/v1/object-settings", "/v1/object-settings/put"),
    *("/v1/bucket-notification/put", "/v1/facts", "/v1/facts/change"),
    *("/v1/folders/move", "/v1/folders/delete"),
    *("/v1/trash", "/v1/trash/totals", "/v1/trash/restore", "/v1/trash/empty"),
    *("/v1/uploads", "/v1/uploads/create", "/v1/uploads/parts", "/v1/uploads/abort"),
}
"""Files, buckets and uploads: what S3 has."""
HARMLESS = {
    "/v1/give-up": "the id of a write is known only to the proxy that began it",
    "/v1/logout": "only a log-in can be ended; there is none",
}
"""Calls that neither ask nor refuse, with the reason."""
VISITORS = {"/v1/shares/open", "/v1/shares/use"}
"""Calls of visitors of share links, which take no key."""


@pytest.fixture(scope="module")
def owner(rig: S3Rig) -> Caller:
    return account(rig, "olga")


@pytest.fixture(scope="module")
def bucket(owner: Caller) -> str:
    return stocked_bucket(owner, "olgas")


@pytest.fixture(scope="module")
def proofs(owner: Caller, bucket: str) -> dict[str, str]:
    """What the S3 door passes on for users of the owner's: one without policies, one that may everything."""
    return {name: _proof(user(*allowed)(owner, bucket)) for name, allowed in (("nothing", ()), ("everything", (ALL,)))}


@pytest.fixture(scope="module")
def link(owner: Caller, rig: S3Rig) -> str:
    """The proof of a visitor who may read one file in another bucket of the owner's."""
    other = stocked_bucket(owner, "olgas-other")
    made = rig.directory.call(CREATE_SHARE, CreateShareRequest(token_of(rig, "olga"), other, "in/k"))
    return ShareProof(made.token).encode()


def _proof(one: Caller) -> str:
    sent = passed_on(one, lambda: refused(one.s3.list_objects_v2, Bucket="not-there"))
    access = next(found for text in sent if (found := S3Access.decode(text)) is not None)
    return access.credential


def _request(call: Call[Any, Any], bucket: str, proof: str) -> Any:
    """The smallest request, with one item where it has items; None if it is in nobody's name."""
    example = minimal(call.request)
    if "items" in example:
        hint = typing.get_type_hints(call.request)["items"]
        example["items"] = [minimal(typing.get_args(hint)[0])]
    known = {"credential": proof, "bucket": bucket, "path": "in/k", "name": "tags"}
    known["write_id"] = f"limited-write-{next(_numbers):08d}"
    known |= {"source_bucket": bucket, "source_path": "in/k", "document": policy(ALL)}
    named = False
    for part in (example, *example.get("items", ())):
        named = named or "credential" in part
        part.update({name: value for name, value in known.items() if name in part})
    if call.path == "/v1/object-settings/put":
        example["name"] = "tags"
    if call.path == "/v1/facts/change":
        example["description"] = "words"
    return msgspec.convert(example, call.request) if named else None


def _outcome(owner: Caller, call: Call[Any, Any], request: Any) -> LockstepError | None:
    try:
        reply = owner.rig.directory.call(call, request)
        if hasattr(reply, "results"):
            reply.results[0].unwrap()
    except LockstepError as error:
        return error
    return None


@pytest.mark.parametrize("path", FROM_PROXIES)
def test_each_call_asks_or_refuses(owner: Caller, bucket: str, proofs: dict[str, str], path: str) -> None:
    """Without a policy nothing is allowed; what does not ask for policies is refused with any."""
    call = FROM_PROXIES[path]
    request = _request(call, bucket, proofs["nothing" if path in ASK else "everything"])
    if request is None:
        return
    outcome = _asks_or_refuses(owner, path, request)
    if outcome is not None:
        said = "visitors of share links alone" if path in VISITORS else "use a key of olga itself"
        assert said in outcome.detail or "signed for" in outcome.detail


def _asks_or_refuses(owner: Caller, path: str, request: Any) -> LockstepError | None:
    """Make the call with a credential that allows nothing; return the refusal of a call that does not ask."""
    outcome = _outcome(owner, FROM_PROXIES[path], request)
    if path in HARMLESS:
        assert outcome is None
    elif path in ASK:
        assert isinstance(outcome, Forbidden)
        assert " may not do s3:" in outcome.detail
    else:
        assert isinstance(outcome, Forbidden | NotLoggedIn)
        return outcome
    return None


@pytest.mark.parametrize("path", FROM_PROXIES)
def test_a_share_link_opens_no_other_call(owner: Caller, bucket: str, link: str, path: str) -> None:
    """A visitor is asked for, or refused like a key with limits, wherever that is no call of visitors."""
    request = _request(FROM_PROXIES[path], bucket, link)
    if request is None or path in VISITORS:
        return
    _asks_or_refuses(owner, path, request)


def test_those_that_ask_serve_a_key_that_may(owner: Caller, bucket: str, proofs: dict[str, str]) -> None:
    """Or fail for another reason: the lists above are not of calls that refuse everybody."""
    for path in sorted(ASK):
        outcome = _outcome(owner, FROM_PROXIES[path], _request(FROM_PROXIES[path], bucket, proofs["everything"]))
        assert not isinstance(outcome, Forbidden | NotLoggedIn), (path, outcome)
        assert not isinstance(outcome, BadRequest), (path, outcome)
