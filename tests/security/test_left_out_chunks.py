"""Chunks may be left out of a stream by people who could read them now, or who sent them before; by nobody else."""

from __future__ import annotations

import random
import secrets

import pytest

from lockstep_store.wire.chunking import Chunk, chunk_bytes
from tests.fakes.wsgi import Answer, ask
from tests.s3.rig import S3Rig
from tests.security.people import Person, comparable, digest_of, left_out


def chunks_of(size: int) -> list[Chunk]:
    """A content that no other test has, in its chunks."""
    return list(chunk_bytes(random.Random(secrets.randbits(64)).randbytes(size)))


def content(chunks: list[Chunk]) -> bytes:
    """The bytes of the chunks."""
    return b"".join(bytes(chunk.data or b"") for chunk in chunks)


def missing(answer: Answer) -> list[str]:
    """The chunks that the refusal asks for."""
    found: list[str] = answer.json["facts"]["digests"]
    return found


@pytest.mark.parametrize("size", [40, 900_000, 12_000_000])
@pytest.mark.parametrize("announced", [False, True])
def test_chunks_of_others_are_asked_for(olga: Person, eve: Person, size: int, announced: bool) -> None:
    """Held chunks that the person may not read are answered like chunks that nobody has, to the letter."""
    held, unknown = chunks_of(size), chunks_of(size)
    assert olga.put(olga.bucket(), "secret", content(held)).status == 201
    mine = eve.bucket()
    answers = []
    for chunks in (held, unknown):
        first = left_out(chunks[:1])
        headers = {"X_Lockstep_Digest": digest_of(first)} if announced else {}
        answer = eve.stream(mine, "stolen", first, **headers)
        assert answer.status == 409, answer.body
        assert missing(answer) == [str(chunks[0].digest)]
        answers.append(comparable(answer, str(chunks[0].digest)))
    assert answers[0] == answers[1]
    assert eve.stream(mine, "stolen", left_out(held)).status == 409
    assert eve.get(mine, "stolen").status == 404


def test_one_chunk_of_others_among_own_ones_is_asked_for(olga: Person, eve: Person) -> None:
    """Neither bytes of one's own nor a long stream around it lets a chunk of somebody else's slip in."""
    theirs, own = chunks_of(900_000), chunks_of(30_000_000)
    olga.put(olga.bucket(), "secret", content(theirs))
    mine = eve.bucket()
    for place in (0, len(own) // 2, len(own)):
        answer = eve.stream(mine, "stolen", [*own[:place], *left_out(theirs), *own[place:]])
        assert answer.status == 409
        assert missing(answer) == [str(chunk.digest) for chunk in theirs]
    assert eve.get(mine, "stolen").status == 404


def test_a_drop_box_does_not_give_its_chunks(olga: Person, eve: Person) -> None:
    """With PutObject alone, not even the chunks of the very path that is written may be left out."""
    box, letter = olga.bucket(), chunks_of(900_000)
    olga.put(box, "letter", content(letter))
    olga.let(box, eve, "s3:PutObject")
    assert eve.stream(box, "letter", left_out(letter)).status == 409


def test_a_delta_on_a_readable_file_sends_only_what_changed(olga: Person) -> None:
    """Chunks of the current version may be left out."""
    mine, before, added = olga.bucket(), chunks_of(9_000_000), chunks_of(300_000)
    olga.put(mine, "k", content(before))
    assert olga.stream(mine, "k", [*left_out(before), *added]).status == 200
    assert olga.get(mine, "k").body == content(before) + content(added)


def test_a_delta_on_an_older_version_names_it(olga: Person, eve: Person) -> None:
    """Chunks of an older version may be left out when the request names it and its sender may read it."""
    mine, old = olga.bucket(), chunks_of(900_000)
    olga.s3.put_bucket_versioning(Bucket=mine, VersioningConfiguration={"Status": "Enabled"})
    version = olga.put(mine, "k", content(old)).headers["X-Lockstep-Version"]
    olga.put(mine, "k", b"new")
    added = chunks_of(300)
    assert olga.stream(mine, "k", [*left_out(old), *added]).status == 409
    olga.let(mine, eve, "s3:PutObject", "s3:GetObject")
    assert eve.stream(mine, "k", [*left_out(old), *added], X_Lockstep_Base_Version=version).status == 409
    assert olga.stream(mine, "k", [*left_out(old), *added], X_Lockstep_Base_Version=version).status == 200
    assert olga.get(mine, "k").body == content(old) + content(added)


def test_an_interrupted_upload_goes_on_for_its_sender_alone(olga: Person, eve: Person, rig: S3Rig) -> None:
    """Chunks that arrived before a cut may be left out by who sent them, and by nobody else."""
    mine, chunks = olga.bucket(), chunks_of(30_000_000)
    body = content(chunks)
    begun = body[: len(body) * 5 // 6]
    app, target = rig.cluster.proxies["1"].app, f"/api/v1/files/{mine}/k"
    assert ask(app, "PUT", target, begun, headers=olga.headers, length=len(body)).status == 400
    announced = {"X_Lockstep_Digest": digest_of(chunks)}
    asked = olga.stream(mine, "k", left_out(chunks), **announced)
    assert asked.status == 409
    lacking = set(missing(asked))
    assert len(lacking) < 0.7 * len(chunks)
    assert len(missing(eve.stream(eve.bucket(), "k", left_out(chunks)))) == len(chunks)
    rest = [chunk if str(chunk.digest) in lacking else chunk._replace(data=None) for chunk in chunks]
    assert olga.stream(mine, "k", rest, **announced).status == 201
    assert olga.get(mine, "k").body == body


def test_a_chunk_may_repeat_without_its_bytes(olga: Person) -> None:
    """Bytes that came earlier in the same stream need not come again."""
    mine, chunks = olga.bucket(), chunks_of(300_000)
    assert olga.stream(mine, "k", [*chunks, *left_out(chunks)]).status == 201
    assert olga.get(mine, "k").body == 2 * content(chunks)
