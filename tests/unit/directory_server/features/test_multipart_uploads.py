"""Multipart uploads at the directory: what parts, completions and aborts leave in its tables, in whatever order they
come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_proxy.core.chunk_fetcher import Source, Wanted
from client_proxy.core.composition import Composition, Piece
from directory_server.features.uploads.calls import Uploads
from directory_server.files import past_writes
from directory_server.files.moment import Moment
from directory_server.maintenance.fsck import check_metadata
from directory_server.metadata.statements import uploads as rows
from directory_server.people.accounts import insert_account
from directory_server.people.passwords import NOBODY
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import BadRequest, Conflict, Forbidden, Locked, NotFound, TicketRefused, TooLarge
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.uploads import (
    CreateUploadRequest,
    PartInfo,
    UploadInfo,
    UploadPartsRequest,
    UploadRequest,
    decode_numbers,
    encode_numbers,
    parts_mark,
)
from lockstep_store.wire.messages.writes import BeginReplyItem, UploadStep
from tests.fakes.directory_rig import TICKET_SECONDS, DirectoryRig, PeopleByName

pytestmark = pytest.mark.usefixtures("every_engine")

PATH = "big.bin"


class Rig(DirectoryRig):
    """With uploads; the bucket is `files`, which keeps versions, unless another is named."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.store.write(lambda tx: insert_account(tx, "ann", NOBODY, admin=False, at=0.0))
        self.uploads = Uploads(self.store, self.clock, PeopleByName(), self.membership, self.hooks)

    def create(
        self, id: str = "u1", path: str = PATH, bucket: str = "files", who: str = "ann", **said: Any
    ) -> UploadInfo:
        return self.uploads.create(CreateUploadRequest(who, bucket, path, id, **said))

    def begin_part(self, number: int, id: str = "u1", path: str = PATH, **fields: Any) -> BeginReplyItem:
        return self.begin(path, upload=UploadStep(id, number), **fields)

    def part(self, number: int, content: bytes, id: str = "u1", **fields: Any) -> FileVersion:
        return self.commit(self.begin_part(number, id, **fields), content).version

    def parts(
        self, id: str = "u1", path: str = PATH, bucket: str = "files", who: str = "ann", **page: Any
    ) -> list[PartInfo]:
        return self.uploads.parts(UploadPartsRequest(who, bucket, path, id, **page)).parts

    def chosen(self, *numbers: int, id: str = "u1", **place: Any) -> UploadStep:
        """The completion of these parts (all, unless some are named), as they are now."""
        parts = [part for part in self.parts(id, **place) if not numbers or part.number in numbers]
        mark = parts_mark((part.number, part.write_id) for part in parts)
        return UploadStep(id, chosen=encode_numbers(part.number for part in parts), mark=mark)

    def begin_completion(self, step: UploadStep, **fields: Any) -> BeginReplyItem:
        return self.begin(PATH, upload=step, write_id=f"complete-{step.id:>016}", **fields)

    def complete(self, step: UploadStep, content: bytes, **fields: Any) -> FileVersion:
        return self.commit(self.begin_completion(step, **fields), content).version

    def abort(self, id: str = "u1", who: str = "ann") -> None:
        self.uploads.abort(UploadRequest(who, "files", PATH, id))

    def uploads_left(self) -> int:
        with self.store.read() as reader:
            return len(rows.page(reader, "files", ("", ""), 1000))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    _, problems, _ = check_metadata(rig.store)
    rig.close()
    assert not problems, "the tables agree after every path through them"


def test_a_part_is_referred_to_and_nowhere_to_be_seen(rig: Rig) -> None:
    """It has its references and holders, and neither a version, nor a place in the journal or in a listing."""
    rig.create()
    cursor = rig.list().cursor
    made = rig.part(1, b"one", metadata={"etag": "x"})
    assert (made.version, made.metadata, made.size) == ("", {"etag": "x"}, 3)
    assert rig.references(chunk_digest(b"one")) == 1
    [part] = rig.parts(with_holders=True)
    assert (part.number, part.digest, len(part.holders)) == (1, chunk_digest(b"one"), 2)
    assert rig.list().cursor == cursor
    assert rig.list().files == []
    with pytest.raises(NotFound):
        rig.lookup(PATH)


def test_completing_makes_the_version_and_ends_the_upload(rig: Rig) -> None:
    """The version has what was said at the beginning; the parts' references are gone with the upload."""
    rig.create(content_type="a/b", metadata={"color": "red"}, settings={"tags": "[]"})
    rig.part(1, b"one")
    rig.part(2, b"two")
    rig.part(3, b"left out")
    made = rig.complete(rig.chosen(1, 2), b"onetwo", metadata={"etag": "e-2"})
    assert (made.content_type, made.metadata) == ("a/b", {"color": "red", "etag": "e-2"})
    assert rig.lookup(PATH).version == made.version
    counts = [rig.references(chunk_digest(content)) for content in (b"one", b"two", b"left out", b"onetwo")]
    assert counts == [0, 0, 0, 1]
    assert rig.uploads_left() == 0
    with pytest.raises(NotFound) as error:
        rig.parts()
    assert error.value.facts["upload"] == "u1"


