"""Reading, by rule: files and parts of them, versions, manifests, listings."""

from __future__ import annotations

import json

from hypothesis import strategies as st
from hypothesis.stateful import rule

from lockstep_store.wire.codec import decoder
from lockstep_store.wire.messages.files import FileVersion, ListReply, VersionsReply
from tests.properties.api_machine import ApiMachine, buckets, conditions, people, query, ranges, spots
from tests.properties.api_model import Refused, wanted_range

_listed, _versions = decoder(ListReply), decoder(VersionsReply)


class ReadingRules(ApiMachine):
    """See the module."""

    # ------------------------------------------------------------ reading

    @rule(
        who=people, spot=spots, version=st.integers(-6, 3), part=ranges, head=st.sampled_from((False, False, True)),
        condition=conditions,
    )  # fmt: skip
    def read(self, who: str, spot: int, version: int, part: str | None, head: bool, condition: str | None) -> None:
        """GET or HEAD of a file, a version of it, or a part of it."""
        bucket, path = self.at(spot)
        id = self.version_id(bucket, path, version)
        kept = self.model.buckets.get(bucket)
        found = kept.find(path, id) if kept else None
        headers, if_match, if_none_match = self.condition(condition, found)
        if part is not None:
            headers["Range"] = f"bytes={part}"
        method = "HEAD" if head else "GET"
        answer = self.ask(who, method, self.file(bucket, path) + query(version=id), **headers)
        try:
            self.model.usable(bucket, who)
            if found is None or found.content is None:
                raise Refused(404, "not_found")
            digest = str(found.digest)
            if if_match is not None and if_match not in ("*", digest):
                raise Refused(412, "precondition_failed")
            if if_none_match in ("*", digest):
                assert (answer.status, answer.body) == (304, b"")
                assert answer.headers["X-Lockstep-Digest"] == digest
                return None
            data = found.content.data
            span = wanted_range(part, len(data)) if part is not None and not head else None
        except Refused as refusal:
            return self.refused(answer, refusal, method)
        start, stop = span or (0, len(data))
        assert answer.status == (206 if span else 200), (answer.status, answer.body[:300])
        assert int(answer.headers["Content-Length"]) == stop - start
        assert answer.body == (b"" if head else data[start:stop]), "the bytes differ"
        assert answer.headers["ETag"] == f'"{digest}"'
        assert answer.headers["X-Lockstep-Digest"] == digest
        assert answer.headers["X-Lockstep-Version"] == found.id
        if span:
            assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(data)}"
        if found.content_type:
            assert answer.headers["Content-Type"] == found.content_type
        lowered = {name.lower(): value for name, value in answer.headers.items()}
        assert json.loads(lowered.get("x-lockstep-metadata", "{}")) == found.metadata
        return None

    @rule(who=people, spot=spots, version=st.integers(-3, 3))
    def manifest(self, who: str, spot: int, version: int) -> None:
        """A file's chunks."""
        bucket, path = self.at(spot)
        id = self.version_id(bucket, path, version)
        answer = self.ask(who, "GET", self.file(bucket, path, "manifests") + query(version=id))
        try:
            found = self.model.usable(bucket, who).find(path, id)
            if found is None or found.content is None:
                raise Refused(404, "not_found")
        except Refused as refusal:
            return self.refused(answer, refusal)
        assert answer.status == 200
        assert answer.body == found.content.manifest.encode()
        return None

    @rule(
        who=people, bucket=buckets, prefix=st.sampled_from(("", "d", "dir", "dir/", "dir/s", "é", "e", "zz")),
        delimiter=st.sampled_from(("", "/", "/", "ir")), limit=st.integers(1, 6),
    )  # fmt: skip
    def list_files(self, who: str, bucket: str, prefix: str, delimiter: str, limit: int) -> None:
        """A whole listing, page by page."""
        prefix = self.path_name(prefix)
        files: list[str] = []
        prefixes: list[str] = []
        cursor = ""
        while True:
            arguments = query(prefix=prefix, delimiter=delimiter, limit=str(limit), cursor=cursor)
            answer = self.ask(who, "GET", f"/files/{self.bucket_name(bucket)}{arguments}")
            try:
                kept = self.model.usable(bucket, who)
            except Refused as refusal:
                return self.refused(answer, refusal)
            page = _listed.decode(answer.body)
            assert len(page.files) + len(page.prefixes) <= limit
            self.at_cursor(page.cursor)
            for found in page.files:
                path = found.path.removeprefix(self.path_name(""))
                current = kept.current(path)
                assert current is not None, f"{found.path} is listed and does not exist"
                self.same_version(found, bucket, path, current, current=True)
                files.append(path)
            prefixes += [name.removeprefix(self.path_name("")) for name in page.prefixes]
            if not page.next_after:
                break
            assert len(page.files) + len(page.prefixes) == limit, "a short page must be the last"
            cursor = page.next_after
        assert (files, prefixes) == kept.names(prefix.removeprefix(self.path_name("")), delimiter)
        return None

    @rule(who=people, spot=spots, limit=st.integers(1, 4))
    def list_versions(self, who: str, spot: int, limit: int) -> None:
        """All versions of a path, newest first, page by page."""
        bucket, path = self.at(spot)
        found: list[FileVersion] = []
        cursor = None
        while True:
            target = self.file(bucket, path, "versions") + query(limit=str(limit), cursor=cursor)
            answer = self.ask(who, "GET", target)
            try:
                versions = self.model.usable(bucket, who).paths.get(path, [])
                if not versions:
                    raise Refused(404, "not_found")
            except Refused as refusal:
                return self.refused(answer, refusal)
            page = _versions.decode(answer.body)
            assert 0 < len(page.versions) <= limit
            found += page.versions
            if page.next_after is None:
                break
            cursor = page.next_after[1]
        assert len(found) == len(versions)
        for place, (given, version) in enumerate(zip(found, reversed(versions), strict=True)):
            self.same_version(given, bucket, path, version, current=place == 0)
        return None
