"""Log lines: what a program that hides digests writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lockstep_store.runtime.log_output import hide_digests, setup_logging
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.digest import chunk_digest

DIGEST = str(chunk_digest(b"content"))


@pytest.fixture
def program_log() -> Iterator[None]:
    """Restores the log after a test that sets it up as a program does."""
    before = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = before


@pytest.mark.usefixtures("program_log")
def test_digests_are_replaced_in_lines_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever a digest comes from: an argument, an error's text, a traceback. Other words stay."""
    setup_logging("file_server", "1")
    hide_digests(lambda digest: f"~{digest[::-1][:8]}")
    log.warning("chunk %s is damaged", DIGEST)
    try:
        raise ValueError(f"blob {DIGEST}")
    except ValueError as error:
        log.exception("cannot copy: %s", error)
    written = capsys.readouterr().err
    assert DIGEST not in written
    assert written.count(f"~{DIGEST[::-1][:8]}") == 3
    assert "file_server-1" in written


@pytest.mark.usefixtures("program_log")
def test_other_programs_log_digests(capsys: pytest.CaptureFixture[str]) -> None:
    """People look for them there."""
    setup_logging("directory_server", "1")
    log.warning("blob %s", DIGEST)
    assert DIGEST in capsys.readouterr().err
