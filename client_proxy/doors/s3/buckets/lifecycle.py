"""The lifecycle configuration of a bucket: checked as in S3, and stored at the directory, which carries it out.

Only rules that can be carried out in full are accepted. So a rule with a transition is rejected: there is one storage
class.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects.tagging import check_tags
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.stored_settings import StoredSettings
from lockstep_store.wire.file_facts import MAX_FILE_TAGS

SETTING = "lifecycle"
MAX_RULES = 1000
MAX_ID = 255
MAX_DAYS = 2**31 - 1
MAX_NEWER_VERSIONS = 100
DAY_SECONDS = 86_400
MINIMUM_SIZE = "TransitionDefaultMinimumObjectSize"
"""Affects only transitions, which do not exist here, so any of its values is accepted. The first is S3's default."""
MINIMUM_SIZES = ("all_storage_classes_128K", "varies_by_storage_class")
_ACTIONS = ("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
_CONDITIONS = ("Prefix", "Tag", "Tags", "ObjectSizeGreaterThan", "ObjectSizeLessThan")


class LifecycleHandlers:
    """Stores lifecycle configurations. Thread-safe; `new_id` names rules that were sent without an ID."""

    def __init__(self, settings: StoredSettings, new_id: Callable[[], str] = secrets.token_urlsafe) -> None:
        self._settings = settings
        self._new_id = new_id

    def handlers(self) -> Handlers:
        return {
            "GetBucketLifecycleConfiguration": self.get,
            "PutBucketLifecycleConfiguration": self.put,
            "DeleteBucketLifecycle": self.delete,
        }

    def get(self, call: S3Call) -> Values:
        values: Values = {MINIMUM_SIZE: MINIMUM_SIZES[0]} | json.loads(
            self._settings.needed_of_bucket(
                call, SETTING, "NoSuchLifecycleConfiguration", "the bucket has no lifecycle configuration"
            )
        )
        return values

    def put(self, call: S3Call) -> Values:
        rules = (call.get("LifecycleConfiguration") or {}).get("Rules") or []
        check_rules(rules)
        named = [rule if rule.get("ID") else {**rule, "ID": self._new_id()} for rule in rules]
        smallest = {MINIMUM_SIZE: call.get(MINIMUM_SIZE, MINIMUM_SIZES[0])}
        self._settings.put_of_bucket(call, SETTING, json.dumps({"Rules": named, **smallest}))
        return smallest

    def delete(self, call: S3Call) -> Values:
        self._settings.put_of_bucket(call, SETTING, None)
        return {}


# ---------------------------------------------------------------- what may be kept


def check_rules(rules: list[Values]) -> None:
    """Raise S3Error for rules that S3 would reject, or that this cluster cannot carry out."""
    if not 1 <= len(rules) <= MAX_RULES:
        raise _malformed(f"a lifecycle must have 1 to {MAX_RULES} rules, not {len(rules)}")
    ids = [rule["ID"] for rule in rules if rule.get("ID")]
    if any(len(id) > MAX_ID for id in ids):
        raise S3Error("InvalidArgument", f"a rule's ID may have at most {MAX_ID} characters", ArgumentName="ID")
    if len(set(ids)) < len(ids):
        raise S3Error("InvalidArgument", "two rules have the same ID", ArgumentName="ID")
    for rule in rules:
        _check_rule(rule)


def _check_rule(rule: Values) -> None:
    if rule.get("Transitions") or rule.get("NoncurrentVersionTransitions"):
        raise S3Error("NotImplemented", "transitions are not supported, because there is only one storage class")
    if ("Prefix" in rule) == ("Filter" in rule):
        raise _malformed("a rule must have either a Filter or a Prefix (the older form)")
    condition = _condition(rule)
    if not any(name in rule for name in _ACTIONS):
        raise S3Error("InvalidRequest", "a rule needs at least one action")
    if "Expiration" in rule:
        _check_expiration(rule["Expiration"], condition)
    if "NoncurrentVersionExpiration" in rule:
        _check_noncurrent(rule["NoncurrentVersionExpiration"])
    if "AbortIncompleteMultipartUpload" in rule:
        _check_days(rule["AbortIncompleteMultipartUpload"], "DaysAfterInitiation")
        _only_by_prefix(condition, "AbortIncompleteMultipartUpload")


def _condition(rule: Values) -> Values:
    """Check and return the rule's condition, with names as in an And and without empty prefixes."""
    asked = _asked(rule.get("Filter") or rule)
    wanted = (rule.get("Filter") or {}).get("And")
    if wanted is not None:
        if asked:
            raise _malformed("a Filter may have only one condition; put several into an And")
        asked = _asked(wanted)
        if len(asked) + max(0, len(asked.get("Tags") or []) - 1) + (wanted.get("Prefix") == "") < 2:
            raise _malformed("an And must have at least two conditions")
    elif len(asked) > 1:
        raise _malformed("a Filter with several conditions must have them in an And")
    if "Tag" in asked:
        asked["Tags"] = [asked.pop("Tag")]
    tags = asked.get("Tags") or []
    if len({tag["Key"] for tag in tags}) < len(tags):
        raise S3Error("InvalidRequest", "two tags in an And have the same key")
    check_tags(tags, MAX_FILE_TAGS)
    _check_sizes(asked.get("ObjectSizeGreaterThan"), asked.get("ObjectSizeLessThan"))
    return asked


def _asked(values: Values) -> Values:
    return {name: values[name] for name in _CONDITIONS if name in values and values[name] != ""}


def _check_sizes(larger: int | None, smaller: int | None) -> None:
    if larger is not None and not 0 <= larger < 2**63:
        raise S3Error("InvalidArgument", "ObjectSizeGreaterThan must be a number of bytes, 0 or more")
    if smaller is not None and not 1 <= smaller < 2**63:
        raise S3Error("InvalidArgument", "ObjectSizeLessThan must be a number of bytes, 1 or more")
    if larger is not None and smaller is not None and smaller <= larger:
        raise S3Error("InvalidRequest", "ObjectSizeLessThan must be more than ObjectSizeGreaterThan")


def _check_expiration(values: Values, condition: Values) -> None:
    if len(values) != 1:
        raise _malformed("an Expiration must have exactly one of Days, Date and ExpiredObjectDeleteMarker")
    if "Days" in values:
        _check_days(values, "Days")
    elif "Date" in values:
        if values["Date"] % DAY_SECONDS:
            raise S3Error("InvalidArgument", "'Date' must be at midnight GMT", ArgumentName="Date")
    else:
        _only_by_prefix(condition, "ExpiredObjectDeleteMarker")


def _check_noncurrent(values: Values) -> None:
    _check_days(values, "NoncurrentDays")
    kept = values.get("NewerNoncurrentVersions")
    if kept is not None and not 1 <= kept <= MAX_NEWER_VERSIONS:
        raise S3Error(
            "InvalidArgument",
            f"NewerNoncurrentVersions must be 1 to {MAX_NEWER_VERSIONS}",
            ArgumentName="NewerNoncurrentVersions",
        )


def _check_days(values: Values, name: str) -> None:
    if name not in values:
        raise _malformed(f"{name} is missing")
    if not 1 <= values[name] <= MAX_DAYS:
        raise S3Error("InvalidArgument", f"'{name}' must be a positive integer", ArgumentName=name)


def _only_by_prefix(condition: dict[str, Any], action: str) -> None:
    if condition.keys() - {"Prefix"}:
        raise S3Error("InvalidRequest", f"{action} cannot be combined with tags or sizes: only a prefix is allowed")


def _malformed(why: str) -> S3Error:
    return S3Error("MalformedXML", why)
