"""Tags of objects and buckets: read from headers and bodies, checked, and stored as settings.

An object's tags belong to one version and change without making another one.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.protocol.delete_markers import check_no_marker
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import version_id_of
from client_proxy.doors.s3.stored_settings import StoredSettings
from lockstep_store.wire.messages.s3 import TAGS

MAX_OBJECT_TAGS = 10
MAX_BUCKET_TAGS = 50
MAX_KEY = 128
MAX_VALUE = 256
_SIGNS = frozenset("_.:/=+-@")
_RESERVED = "aws:"

Tags = Sequence[dict[str, str]]
"""As the description has them: [{"Key": …, "Value": …}, …]."""


def tag_settings(tags: Tags) -> dict[str, str]:
    """Tags as a setting; empty without tags, because S3 takes an empty list as a deletion."""
    return {TAGS: json.dumps({"TagSet": list(tags)})} if tags else {}


def header_tags(text: str) -> list[dict[str, str]]:
    """The checked tags in an x-amz-tagging header, which is written like a query string."""
    tags = []
    for part in text.split("&"):
        if part:
            key, _, value = part.partition("=")
            tags.append({"Key": _decoded(key), "Value": _decoded(value)})
    if len({tag["Key"] for tag in tags}) < len(tags):
        raise _bad_header("a tag's key occurs twice")
    return check_tags(tags, MAX_OBJECT_TAGS)


def check_tags(tags: Tags, limit: int) -> list[dict[str, str]]:
    """Return `tags` as a list; S3Error InvalidTag names one that is not valid."""
    if len(tags) > limit:
        raise S3Error("InvalidTag", f"there are {len(tags)} tags; the maximum is {limit}")
    for tag in tags:
        key, value = tag["Key"], tag["Value"]
        if not 1 <= _length(key) <= MAX_KEY or not _is_plain(key):
            raise S3Error(
                "InvalidTag", f"a tag's key must have 1 to {MAX_KEY} letters, digits, spaces or _.:/=+-@", TagKey=key
            )
        if key.lower().startswith(_RESERVED):
            raise S3Error("InvalidTag", f"tag keys that begin with {_RESERVED} are reserved", TagKey=key)
        if _length(value) > MAX_VALUE or not _is_plain(value):
            raise S3Error(
                "InvalidTag",
                f"a tag's value may have at most {MAX_VALUE} letters, digits, spaces or _.:/=+-@",
                TagKey=key,
                TagValue=value,
            )
    keys = [tag["Key"] for tag in tags]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise S3Error("InvalidTag", "two tags have the same key", TagKey=twice)
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
        tags = check_tags(call.values["Tagging"]["TagSet"], MAX_OBJECT_TAGS)
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


def _length(text: str) -> int:
    """Return the length in UTF-16 units, as the protocol counts."""
    return len(text.encode("utf-16-le")) // 2


def _is_plain(text: str) -> bool:
    return all(sign in _SIGNS or unicodedata.category(sign)[0] in "LZN" for sign in text)
