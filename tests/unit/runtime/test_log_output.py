"""Log files of bounded size, lines of JSON, and what a program says last."""

from __future__ import annotations

import contextlib
import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep_store.runtime.log_output import LogSettings, hide_digests, say_last, setup_logging
from lockstep_store.runtime.tracing import log, start_request
from lockstep_store.wire.digest import chunk_digest

DIGEST = str(chunk_digest(b"content"))


@pytest.fixture(autouse=True)
def program_log() -> Iterator[None]:
    """Restores the log after a test that sets it up as a program does."""
    before = log.handlers[:], log.level, log.propagate
    log.handlers.clear()
    yield
    for handler in log.handlers:
        handler.close()
    log.handlers[:], log.level, log.propagate = before


def test_a_log_file_begins_anew_at_its_size_and_keeps_some(tmp_path: Path) -> None:
    """No message is lost at the change, the oldest files go, and only the owner may read any."""
    file = tmp_path / "logs" / "program.log"
    setup_logging("file_server", "1", LogSettings(file=file, bytes=4096, kept=2))
    for number in range(200):
        log.info("message %04d %s", number, "x" * 60)
    files = [file, file.with_name("program.log.1"), file.with_name("program.log.2")]
    assert sorted(file.parent.iterdir()) == sorted(files)
    assert all(one.stat().st_size <= 4096 for one in files)
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    lines = [line for one in reversed(files) for line in one.read_text().splitlines()]
    numbers = [int(line.split(" message ")[1].split()[0]) for line in lines]
    assert numbers == list(range(200 - len(numbers), 200))


def test_output_that_is_captured_in_the_log_file_moves_along(tmp_path: Path) -> None:
    """A supervisor appends the program's output to the file: what it prints after the change is in the new file."""
    file = tmp_path / "program.log"
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from lockstep_store.runtime.log_output import LogSettings, setup_logging\n"
        "from lockstep_store.runtime.tracing import log\n"
        f"setup_logging('client_proxy', '1', LogSettings(file=Path({str(file)!r}), bytes=4096, kept=1))\n"
        "for number in range(100): log.info('message %d %s', number, 'x' * 60)\n"
        "os.write(1, b'printed\\n'); os.write(2, b'an error\\n')\n"
    )
    with file.open("ab") as captured:
        subprocess.run([sys.executable, "-c", program], stdout=captured, stderr=captured, check=True, timeout=240)
    assert file.read_text().splitlines()[-2:] == ["printed", "an error"]
    assert "message 99 " in file.read_text()
    assert file.with_name("program.log.1").stat().st_size <= 4096


def test_a_line_of_json_has_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, also with a traceback; digests are hidden in it as in text."""
    setup_logging("file_server", "7", LogSettings(format="json"))
    hide_digests(lambda digest: "~hidden")
    given = start_request("request-1")
    log.warning('chunk %s of "é"', DIGEST)
    try:
        raise ValueError("no\nmore")
    except ValueError:
        log.exception("failed")
    start_request()
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "warning",
        "program": "file_server",
        "id": "7",
        "request_id": given,
        "message": 'chunk ~hidden of "é"',
    }
    assert "ValueError: no\nmore" in second["traceback"]


def test_a_full_disk_loses_messages_but_prints_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """A traceback for each message would only hide what the program reports elsewhere."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    setup_logging("file_server", "1", LogSettings(file=Path("/dev/full")))
    log.error("lost")
    with contextlib.suppress(OSError):  # what is still buffered cannot be written either
        log.handlers.pop().close()
    assert capfd.readouterr().err == ""


def test_the_last_sentence_is_where_people_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error as it is; in a log file, too; in JSON as one of its lines."""
    say_last("program: no log yet")
    setup_logging("file_server", "1")
    say_last("program: as text")
    setup_logging("file_server", "1", LogSettings(file=tmp_path / "log"))
    say_last("program: in a file")
    assert capsys.readouterr().err == "program: no log yet\nprogram: as text\nprogram: in a file\n"
    logged = (tmp_path / "log").read_text()
    assert " CRITICAL file_server-1 [" in logged
    assert logged.endswith("] program: in a file\n")
    setup_logging("file_server", "1", LogSettings(format="json"))
    say_last("program: in JSON")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "program: in JSON"
