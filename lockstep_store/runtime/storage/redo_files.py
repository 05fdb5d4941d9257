"""Files of redo records: a head with the place that they follow, then one frame for each batch, only ever appended.

    "lockstep redo records 1\\n"
    the head, as a line of JSON
    frames: magic (4 bytes), length of the batch (4), BLAKE3 of magic, length and batch (32), the batch as JSON

Whoever appends flushes before counting on it. So after a crash a file may end in the middle of a frame, and what is
behind its last whole frame was never promised. A bad frame with a whole one behind it is damage.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
from blake3 import blake3

from lockstep_store.runtime.storage.durable_files import write_durably
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.errors import Damaged, LockstepError, StorageFormatError
from lockstep_store.wire.messages.base import Message
from lockstep_store.wire.messages.redo import RedoBatch, RedoPlace

FORMAT = b"lockstep redo records 1\n"
NAMES = "redo-*.log"
_MAGIC = b"LSR1"
_FRAME = struct.Struct(">4sI")
_HEAD_BYTES = _FRAME.size + 32
MAX_HEAD_LINE_BYTES = 1024


class RedoHead(Message):
    """What stands before the first frame."""

    before: RedoPlace
    fresh: bool = False
    """Nothing leads from the file before to this one: records were lost between them."""


_heads = decoder(RedoHead)
_batches = decoder(RedoBatch)


class RedoFile:
    """One file as it is on the disk. `place` is where its last whole frame leads, `end` where that frame ends."""

    def __init__(self, path: Path) -> None:
        """Read the head. Raises OSError, StorageFormatError, and Damaged for a head that cannot be read."""
        self.path = path
        with path.open("rb") as file:
            if file.readline(len(FORMAT) + 1) != FORMAT:
                raise StorageFormatError(f"{path} is not a file of redo records that this program can read")
            line = file.readline(MAX_HEAD_LINE_BYTES)
            self._begin = file.tell()
        try:
            self.head = _heads.decode(line)
        except (msgspec.DecodeError, LockstepError) as error:
            raise Damaged(f"{path} is damaged: its second line cannot be read ({error})") from error
        self.place, self.end = self.head.before, self._begin

    def batches(self) -> Iterator[RedoBatch]:
        """Every whole batch, in order. Damaged when a bad one is not the torn end of the file."""
        self.place, self.end = self.head.before, self._begin
        with self.path.open("rb") as file:
            file.seek(self._begin)
            while (batch := _read_frame(file)) is not None:
                if batch.before != self.place:
                    raise Damaged(f"{self.path} is damaged at byte {self.end}: records are missing there")
                self.place, self.end = batch.through, file.tell()
                yield batch
            self._check_end(file)

    def _check_end(self, file: BinaryIO) -> None:
        at = self.end + 1
        while True:
            file.seek(at)
            block = file.read(1 << 20)
            found = block.find(_MAGIC)
            if found < 0:
                if len(block) < 1 << 20:
                    return
                at += len(block) - len(_MAGIC)
                continue
            file.seek(at + found)
            if _read_frame(file) is not None:
                raise Damaged(
                    f"{self.path} is damaged at byte {self.end}, and whole records follow. To restore only what is "
                    f"before them, cut the file off (truncate -s {self.end}) and move files of later records away"
                )
            at += found + 1


def files_in(folder: Path) -> list[Path]:
    """The folder's files of records, oldest first."""
    return sorted(folder.glob(NAMES))


def batches_in(files: Sequence[Path], after: int) -> Iterator[RedoBatch]:
    """Every batch that reaches beyond the record `after`, through all files in order.

    Ends where records were lost for good. Damaged when a file is missing or damaged in its middle.
    """
    place: RedoPlace | None = None
    for number, path in enumerate(files):
        file = RedoFile(path)
        if number + 1 < len(files) and RedoFile(files[number + 1]).head.before.sequence <= after:
            continue
        if file.head.fresh and file.head.before.sequence > after and place is not None:
            return
        if (place is None and file.head.before.sequence > after) or place not in (None, file.head.before):
            beginning = after if place is None else place.sequence
            raise Damaged(
                f"the records from {beginning + 1} to {file.head.before.sequence} are missing before {path}: put the "
                "missing file back, or move this one and later ones away to do without them"
            )
        for batch in file.batches():
            if batch.through.sequence > after:
                yield batch
        place = file.place


