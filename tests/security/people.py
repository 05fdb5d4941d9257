"""A person at the doors of one proxy: the API, S3, WebDAV and Git LFS."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from client_proxy.doors.rest.file_headers import CHUNK_STREAM_TYPE
from lockstep_store.wire.chunk_stream import MAGIC, encode_stream, end_frame, frame_header
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.manifest import Manifest
from tests.fakes.wsgi import Answer
from tests.s3.people import client_of, document, statement
from tests.s3.rig import ENDPOINT, S3Rig

_numbers = itertools.count(1)


class Person:
    """An account, made if need be."""

    def __init__(self, rig: S3Rig, name: str) -> None:
        self.name = name
        self.s3: Any = client_of(rig, name)
        self._rig = rig
        self.headers = rig.cluster.log_in(name)
        self.webdav = rig.webdav
        self.lfs = rig.lfs

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """One request to the API; `target` begins after /api/v1, headers are named as `X_Lockstep_Lock`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._rig.cluster.ask_with(self.headers | named, method, target, body)

    def ask_s3(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """One request to the S3 door, with the token in a header instead of a signature."""
        named = {name.replace("_", "-"): value for name, value in headers.items()} | self.headers
        if body:
            named["Content-Length"] = str(len(body))
        status, answered, content = self._rig.ask(method, ENDPOINT + target, named, body)
        return Answer(status, dict(answered), content)

    def bucket(self) -> str:
        """A new bucket of this person's."""
        name = f"{self.name}-{next(_numbers)}"
        self.s3.create_bucket(Bucket=name)
        return name

    def let(self, bucket: str, who: Person, *actions: str) -> None:
        """Replace the bucket's policy by one that lets `who` do `actions`, to the bucket and to all in it."""
        allowed = statement("Allow", who.name, list(actions), bucket, f"{bucket}/*")
        self.s3.put_bucket_policy(Bucket=bucket, Policy=document(allowed))

    def let_each(self, bucket: str, who: Person, actions: dict[str, list[str]]) -> None:
        """The same with the actions that `who` may do to each resource, which is named by what follows the bucket."""
        allowed = [statement("Allow", who.name, names, bucket + rest) for rest, names in actions.items()]
        self.s3.put_bucket_policy(Bucket=bucket, Policy=document(*allowed))

    def put(self, bucket: str, path: str, content: bytes, **headers: str) -> Answer:
        """Plain bytes through the API."""
        return self.ask("PUT", f"/files/{bucket}/{path}", content, **headers)

    def get(self, bucket: str, path: str) -> Answer:
        return self.ask("GET", f"/files/{bucket}/{path}")

    def link(self, bucket: str, path: str, digest: str) -> Answer:
        """Ask for a file of that content without knowing more of it than its digest."""
        frame = frame_header(Chunk(Digest.parse(digest), 1, None))
        headers = {"X_Lockstep_Digest": digest, "Content_Type": CHUNK_STREAM_TYPE}
        return self.ask("PUT", f"/files/{bucket}/{path}", MAGIC + frame + end_frame(Digest.parse(digest), 1), **headers)

    def stream(self, bucket: str, path: str, chunks: Sequence[Chunk], **headers: str) -> Answer:
        """A chunk stream; chunks without data are left out."""
        body = b"".join(encode_stream(list(chunks)))
        return self.ask("PUT", f"/files/{bucket}/{path}", body, Content_Type=CHUNK_STREAM_TYPE, **headers)


def left_out(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The same chunks without their bytes."""
    return [chunk._replace(data=None) for chunk in chunks]


def digest_of(chunks: Sequence[Chunk]) -> str:
    """The digest of the file that the chunks make up."""
    return Manifest((chunk.digest, chunk.length) for chunk in chunks).digest.hex()


def comparable(answer: Answer, *unlike: str) -> Any:
    """A refusal without what differs between any two requests; `unlike` are words that were the request's own."""
    found = json.dumps({name: value for name, value in answer.json.items() if name != "request_id"}, sort_keys=True)
    for word in unlike:
        found = found.replace(word, "…")
    headers = sorted((name, value) for name, value in answer.headers.items() if name.lower() != "x-request-id")
    return answer.status, found, [(name, "…" if name.lower() == "content-length" else value) for name, value in headers]