def test_content_that_is_there_is_linked(rig: Rig) -> None:
    """As a part, and as the whole of an upload with a single part: no bytes, and the references are right."""
    digest = rig.write("other", b"known").digest
    rig.create()
    begun = rig.begin_part(1, digest=digest, size=5)
    assert begun.version is not None
    assert rig.references(digest) == 2
    begun = rig.begin_completion(rig.chosen(), digest=digest, size=5)
    assert begun.version is not None
    assert rig.references(digest) == 2
    assert rig.lookup(PATH).digest == digest


def test_a_part_sent_again_takes_the_place_of_the_first(rig: Rig) -> None:
    """Only the last is referred to. The first one's write, asked for again, says what it did and does nothing."""
    rig.create()
    first = rig.begin_part(1, write_id="the-first-write-id")
    rig.commit(first, b"first")
    rig.part(1, b"second")
    assert [part.digest for part in rig.parts()] == [chunk_digest(b"second")]
    assert [rig.references(chunk_digest(content)) for content in (b"first", b"second")] == [0, 1]
    assert rig.commit(first, b"first").version.digest == chunk_digest(b"first")
    begun = rig.begin_part(1, write_id="the-first-write-id")
    assert begun.version is not None
    assert [part.digest for part in rig.parts()] == [chunk_digest(b"second")]


def test_a_part_that_was_given_up(rig: Rig) -> None:
    """It does not come late; one that was there already can still be sent again."""
    rig.create()
    late = rig.begin_part(1, write_id="given-up-before-it-came")
    moment = Moment(0.0, 0.0)
    rig.store.write(lambda tx: past_writes.give_up(tx, "given-up-before-it-came", "files", PATH, moment))
    with pytest.raises(TicketRefused):
        rig.commit(late, b"late")
    rig.part(1, b"there", write_id="given-up-after-it-came")
    rig.store.write(lambda tx: past_writes.give_up(tx, "given-up-after-it-came", "files", PATH, moment))
    rig.part(1, b"again")
    assert [part.digest for part in rig.parts()] == [chunk_digest(b"again")]


def test_a_part_that_comes_after_the_end_is_refused(rig: Rig) -> None:
    """Neither after an abort nor after a completion does a part that was begun before become anything."""
    rig.create()
    late = rig.begin_part(1)
    rig.abort()
    with pytest.raises(NotFound):
        rig.commit(late, b"late")
    assert rig.references(chunk_digest(b"late")) is None
    rig.create("u2")
    rig.part(1, b"one", "u2")
    late = rig.begin_part(2, "u2")
    rig.complete(rig.chosen(id="u2"), b"one and only")
    with pytest.raises(NotFound):
        rig.commit(late, b"late")
    with pytest.raises(NotFound):
        rig.begin_part(3, "u2")


def test_a_completion_after_an_abort_is_refused(rig: Rig) -> None:
    """Its content was stored and is collected; no version was made."""
    rig.create()
    rig.part(1, b"one")
    begun = rig.begin_completion(rig.chosen())
    rig.abort()
    with pytest.raises(NotFound):
        rig.commit(begun, b"one whole")
    with pytest.raises(NotFound):
        rig.lookup(PATH)


def test_a_part_sent_while_the_upload_is_completed(rig: Rig) -> None:
    """When the part is first, the completion does not leave it out unsaid: it is to look again."""
    rig.create()
    rig.part(1, b"one")
    begun = rig.begin_completion(rig.chosen())
    rig.part(1, b"one again")
    with pytest.raises(Conflict):
        rig.commit(begun, b"one whole")
    assert rig.uploads_left() == 1
    rig.complete(rig.chosen(), b"one again whole")


def test_a_completion_asked_for_again_gives_its_version(rig: Rig) -> None:
    """By the same commit, by a new beginning, and after the version was replaced; another content is refused."""
    bucket = rig.bucket("plain")
    rig.create(bucket=bucket)
    rig.part(1, b"one", bucket=bucket)
    step = rig.chosen(bucket=bucket)
    begun, other = (rig.begin_completion(step, bucket=bucket) for _ in range(2))
    made = rig.commit(begun, b"one whole").version
    assert rig.commit(begun, b"one whole").version.version == made.version
    with pytest.raises(TicketRefused):
        rig.commit(other, b"something else")
    rig.write(PATH, b"newer", bucket=bucket)
    again = rig.begin_completion(UploadStep("u1"), bucket=bucket).version
    assert again is not None
    assert again.version == made.version
    assert rig.lookup(PATH, bucket=bucket).digest == chunk_digest(b"newer")


