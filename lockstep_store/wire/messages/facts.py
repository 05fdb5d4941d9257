"""Facts of a file: what people say about it (description, tags) and what is stored with it (type, metadata).

Changing them makes no new version. Description and tags belong to a version as settings: tags are S3's object tags.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.file_facts import MAX_DESCRIPTION
from lockstep_store.wire.messages.base import Bucket, Credential, Message, PathText

MAX_TAG_CHANGES = 100


class FactsRequest(Message):
    """The facts of a version; without `version`, of the current one."""

    credential: Credential
    bucket: Bucket
    path: PathText
    version: str | None = None


class ChangeFactsRequest(FactsRequest):
    """Change some facts. What is None, and tags that are not named, stay as they are."""

    description: Annotated[str, Meta(max_length=2 * MAX_DESCRIPTION)] | None = None
    """An empty one removes it."""
    tags: Annotated[dict[str, str | None], Meta(max_length=MAX_TAG_CHANGES)] = {}
    """New values by key; None removes the tag."""
    replace_tags: bool = False
    """The tags in `tags` are all that the file has from now on."""


class FactsReply(Message, omit_defaults=False):
    """The facts of a version. For people who may change the file and not read it, all but its name are empty."""

    bucket: Bucket
    path: PathText
    version: str
    content_type: str
    """As a read shows it: stated by the writer, told by the name, or found in the content."""
    metadata: dict[str, str]
    """What its writer sent along, without Lockstep's own entries."""
    description: str
    tags: dict[str, str] | None
    """None for people who may not read the file's tags."""


FACTS = Call("/v1/facts", FactsRequest, FactsReply)
CHANGE_FACTS = Call("/v1/facts/change", ChangeFactsRequest, FactsReply)
