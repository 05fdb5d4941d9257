"""Writes S3 access logs: a line for every request to a bucket with a log, in files in the target bucket.

Best effort, as in S3: lines wait in memory until a background job writes them. The memory is bounded; lines without
room are dropped and counted, and lines of a killed proxy are lost. In return no request waits for its line: the job
looks up whether a bucket has a log, and drops the lines of those that have none.

A request does not say which life of its bucket it belongs to: the bucket may be deleted, and made again for somebody
else, through another proxy. So the job drops the lines of requests that began before the bucket that it found was made.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple, Protocol

from prometheus_client import Counter

from client_proxy.core.directory_calls import Directory
from client_proxy.core.requests import Write
from client_proxy.doors.s3.events.access_log_line import Visit, line
from lockstep_store.runtime.bounded import ExpiringMap
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import BadRequest, Forbidden, LockstepError, NotFound, PreconditionFailed
from lockstep_store.wire.messages.files import CommittedReply, Preconditions
from lockstep_store.wire.messages.s3 import (
    ACCESS_LOG_PREFIX,
    BUCKET_ACCESS_LOG,
    REGION,
    AccessLogReply,
    AccessLogRequest,
)

KEEP_SECONDS = 3.0
"""How long a bucket counts as having no log: a change made through another proxy is noticed that much later."""
STEP_SECONDS = 1.0
DELIVERY_SECONDS = 60.0
DELIVERY_BYTES = 1024 * 1024
MAX_BUCKET_BYTES = 4 * 1024 * 1024
MAX_BYTES = 32 * 1024 * 1024
MAX_BUCKETS = 1000
STOP_SECONDS = 5.0
DROPPED = Counter(
    "lockstep_client_proxy_access_log_dropped_total",
    "Access log lines lost because there was no room for them or the write was refused",
)
_FINAL = (BadRequest, Forbidden, NotFound)
_NEW = Preconditions(if_none_match=["*"])
_Life = tuple[str, int]
"""A bucket's name, and a number that tells it from earlier buckets of that name, as far as this proxy knows."""


class LogFiles(Protocol):
    """The file store as the access log uses it."""

    def write(self, request: Write, blocks: Iterable[bytes]) -> CommittedReply: ...


@dataclass
class _LogFile:
    """A file being written. It keeps its name, so that a retry after a lost reply does not write a second file."""

    lines: list[str]
    bytes: int
    day: str
    """Of its requests, as 2026-01-31."""
    moment: str
    """Of its delivery, as 2026-01-31-12-00-00."""
    unique: str

    def name(self, bucket: str, where: AccessLogReply) -> str:
        """Return its key: the owner's prefix, the folders that the owner wants, and the name itself."""
        if not where.dates:
            return f"{where.prefix}{self.moment}-{self.unique}"
        moment = f"{self.day}-00-00-00" if where.dates == "EventTime" else self.moment
        date = moment[:10].replace("-", "/")
        return f"{where.prefix}{where.owner}/{REGION}/{bucket}/{date}/{moment}-{self.unique}"


class _Line(NamedTuple):
    began: float
    """When its request came, in monotonic seconds."""
    day: str
    text: str

    @property
    def size(self) -> int:
        return len(self.text) + 1


@dataclass
class _Gathered:
    """The lines that wait for one bucket; `since` is when the first came."""

    lines: list[_Line] = field(default_factory=list)
    bytes: int = 0
    since: float = 0.0
    under_way: _LogFile | None = None
    created_at: float | None = None
    """When the bucket that the job saw was created; None before it looked. A later bucket has another time."""

    @property
    def held(self) -> int:
        return self.bytes + (self.under_way.bytes if self.under_way is not None else 0)