class RedoAppender:
    """Appends to one folder's files, for one thread. `place` is how far they are durable; None before the first."""

    def __init__(self, folder: Path) -> None:
        """Find out how far an earlier process got, and cut off what it did not finish.

        Raises OSError, and Damaged or StorageFormatError for a newest file that cannot be appended to.
        """
        self.folder = folder
        self.place: RedoPlace | None = None
        self._file = -1
        self._end = 0
        for left_over in folder.glob(".redo-*"):
            left_over.unlink()
        files = files_in(folder)
        if files:
            self._reopen(files[-1])

    def _reopen(self, path: Path) -> None:
        last = RedoFile(path)
        for _ in last.batches():
            pass
        self._file = os.open(last.path, os.O_RDWR | os.O_CLOEXEC)
        os.ftruncate(self._file, last.end)
        os.fsync(self._file)
        self._end, self.place = last.end, last.place

    def begin(self, place: RedoPlace, *, fresh: bool) -> None:
        """Append to a new file from here on, whose first record follows `place`. After an OSError there is none."""
        self.close()
        path = self.folder / f"redo-{place.sequence:016}.log"
        part = self.folder / f".{path.name}.part"
        head = _beginning(RedoHead(place, fresh))
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, head, 0)
            os.fsync(descriptor)
            part.rename(path)  # over a file without records, when one of this place exists
            flush_folder(self.folder)
        except OSError:
            os.close(descriptor)
            part.unlink(missing_ok=True)
            raise
        self._file, self._end, self.place = descriptor, len(head), place

    def append(self, batch: RedoBatch) -> None:
        """Durable on return. After an OSError nothing was appended, and the next batch goes to a new file: what a
        failed flush left in this one may be lost later."""
        assert self.place == batch.before
        frame = _frame(batch)
        try:
            if self._file < 0:
                self.begin(batch.before, fresh=False)
            _write_all(self._file, frame, self._end)
            os.fsync(self._file)
        except OSError:
            self._give_up_file()
            raise
        self._end += len(frame)
        self.place = batch.through

    @property
    def file_bytes(self) -> int:
        """The length of the file that is appended to."""
        return self._end if self._file >= 0 else 0

    def _give_up_file(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                os.ftruncate(self._file, self._end)
        self.close()

    def close(self) -> None:
        """Let go of the file; `append` opens another."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def replace_batches(file: RedoFile, batches: Iterable[RedoBatch]) -> None:
    """Replace all batches of a file that nobody appends to; after a crash it has the old ones or the new ones."""
    write_durably(file.path, b"".join([_beginning(file.head), *map(_frame, batches)]))


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beginning(head: RedoHead) -> bytes:
    return FORMAT + encode(head) + b"\n"


def _frame(batch: RedoBatch) -> bytes:
    body = encode(batch)
    head = _FRAME.pack(_MAGIC, len(body))
    return head + blake3(head + body).digest() + body


def _read_frame(file: BinaryIO) -> RedoBatch | None:
    """None for what is not a whole frame."""
    head = file.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES:
        return None
    magic, length = _FRAME.unpack_from(head)
    if magic != _MAGIC or length > os.fstat(file.fileno()).st_size:
        return None
    body = file.read(length)
    if len(body) != length or blake3(head[: _FRAME.size] + body).digest() != head[_FRAME.size :]:
        return None
    try:
        return _batches.decode(body)
    except (msgspec.DecodeError, LockstepError):
        return None


def _write_all(descriptor: int, content: bytes, at: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
