"""Writing, by rule: upload plain or as a chunk stream, delete, copy, move, restore."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from lockstep_store.wire.chunk_stream import CONTENT_TYPE as CHUNK_STREAM
from lockstep_store.wire.chunk_stream import encode_stream
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.files import DeleteReply, VersionsReply
from tests.fakes.wsgi import Answer
from tests.properties.api_machine import (
    ADMIN,
    MADE,
    ApiMachine,
    buckets,
    conditions,
    contents,
    metadata,
    paths,
    people,
    picks,
    query,
    spots,
    types,
)
from tests.properties.api_model import Content, Refused, Version

_deleted, _versions = decoder(DeleteReply), decoder(VersionsReply)


class FileRules(ApiMachine):
    """See the module."""

    # ------------------------------------------------------------ writing

    @rule(
        who=people, bucket=buckets, path=paths, content=contents, condition=conditions, pick=picks, type=types,
        meta=metadata, frames=st.integers(0, 7), free=st.booleans(),
    )  # fmt: skip
    def put(
        self, who: str, bucket: str, path: str, content: Any, condition: str | None, pick: int, type: str,
        meta: dict[str, str], frames: int, free: bool,
    ) -> None:  # fmt: skip
        """A PUT of plain bytes; or, for `frames` under 4, of a chunk stream."""
        body = MADE[content] if isinstance(content, str) else Content.of(content)
        kept = self.model.buckets.get(bucket)
        current = kept.current(path) if kept else None
        headers, if_match, if_none_match = self.condition(condition, current)
        number = self.lock_for(pick, (bucket, path), who)
        if number is not None:
            headers |= {"X-Lockstep-Lock": str(number), "X-Lockstep-Release-Lock": str(free).lower()}
        headers |= {"X-Lockstep-Metadata": json.dumps(meta)} if meta else {}
        target = self.file(bucket, path)
        if frames < 4:
            send = self.send_stream(who, target, body, headers, type, leave_out=frames & 1, announce=bool(frames & 2))
        else:
            answer = self.ask(who, "PUT", target, body.data, **headers, **({"Content-Type": type} if type else {}))
            send = answer
        try:
            self.model.usable(bucket, who)
            covered = self.model.check_write((bucket, path), who, number)
            self.model.check_conditions(current, if_match, if_none_match)
        except Refused as refusal:
            return self.refused(send, refusal)
        self.committed(send, bucket, path, Version("", body, who, False, type, meta, covered), current is None)
        self.release(free, number)
        return None

    @rule(who=people, spot=spots, content=contents, condition=conditions, pick=picks, free=st.booleans())
    def overwrite(self, who: str, spot: int, content: Any, condition: str | None, pick: int, free: bool) -> None:
        """A PUT of plain bytes where most likely a file is."""
        self.put(who, *self.at(spot), content, condition, pick, "", {}, 7, free)

    def send_stream(
        self, who: str, target: str, body: Content, headers: dict[str, str], type: str, *, leave_out: int,
        announce: bool,
    ) -> Answer:  # fmt: skip
        headers = {**headers, "Content-Type": CHUNK_STREAM}
        if type:
            headers["X-Lockstep-Content-Type"] = type
        if announce:
            headers |= {"X-Lockstep-Digest": str(body.digest), "X-Lockstep-Size": str(len(body.data))}
        left_out = {digest for place, (digest, _) in enumerate(body.manifest.chunks) if leave_out and place % 2 == 0}
        answer = self.ask(who, "PUT", target, stream_of(body, left_out), **headers)
        if answer.status == 409 and answer.json["code"] == "missing_chunks":
            named = {Digest.parse(text) for text in answer.json["digests"]}
            assert named
            assert named <= left_out, "only what was left out can be missing"
            answer = self.ask(who, "PUT", target, stream_of(body, set()), **headers)
        return answer

    @rule(who=people, spot=spots, condition=conditions, pick=picks, version=st.integers(-6, 3))
    def delete(self, who: str, spot: int, condition: str | None, pick: int, version: int) -> None:
        """A DELETE of a path, or of its `version`-th version."""
        bucket, path = self.at(spot)
        kept = self.model.buckets.get(bucket)
        current = kept.current(path) if kept else None
        headers, if_match, if_none_match = self.condition(condition, current)
        number = self.lock_for(pick, (bucket, path), who)
        if number is not None:
            headers["X-Lockstep-Lock"] = str(number)
        id = self.version_id(bucket, path, version)
        answer = self.ask(who, "DELETE", self.file(bucket, path) + query(version=id), **headers)
        try:
            kept = self.model.usable(bucket, who)
            self.model.check_write((bucket, path), who, number)
            self.model.check_conditions(current, if_match, if_none_match)
        except Refused as refusal:
            return self.refused(answer, refusal)
        assert answer.status == 200, answer.body[:300]
        reply = _deleted.decode(answer.body)
        if id is None:
            marker = Version(reply.version or "", None, who, False)
            gone = self.model.delete(bucket, path, marker)
            made_marker = gone is marker
            if made_marker:
                assert reply.version is not None
                assert reply.version > self.last_version
                self.last_version = reply.version
        else:
            gone = kept.find(path, id)
            made_marker = gone is not None and gone.content is None
            if gone is not None:
                self.model.remove(bucket, path, gone)
        expected = DeleteReply(
            reply.cursor,
            gone is not None,
            gone.id if gone else None,
            delete_marker=made_marker,
            null_version=gone is not None and gone.null,
        )
        assert reply == expected, (reply, expected)
        self.at_cursor(reply.cursor)
        return None

    def version_id(self, bucket: str, path: str, number: int) -> str | None:
        """Below 0: the current one. 0: the "null" version. Else: one that exists, or one that never did."""
        if number < 0:
            return None
        if number == 0:
            return "null"
        kept = self.model.buckets.get(bucket)
        versions = kept.paths.get(path, []) if kept else []
        return versions[-number].id if number <= len(versions) else "0000000000000000"

    @rule(
        who=people, spot=spots, to=st.one_of(st.none(), buckets), onto=paths, move=st.booleans(),
        condition=conditions, pick=picks, source_pick=picks, version=st.integers(-3, 3), meta=st.booleans(),
        free=st.booleans(),
    )  # fmt: skip
    def copy(
        self, who: str, spot: int, to: str | None, onto: str, move: bool, condition: str | None,
        pick: int, source_pick: int, version: int, meta: bool, free: bool,
    ) -> None:  # fmt: skip
        """POST /copy; with `to` None inside the bucket."""
        bucket, path = self.at(spot)
        to = to or bucket
        into = self.model.buckets.get(to)
        current = into.current(onto) if into else None
        headers, if_match, if_none_match = self.condition(condition, current)
        number = self.lock_for(pick, (to, onto), who)
        source_number = self.lock_for(source_pick, (bucket, path), who)
        id = self.version_id(bucket, path, version)
        source: dict[str, Any] = {"bucket": self.bucket_name(bucket), "path": self.path_name(path)}
        if id is not None:
            source["version"] = id
        body = {
            "source": source, "bucket": self.bucket_name(to), "path": self.path_name(onto), "move": move,
            "lock_number": number, "source_lock_number": source_number, "release_lock": free,
            **({"content_type": "image/gif", "metadata": {"copied": "yes"}} if meta else {}),
        }  # fmt: skip
        answer = self.post(who, "/copy", body, **headers)
        try:
            if move and (id is not None or (bucket, path) == (to, onto)):
                raise Refused(400, "bad_request")
            self.model.usable(to, who)
            found = self.model.usable(bucket, who).find(path, id)
            if found is None or found.content is None:
                raise Refused(404, "not_found")
            covered = self.model.check_write((to, onto), who, number)
            if move:
                self.model.check_write((bucket, path), who, source_number)
            self.model.check_conditions(current, if_match, if_none_match)
        except Refused as refusal:
            return self.refused(answer, refusal)
        made = Version("", found.content, who, False, found.content_type, dict(found.metadata), covered)
        if meta:
            made.content_type, made.metadata = "image/gif", {"copied": "yes"}
        self.committed(answer, to, onto, made, current is None)
        if move:
            kept = self.model.buckets[bucket]
            marker = Version("", None, who, False)
            if self.model.delete(bucket, path, marker) is marker:
                self.learn_marker(bucket, path, marker)
            assert kept.current(path) is None
            self.release(free, source_number)
        self.release(free, number)
        return None

    def learn_marker(self, bucket: str, path: str, marker: Version) -> None:
        """A move does not say which delete marker it left at its source."""
        answer = self.ask(ADMIN, "GET", self.file(bucket, path, "versions") + query(limit="1"))
        marker.id = _versions.decode(answer.body).versions[0].version
        assert marker.id > self.last_version, "version ids rise"
        self.last_version = marker.id

    @rule(who=people, spot=spots, version=st.integers(0, 4), pick=picks)
    def restore(self, who: str, spot: int, version: int, pick: int) -> None:
        """POST …/restore of a version."""
        bucket, path = self.at(spot)
        id = self.version_id(bucket, path, version)
        number = self.lock_for(pick, (bucket, path), who)
        headers = {"X-Lockstep-Lock": str(number)} if number is not None else {}
        answer = self.post(who, self.file(bucket, path, "versions") + "/restore", {"version": id}, **headers)
        try:
            kept = self.model.usable(bucket, who)
            found = kept.find(path, id)
            if found is None or found.content is None:
                raise Refused(404, "not_found")
            covered = self.model.check_write((bucket, path), who, number)
        except Refused as refusal:
            return self.refused(answer, refusal)
        made = Version("", found.content, who, False, found.content_type, dict(found.metadata), covered)
        self.committed(answer, bucket, path, made, kept.current(path) is None)
        return None


def stream_of(content: Content, left_out: set[Digest]) -> bytes:
    """The content as a chunk stream without the bytes of some chunks."""
    chunks = (c._replace(data=None) if c.digest in left_out else c for c in chunk_bytes(content.data))
    return b"".join(bytes(block) for block in encode_stream(chunks))
