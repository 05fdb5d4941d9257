"""File facts: shows and changes a version's description and tags, beside its type and metadata.

A change makes no version and no line of the journal, and needs no lock: a lock is about content. Tags are those of S3,
so the same actions of a policy decide about them, and a change of them is the same event.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import itemgetter

from directory_server.access.decisions import Standing, standing
from directory_server.files.hooks import Hooks
from directory_server.files.lookups import refuse_marker, version_row
from directory_server.files.moment import Moment, MomentClock
from directory_server.files.object_changes import cause_of
from directory_server.files.versions import change_of
from directory_server.metadata.statements import files, s3_settings
from directory_server.metadata.store import MetadataStore, Row, Tx
from directory_server.people.person import People
from lockstep_store.wire.content_types import type_of
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.file_facts import (
    Tag,
    changed_tags,
    check_description,
    check_tags,
    description_of,
    stored_description,
    stored_tags,
    tags_of,
)
from lockstep_store.wire.messages.facts import ChangeFactsRequest, FactsReply, FactsRequest
from lockstep_store.wire.messages.s3 import DESCRIPTION, TAGS
from lockstep_store.wire.names import check_key

_REFUSING = frozenset(("denied", "limits", "read-only"))
"""Grounds that refuse writers to change tags, which every writer may unless a rule says otherwise."""


class FileFacts:
    """Serves the calls about file facts. Thread-safe."""

    def __init__(self, store: MetadataStore, clock: MomentClock, people: People, hooks: Hooks) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._hooks = hooks

    def show(self, request: FactsRequest) -> FactsReply:
        """Return a version's facts. NotFound when there is no such version, also for a delete marker."""
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            row = version_row(place, request.path, request.version)
            place.demand(_read_action(request), request.path, version=request.version)
            refuse_marker(row)
            return _reply(place, request, row)

    def change(self, request: ChangeFactsRequest) -> FactsReply:
        """Change facts and return all. Durable on return, safe to repeat. For everybody who may write the file."""
        person = self._people.identify(request.credential)
        check_key(request.path)
        if request.description is None and not request.tags and not request.replace_tags:
            raise BadRequest("nothing to change: give a description, tags, or both")
        description = None if request.description is None else check_description(request.description)

        def work(tx: Tx) -> FactsReply:
            place = standing(tx, request.bucket, person, self._clock.wall())
            row = version_row(place, request.path, request.version)
            place.demand("s3:PutObject", request.path, version=request.version)
            refuse_marker(row)
            change = partial(self._put, tx, place, row)
            if description is not None:
                change(DESCRIPTION, stored_description(description), "")
            if request.tags or request.replace_tags:
                before = tags_of(s3_settings.facts_of_version(tx, row[2]).get(TAGS))
                after = changed_tags([] if request.replace_tags else before, request.tags)
                if sorted(after, key=itemgetter(0)) != sorted(before, key=itemgetter(0)):
                    check_tags(after)
                    _demand_tagging(place, request, after)
                    change(TAGS, stored_tags(after), "ObjectTagging:Put" if after else "ObjectTagging:Delete")
            return _reply(place, request, row)

        return self._store.write(work)

    def _put(self, tx: Tx, place: Standing, row: Row, name: str, value: str | None, event: str) -> None:
        moment, bucket = Moment.of(self._clock), place.bucket
        self._hooks.check_version_setting(tx, bucket, row, name, value, moment, bypass=False)
        s3_settings.put_version_value(tx, row[2], name, value)
        if event:
            self._hooks.after_change(tx, bucket, change_of(row, event, cause_of(place.person), moment.at))


def _of_version(request: FactsRequest, action: str) -> str:
    return action if request.version is None else action.replace("Object", "ObjectVersion")


def _read_action(request: FactsRequest) -> str:
    return _of_version(request, "s3:GetObject")


def _demand_tagging(place: Standing, request: ChangeFactsRequest, tags: Sequence[Tag]) -> None:
    """Raise Forbidden if a policy or a key's limits keep the person from giving the version these tags."""
    action = _of_version(request, "s3:PutObjectTagging" if tags else "s3:DeleteObjectTagging")
    keys = {f"s3:requestobjecttag/{key.lower()}": [value] for key, value in tags}
    keys["s3:requestobjecttagkeys"] = [key for key, _ in tags]
    if place.decide(action, request.path, version=request.version, keys=keys) in _REFUSING:
        place.demand(action, request.path, version=request.version, keys=keys)


def _reply(place: Standing, request: FactsRequest, row: Row) -> FactsReply:
    version = files.as_version(row)
    reply = FactsReply(request.bucket, request.path, version.version, "", {}, "", None)
    if place.may(_read_action(request), request.path, version=request.version):
        facts = s3_settings.facts_of_version(place.reader, version.version)
        reply.content_type = type_of(version.path, version.content_type, version.metadata)
        reply.metadata = {name: value for name, value in version.metadata.items() if ":" not in name}
        reply.description = description_of(facts.get(DESCRIPTION))
        if place.may(_of_version(request, "s3:GetObjectTagging"), request.path, version=request.version):
            reply.tags = dict(tags_of(facts.get(TAGS)))
    return reply
