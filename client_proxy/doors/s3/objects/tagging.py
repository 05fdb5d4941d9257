"""Tags of objects and buckets: read from headers and bodies, checked, and stored as settings.

An object's tags belong to one version and change without making another one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.protocol.delete_markers import check_no_marker
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import version_id_of
from client_proxy.doors.s3.stored_settings import StoredSettings
from lockstep_store.wire import file_facts
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.file_facts import MAX_FILE_TAGS
from lockstep_store.wire.messages.s3 import TAGS

MAX_BUCKET_TAGS = 50
_MEMBERS = {"tag_key": "TagKey", "tag_value": "TagValue"}

Tags = Sequence[dict[str, str]]
"""As the description has them: [{"Key": …, "Value": …}, …]."""


def tag_settings(tags: Tags) -> dict[str, str]:
    """Tags as a setting; empty without tags, because S3 takes an empty list as a deletion."""
    stored = file_facts.stored_tags([(tag["Key"], tag["Value"]) for tag in tags])
    return {} if stored is None else {TAGS: stored}


def header_tags(text: str) -> list[dict[str, str]]:
    """The checked tags in an x-amz-tagging header, which is written like a query string."""
    tags = []
    for part in text.split("&"):
        if part:
            key, _, value = part.partition("=")
            tags.append({"Key": _decoded(key), "Value": _decoded(value)})
    if len({tag["Key"] for tag in tags}) < len(tags):
        raise _bad_header("a tag's key occurs twice")
    return check_tags(tags, MAX_FILE_TAGS)


def check_tags(tags: Tags, limit: int) -> list[dict[str, str]]:
    """Return `tags` as a list; S3Error InvalidTag names one that is not valid."""
    try:
        file_facts.check_tags([(tag["Key"], tag["Value"]) for tag in tags], limit)
    except BadRequest as error:
        refusal = S3Error("InvalidTag", error.detail)
        refusal.details = {_MEMBERS[name]: str(value) for name, value in error.facts.items()}
        raise refusal from error
    return list(tags)


def tags_in(settings: dict[str, str]) -> list[dict[str, str]]:
    """The tags among a version's settings."""
    text = settings.get(TAGS)
    tags: list[dict[str, str]] = json.loads(text)["TagSet"] if text else []
    return tags


class TaggingHandlers:
    """Handlers of object and bucket tags. A write brings its own tags along, see `object_write`."""

    def __init__(self, settings: StoredSettings) -> None:
        self._settings = settings

    def handlers(self) -> Handlers:
        return {
            "PutObjectTagging": self.put_of_object,
            "GetObjectTagging": self.of_object,
            "DeleteObjectTagging": self.delete_of_object,
            "PutBucketTagging": self.put_of_bucket,
            "GetBucketTagging": self.of_bucket,
            "DeleteBucketTagging": self.delete_of_bucket,
        }

    def put_of_object(self, call: S3Call) -> Values:
        tags = check_tags(call.values["Tagging"]["TagSet"], MAX_FILE_TAGS)
        return self._put_of_object(call, tag_settings(tags).get(TAGS))

    def delete_of_object(self, call: S3Call) -> Values:
        return self._put_of_object(call, None)

    def of_object(self, call: S3Call) -> Values:
        reply = self._settings.of_version(call)
        version = reply.version
        check_no_marker(call.key, version, "tags")
        return {"TagSet": tags_in(reply.settings), **version_id_of(version)}

    def _put_of_object(self, call: S3Call, value: str | None) -> Values:
        return version_id_of(self._settings.put_of_version(call, TAGS, value))

    def put_of_bucket(self, call: S3Call) -> Values:
        tags = check_tags(call.values["Tagging"]["TagSet"], MAX_BUCKET_TAGS)
        self._settings.put_of_bucket(call, TAGS, tag_settings(tags).get(TAGS))
        call.status = 204
        return {}

    def delete_of_bucket(self, call: S3Call) -> Values:
        self._settings.put_of_bucket(call, TAGS, None)
        return {}

    def of_bucket(self, call: S3Call) -> Values:
        found: Values = json.loads(
            self._settings.needed_of_bucket(call, TAGS, "NoSuchTagSet", "this bucket has no tags")
        )
        return found


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeError as error:
        raise _bad_header("it is not UTF-8") from error


def _bad_header(why: str) -> S3Error:
    message = f"x-amz-tagging must be key=value&key=value, in percent-encoded UTF-8: {why}"
    return S3Error("InvalidArgument", message, ArgumentName="x-amz-tagging")