def test_locks_and_conditions_are_the_completions_business(rig: Rig) -> None:
    """A lock is in no part's way; a completion without its number is refused, early and at its commit."""
    rig.create()
    lock = rig.lock(PATH, who="bob")
    rig.part(1, b"one")
    with pytest.raises(Locked):
        rig.begin_completion(rig.chosen())
    rig.locks.release("bob", lock.id)
    begun = rig.begin_completion(rig.chosen())
    rig.lock(PATH, who="bob")
    with pytest.raises(Locked):
        rig.commit(begun, b"one whole")
    assert rig.uploads_left() == 1


def test_parts_are_not_collected_and_what_is_left_is(rig: Rig) -> None:
    """A part's copies stay however old they are; after an abort they may go."""
    rig.create()
    digest = rig.part(1, b"one").digest
    rig.time.advance(10 * TICKET_SECONDS)
    [part] = rig.parts(with_holders=True)
    for holder in part.holders:
        rig.server_up(holder.id)
        assert rig.collector.collect(holder.id, [digest]) == []
    rig.abort()
    for holder in part.holders:
        assert rig.collector.collect(holder.id, [digest]) == [digest]
    assert rig.references(digest) is None


def test_a_bucket_takes_its_uploads_along(rig: Rig) -> None:
    """Uploads do not keep a bucket from being deleted; a later bucket of its name has none."""
    bucket = rig.bucket("short")
    rig.create(bucket=bucket)
    digest = rig.part(1, b"one", bucket=bucket).digest
    rig.buckets.delete(PeopleByName().authenticate("ann"), bucket)
    assert rig.references(digest) == 0
    rig.bucket("short")
    with pytest.raises(NotFound):
        rig.parts(bucket=bucket)


def test_old_uploads_are_aborted_where_a_rule_applies(rig: Rig) -> None:
    """Those begun before a time, on paths that the rule names, and no others."""
    rig.create("old-1", "logs/a")
    rig.create("old-2", "kept/a")
    rig.part(1, b"one", "old-1", path="logs/a")
    rig.time.advance(1000)
    rig.create("new-1", "logs/b")
    before = rig.time.wall() - 500
    assert rig.uploads.abort_older_than("files", before, lambda path: path.startswith("logs/")) == 1
    assert rig.references(chunk_digest(b"one")) == 0
    assert rig.uploads_left() == 2


def test_uploads_begin_once_and_belong_to_their_file(rig: Rig) -> None:
    """A repeat gives the same upload; its id is good for no other file and for nobody who may not use the bucket."""
    first = rig.create()
    assert rig.create() == first
    with pytest.raises(BadRequest):
        rig.create(path="another")
    with pytest.raises(NotFound):
        rig.parts(path="another")
    bucket = rig.bucket("private")
    rig.create("u2", bucket=bucket)
    for attempt in (
        lambda: rig.create("u3", bucket=bucket, who="eve"),
        lambda: rig.parts("u2", bucket=bucket, who="eve"),
        lambda: rig.begin_part(1, "u2", bucket=bucket, who="eve"),
    ):
        with pytest.raises(Forbidden):
            attempt()
    with pytest.raises(TooLarge):
        rig.create("u4", metadata={"x": "y" * 8000})


def test_numbers_survive_their_short_form() -> None:
    """Any choice of part numbers comes back as it was, and ten thousand fit into a ticket."""
    for numbers in ([1], [10_000], [1, 3, 8, 9_999], list(range(1, 10_001)), list(range(1, 10_001, 2))):
        text = encode_numbers(numbers)
        assert decode_numbers(text) == numbers
        assert len(text) <= 2600


def test_a_composition_sends_the_bytes_that_are_lacking_and_no_others() -> None:
    """Each once, fetched from where they are, a bounded number of bytes at a time."""
    chunks = [bytes([n]) * (1000 + n) for n in range(40)]
    named = [(chunk_digest(data), len(data)) for data in chunks]
    content = dict(zip((digest for digest, _ in named), chunks, strict=True))
    pieces = [
        Piece(Manifest(named[:25]), Source("a", [])),
        Piece(Manifest([]), Source("empty", [])),
        Piece(Manifest(named[20:]), Source("b", [])),
    ]
    asked: list[tuple[str, list[Digest]]] = []

    def fetch(source: Source, wanted: Any) -> dict[Digest, bytes]:
        wanted_entries: list[Wanted] = list(wanted)
        asked.append((source.name, [digest for digest, _ in wanted_entries]))
        return {digest: content[digest] for digest, _ in wanted_entries}

    composition = Composition(pieces, fetch)
    lacking = {named[n][0] for n in (3, 4, 22, 39)}
    stream = b"".join(composition.stream(lambda digests: lacking & set(digests)))
    position = 0

    def read(count: int) -> bytes:
        nonlocal position
        position += count
        return stream[position - count : position]

    reader = StreamReader(read)
    frames = list(reader)
    assert reader.manifest == composition.manifest == Manifest(named[:25] + named[20:])
    assert {frame.digest for frame in frames if frame.data is not None} == lacking
    assert sum(frame.data is not None for frame in frames) == len(lacking)
    assert asked == [("a", [named[n][0] for n in (3, 4, 22)]), ("b", [named[39][0]])]
