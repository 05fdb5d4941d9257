"""Contents as the bodies of answers: whole or streamed, never shorter than declared without an error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from lockstep_store.runtime.http.content import (
    PIECE_BYTES,
    WHOLE_ANSWER_BYTES,
    ContentMetrics,
    StreamedContent,
    content_body,
)
from lockstep_store.wire.errors import InternalError, Unavailable

LARGE = WHOLE_ANSWER_BYTES + 10
BLOCK = 1024 * 1024


class Memory:
    """A content in memory; reading fails after `good` blocks when that is given."""

    def __init__(self, data: bytes, good: int | None = None) -> None:
        self.data, self.good = data, good
        self.closed = 0

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        for number, at in enumerate(range(start, len(self.data) if stop is None else stop, BLOCK)):
            if number == self.good:
                raise Unavailable("every holder failed")
            if block := self.data[at : at + BLOCK if stop is None else min(at + BLOCK, stop)]:
                yield block

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def metrics() -> ContentMetrics:
    registry = CollectorRegistry()
    return ContentMetrics(*(Counter(name, name, registry=registry) for name in ("aborted", "abandoned")))


def counted(metrics: ContentMetrics) -> tuple[float, float]:
    aborted, abandoned = (counter._value.get() for counter in metrics)
    return aborted, abandoned


def test_a_small_content_is_read_before_the_answer_begins(metrics: ContentMetrics) -> None:
    """The answer has the range in one piece, and closing is left to the caller."""
    content = Memory(bytes(range(200)))
    assert content_body(content, 10, 20, metrics, whole=True) == [bytes(range(10, 20))]
    assert (content.closed, counted(metrics)) == (0, (0, 0))


def test_a_small_content_with_other_bytes_than_declared_is_an_error(metrics: ContentMetrics) -> None:
    """Nothing is sent of a content that is shorter than its version says."""
    with pytest.raises(InternalError, match="has 3 bytes instead of 9"):
        content_body(Memory(b"abc"), 0, 9, metrics, whole=True)


def test_a_large_content_is_streamed_in_small_pieces(metrics: ContentMetrics) -> None:
    """The pieces add up to the range, and the stream closes the content."""
    content = Memory(bytes(LARGE - 1) + b"x")
    body = content_body(content, 1, LARGE, metrics, whole=False)
    assert isinstance(body, StreamedContent)
    pieces = list(body)
    body.close()
    assert b"".join(pieces) == content.data[1:]
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert (content.closed, counted(metrics)) == (1, (0, 0))


def test_a_failure_before_the_first_byte_is_raised_at_once(metrics: ContentMetrics) -> None:
    """The caller can still answer with the error itself."""
    with pytest.raises(Unavailable):
        content_body(Memory(bytes(LARGE), good=0), 0, LARGE, metrics, whole=False)


@pytest.mark.parametrize(
    ("content", "error"), [(Memory(bytes(LARGE), 2), Unavailable), (Memory(bytes(LARGE)[:-10]), InternalError)]
)
def test_a_stream_that_cannot_go_on_raises(metrics: ContentMetrics, content: Memory, error: type[Exception]) -> None:
    """An answer is cut off with an error, and counted as aborted rather than abandoned."""
    body = content_body(content, 0, LARGE, metrics, whole=False)
    with pytest.raises(error):
        list(body)
    assert isinstance(body, StreamedContent)
    body.close()
    assert counted(metrics) == (1, 0)


def test_a_client_that_goes_away_ends_the_reading(metrics: ContentMetrics) -> None:
    """Closing a stream before its end closes the content and counts the client as gone, once."""
    content = Memory(bytes(LARGE))
    body = content_body(content, 0, LARGE, metrics, whole=False)
    assert isinstance(body, StreamedContent)
    next(body)
    body.close()
    body.close()
    assert counted(metrics) == (0, 1)
    assert content.closed
