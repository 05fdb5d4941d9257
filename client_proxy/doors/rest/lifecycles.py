"""The routes for a bucket's lifecycle: the rules by which it deletes files and old versions, in a plain form.

They are stored in the form of the S3 door, so either door reads what the other one set.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.bucket_settings import BucketSetting
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.file_facts import check_tags
from lockstep_store.wire.messages.bucket_settings import LifecyclePlan, LifecycleReply

_operation = partial(Operation, tag="Buckets", refusals=(errors.BadName, errors.Forbidden, errors.NotFound))
_ONE = "/lifecycles/{bucket}"
MAX_RULES = 1000
DAY_SECONDS = 86_400


class LifecyclePlanBody(LifecyclePlan, forbid_unknown_fields=True):
    """A rule in a request: like JsonBody, it refuses what it does not know."""


class LifecycleBody(JsonBody):
    """All rules of a bucket; without any, nothing is deleted automatically."""

    rules: Annotated[list[LifecyclePlanBody], Meta(max_length=MAX_RULES)]


class LifecycleRoutes:
    """The route /lifecycles."""

    def __init__(self, directory: Directory) -> None:
        self._setting = BucketSetting(directory, "lifecycle")

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="lifecycle",
                method="GET",
                template=_ONE,
                handler=self.show,
                summary="Get the rules by which a bucket deletes files and old versions",
                description="The same rules as at the S3 door. For everybody who may list the bucket.",
                answers={200: Answer("The rules.", Content(LifecycleReply))},
            ),
            _operation(
                id="set_lifecycle",
                method="PUT",
                template=_ONE,
                handler=self.set,
                summary="Replace the rules by which a bucket deletes files and old versions",
                description="For its owner and administrators. The rules also apply to existing files.",
                bodies=(Content(LifecycleBody),),
                answers={200: Answer("The rules, each with its id.", Content(LifecycleReply))},
            ),
        ]

    def show(self, request: RestRequest) -> RawReply:
        stored = self._setting.read(request) or {"Rules": []}
        return json_reply(LifecycleReply([read_rule(rule) for rule in stored["Rules"]]))

    def set(self, request: RestRequest) -> RawReply:
        credential, bucket = request.access(), request.bucket()
        rules = request.message(LifecycleBody).rules
        for rule in rules:
            check_rule(rule)
            rule.id = rule.id or secrets.token_urlsafe(16)
        if len({rule.id for rule in rules}) < len(rules):
            raise BadRequest("two rules have the same id: leave the id of a new rule out")
        self._setting.put(credential, bucket, {"Rules": [stored_rule(rule) for rule in rules]} if rules else None)
        return json_reply(LifecycleReply([*rules]))


def check_rule(rule: LifecyclePlan) -> None:
    """Raise BadRequest for a rule that would do nothing, or that contradicts itself. As strict as the S3 door."""
    deletes = [rule.expire_days is not None, rule.expire_at is not None, rule.drop_markers]
    if not any(deletes) and rule.noncurrent_days is None and rule.abort_uploads_days is None:
        raise BadRequest("a rule must delete something: give it a number of days")
    if sum(deletes) > 1:
        raise BadRequest("a rule has only one of expire_days, expire_at and drop_markers: make a rule for each")
    if rule.expire_at is not None and rule.expire_at % DAY_SECONDS:
        raise BadRequest("expire_at must be a midnight in UTC")
    if rule.keep_newer is not None and rule.noncurrent_days is None:
        raise BadRequest("keep_newer needs noncurrent_days: it says which older versions to keep after those days")
    larger, smaller = rule.larger_than, rule.smaller_than
    if smaller is not None and smaller <= (larger or 0):
        raise BadRequest("smaller_than must be more than larger_than, and more than 0")
    narrow = bool(rule.tags) or larger is not None or smaller is not None
    if narrow and (rule.drop_markers or rule.abort_uploads_days is not None):
        raise BadRequest("drop_markers and abort_uploads_days cannot depend on tags or sizes: use only a prefix")
    check_tags(list(rule.tags.items()))


def stored_rule(rule: LifecyclePlan) -> dict[str, Any]:
    """The rule in S3's form, as the directory carries it out."""
    sizes = {"ObjectSizeGreaterThan": rule.larger_than, "ObjectSizeLessThan": rule.smaller_than}
    condition: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
    tags = [{"Key": key, "Value": value} for key, value in rule.tags.items()]
    if len(condition) + len(tags) + bool(rule.prefix) > 1:
        condition = {"And": {"Prefix": rule.prefix, "Tags": tags, **condition}}
    elif tags:
        condition = {"Tag": tags[0]}
    elif not condition:
        condition = {"Prefix": rule.prefix}
    found: dict[str, Any] = {"ID": rule.id, "Status": "Enabled" if rule.enabled else "Disabled", "Filter": condition}
    if rule.expire_days is not None:
        found["Expiration"] = {"Days": rule.expire_days}
    elif rule.expire_at is not None:
        found["Expiration"] = {"Date": rule.expire_at}
    elif rule.drop_markers:
        found["Expiration"] = {"ExpiredObjectDeleteMarker": True}
    if rule.noncurrent_days is not None:
        kept = {} if rule.keep_newer is None else {"NewerNoncurrentVersions": rule.keep_newer}
        found["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule.noncurrent_days, **kept}
    if rule.abort_uploads_days is not None:
        found["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": rule.abort_uploads_days}
    return found


def read_rule(stored: dict[str, Any]) -> LifecyclePlan:
    """The rule that is stored in S3's form, which was checked when it was set."""
    given: dict[str, Any] = stored.get("Filter") or stored
    condition: dict[str, Any] = given.get("And") or given
    tags = condition.get("Tags") or ([condition["Tag"]] if "Tag" in condition else [])
    expiration: dict[str, Any] = stored.get("Expiration") or {}
    noncurrent: dict[str, Any] = stored.get("NoncurrentVersionExpiration") or {}
    return LifecyclePlan(
        id=stored.get("ID", ""),
        enabled=stored["Status"] == "Enabled",
        prefix=condition.get("Prefix", ""),
        tags={tag["Key"]: tag["Value"] for tag in tags},
        larger_than=condition.get("ObjectSizeGreaterThan"),
        smaller_than=condition.get("ObjectSizeLessThan"),
        expire_days=expiration.get("Days"),
        expire_at=expiration.get("Date"),
        noncurrent_days=noncurrent.get("NoncurrentDays"),
        keep_newer=noncurrent.get("NewerNoncurrentVersions"),
        drop_markers=expiration.get("ExpiredObjectDeleteMarker") is True,
        abort_uploads_days=(stored.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation"),
    )