class AccessLog:
    """Gathers lines and writes them. Thread-safe. `wall` is seconds since 1970; `monotonic` measures ages."""

    def __init__(
        self,
        files: LogFiles,
        directory: Directory,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        *,
        max_bucket_bytes: int = MAX_BUCKET_BYTES,
        delivery_seconds: float = DELIVERY_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self._files = files
        self._directory = directory
        self._wall = wall
        self._monotonic = monotonic
        self._max_bucket_bytes = max_bucket_bytes
        self._delivery_seconds = delivery_seconds
        self._keep_seconds = keep_seconds
        self._gathered: dict[_Life, _Gathered] = {}
        self._held = 0
        self._off: ExpiringMap[_Life, bool] = ExpiringMap(MAX_BUCKETS, keep_seconds, monotonic)
        self._guard = threading.Lock()
        self._delivering = threading.Lock()

    # ------------------------------------------------------------ requests

    def wants(self, bucket: str) -> bool:
        """Whether a line for the bucket may be wanted."""
        return not self._off.get(self._life(bucket))

    def forget(self, bucket: str) -> None:
        """Drop what is known of the bucket, because it has changed."""
        self._off.forget(self._life(bucket))

    def follow(self, visit: Visit, body: list[bytes] | Iterator[bytes]) -> list[bytes] | Iterator[bytes]:
        """Return a body that adds the line once it was sent or its client has disconnected."""
        if isinstance(body, list):
            self._note(visit, sum(map(len, body)), visit.turn_around)
            return body
        answered = time.perf_counter()
        return _Followed(body, lambda sent: self._note(visit, sent, visit.turn_around + time.perf_counter() - answered))

    def _note(self, visit: Visit, sent: int, total: float) -> None:
        try:
            came = self._wall() - total
            text = line(visit, came, sent, total)
            self._add(visit.request.bucket, _Line(self._monotonic() - total, _day(came), text))
        except Exception:  # noqa: BLE001 - the reply is being sent, and must not fail for its log line
            DROPPED.inc()
            log.exception("cannot format a line of an access log")

    def _add(self, bucket: str, line: _Line) -> None:
        size = line.size
        life = self._life(bucket)
        with self._guard:
            gathered = self._gathered.get(life)
            if gathered is None:
                if len(self._gathered) >= MAX_BUCKETS:
                    DROPPED.inc()
                    return
                gathered = self._gathered[life] = _Gathered()
            if gathered.held + size > self._max_bucket_bytes or self._held + size > MAX_BYTES:
                DROPPED.inc()
                return
            if not gathered.lines:
                gathered.since = self._monotonic()
            gathered.lines.append(line)
            gathered.bytes += size
            self._held += size

    # ------------------------------------------------------------ delivery

    def step(self) -> float:
        """Write what is due and drop what is not wanted; return the seconds until the next step."""
        self._deliver_all(all=False)
        return STEP_SECONDS

    def flush(self, seconds: float = STOP_SECONDS) -> None:
        """Write all waiting lines, for at most `seconds`."""
        worker = threading.Thread(target=lambda: self._deliver_all(all=True), name="access log, last", daemon=True)
        worker.start()
        worker.join(seconds)

    def _deliver_all(self, *, all: bool) -> None:
        with self._delivering:
            for life, gathered in list(self._gathered.items()):
                if gathered.created_at is None or all or self._is_due(gathered):
                    try:
                        self._look_after(life, gathered, all=all)
                    except LockstepError as error:
                        log.warning("the access log of bucket %s is delayed: %s", life[0], error)

    def _is_due(self, gathered: _Gathered) -> bool:
        if gathered.under_way is not None or gathered.bytes >= min(DELIVERY_BYTES, self._max_bucket_bytes // 2):
            return True
        return self._monotonic() - gathered.since >= self._delivery_seconds

    def _look_after(self, life: _Life, gathered: _Gathered, *, all: bool) -> None:
        bucket = life[0]
        where = self._where(bucket)
        if not where.target:
            self._forget_lines(life, gathered)
            self._off.set(life, True)
            return
        if life != self._life(bucket) or gathered.created_at not in (None, where.created_at):
            self._forget_lines(life, gathered)  # a later bucket's owner must not get these lines
            return
        if gathered.created_at is None:
            self._forget_lines_before(gathered, self._monotonic() - where.age_seconds)
        gathered.created_at = where.created_at
        if not all and not self._is_due(gathered):
            return
        while (file := self._next_file(gathered)) is not None:
            self._write(bucket, where, file)
            with self._guard:
                gathered.under_way = None
                self._held -= file.bytes
        with self._guard:
            if not gathered.held:
                self._gathered.pop(life, None)

    def _life(self, bucket: str) -> _Life:
        return bucket, self._directory.bucket_life(bucket)

    def _where(self, bucket: str) -> AccessLogReply:
        try:
            reply: AccessLogReply = self._directory.call(BUCKET_ACCESS_LOG, AccessLogRequest(bucket))
        except (NotFound, BadRequest):
            return AccessLogReply()
        return reply

    def _forget_lines(self, life: _Life, gathered: _Gathered) -> None:
        with self._guard:
            self._held -= gathered.held
            self._gathered.pop(life, None)

    def _forget_lines_before(self, gathered: _Gathered, made: float) -> None:
        """Drop the lines of requests that may have been to an earlier bucket, because this one was `made` later."""
        with self._guard:
            kept = [line for line in gathered.lines if line.began > made]
            dropped = gathered.bytes - sum(line.size for line in kept)
            gathered.lines = kept
            gathered.bytes -= dropped
            self._held -= dropped

    def _next_file(self, gathered: _Gathered) -> _LogFile | None:
        """Return the next file. It has lines of one day only, because its folder may be that day's."""
        with self._guard:
            if gathered.under_way is None and gathered.lines:
                day = gathered.lines[0].day
                lines = [line.text for line in takewhile(lambda line: line.day == day, gathered.lines)]
                size = sum(len(text) + 1 for text in lines)
                moment = time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime(self._wall()))
                gathered.under_way = _LogFile(lines, size, day, moment, secrets.token_hex(8).upper())
                del gathered.lines[: len(lines)]
                gathered.bytes -= size
            return gathered.under_way

    def _write(self, bucket: str, where: AccessLogReply, file: _LogFile) -> None:
        """Write a file. LockstepError if a retry may help; lines that are refused for good are dropped and counted."""
        content = "".join(f"{where.owner} {text}\n" for text in file.lines).encode()
        try:
            self._files.write(
                Write(
                    ACCESS_LOG_PREFIX + bucket,
                    where.target,
                    file.name(bucket, where),
                    size=len(content),
                    preconditions=_NEW,
                    content_type="text/plain",
                ),
                iter([content]),
            )
        except PreconditionFailed:
            pass  # it was written before, and only the answer was lost
        except _FINAL as error:
            DROPPED.inc(len(file.lines))
            log.warning("%d lines of the access log of bucket %s are lost: %s", len(file.lines), bucket, error)


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


class _Followed:
    """A body that calls `ended` once at its end, with the number of bytes that were sent."""

    def __init__(self, body: Iterable[bytes], ended: Callable[[int], None]) -> None:
        self._body = body
        self._blocks = iter(body)
        self._ended: Callable[[int], None] | None = ended
        self._sent = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            block = next(self._blocks)
        except StopIteration:
            self._end()
            raise
        self._sent += len(block)
        return block

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._end()

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self._sent)
