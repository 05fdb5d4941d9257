"""fsck, backup, restore and recover at the doors: the routes, the client, and what the commands print and end with."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from lockstep_store.client.api.maintenance import MaintenanceCalls
from lockstep_store.client.local_storage import LocalFileError
from lockstep_store.client.text import maintenance
from lockstep_store.wire.backup_file import check, header_of
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import Damaged, Forbidden, PeerUnreachable
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.recovery import (
    BACKUP_PATH,
    FSCK,
    FSCK_REPORT,
    RECOVER,
    RECOVERY,
    BackupInfo,
    FsckProblem,
    FsckReport,
    FsckServer,
    RecoveryInfo,
    RecoveryReply,
)
from tests.fakes.wsgi import ask
from tests.unit.rest_door import clean_door

METADATA = b"metadata" * 1000
INFO = BackupInfo(1.0, "0.1.0", "sqlite", 40, 3, 4, 2, {"version": 4}, len(METADATA), Digest(blake3(METADATA).digest()))
BACKUP = header_of(INFO) + METADATA
RECOVERING = RecoveryInfo(2.0, 1.0, 40, ["2"], False, 12, 1, 500)


# ---------------------------------------------------------------- routes


def test_a_check_is_started_and_its_report_read() -> None:
    """POST starts it as deep as asked and answers the report; GET reads it again."""
    door = clean_door()
    report = FsckReport("running", True)
    door.directory.answers |= {FSCK.path: Nothing(), FSCK_REPORT.path: report}
    answer = door.post("/api/v1/cluster/fsck", {"deep": True})
    assert (answer.status, answer.json["state"]) == (202, "running")
    assert door.directory.calls[0][1].deep is True
    assert door.ask("GET", "/api/v1/cluster/fsck").json["state"] == "running"


def test_a_backup_is_streamed_with_its_length_and_for_administrators() -> None:
    """The bytes come through unchanged; a refusal of the directory is the answer's status."""
    door = clean_door()
    door.directory.answers[BACKUP_PATH] = BACKUP
    answer = door.ask("GET", "/api/v1/cluster/backup")
    assert (answer.status, answer.body) == (200, BACKUP)
    assert answer.headers["Content-Length"] == str(len(BACKUP))
    assert answer.headers["Cache-Control"] == "no-store"
    door.directory.answers[BACKUP_PATH] = Forbidden("for administrators")
    assert door.ask("GET", "/api/v1/cluster/backup").status == 403
    assert ask(door.app, "GET", "/api/v1/cluster/backup").status == 401


def test_recovery_is_shown_and_decided() -> None:
    """GET shows it; POST carries the decision, and an unknown one is refused before it is asked."""
    door = clean_door()
    door.directory.answers |= {RECOVERY.path: RecoveryReply(RECOVERING), RECOVER.path: RecoveryReply(RECOVERING)}
    assert door.ask("GET", "/api/v1/cluster/recovery").json["recovery"]["waiting_for"] == ["2"]
    assert door.post("/api/v1/cluster/recovery", {"finish": True, "unnamed": "name"}).status == 200
    decided = door.directory.calls[-1][1]
    assert (decided.finish, decided.unnamed) == (True, "name")
    assert door.post("/api/v1/cluster/recovery", {"unnamed": "burn"}).status == 400


# ---------------------------------------------------------------- the client


class Transport:
    """Answers a backup in blocks, ended early when `cut`."""

    url = "https://proxy"

    def __init__(self, content: bytes, cut: bool = False) -> None:
        self.content, self.cut = content, cut

    def request(self, *_: Any, **__: Any) -> Any:
        raw = io.BytesIO(self.content)
        cut = self.cut

        class Raw:
            def stream(self, count: int, decode_content: bool) -> Any:
                while block := raw.read(1000):
                    yield block
                if cut:
                    raise OSError("cut")

        class Response:
            def __init__(self) -> None:
                self.raw = Raw()

            def __enter__(self) -> Response:
                return self

            def __exit__(self, *_: object) -> None:
                return

        return Response()


def calls(content: bytes, cut: bool = False) -> MaintenanceCalls:
    return MaintenanceCalls(Transport(content, cut))  # type: ignore[arg-type]


def test_a_backup_arrives_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    """The file is what was sent, mode 0600, and can be checked again at any time."""
    target = tmp_path / "it.backup"
    assert calls(BACKUP).backup(target) == INFO
    assert target.read_bytes() == BACKUP
    assert target.stat().st_mode & 0o777 == 0o600
    with target.open("rb") as file:
        assert check(file, "it").cursor == 40
    assert [path.name for path in tmp_path.iterdir()] == ["it.backup"]


@pytest.mark.parametrize("harm", ["flipped", "cut", "aborted"])
def test_a_backup_that_did_not_arrive_whole_is_not_there(tmp_path: Path, harm: str) -> None:
    """A flipped byte, a missing end or an aborted connection: an error, and no file."""
    content = BACKUP[:-1] + b"x" if harm == "flipped" else BACKUP[:-1] if harm == "cut" else BACKUP
    with pytest.raises((Damaged, PeerUnreachable)):
        calls(content, cut=harm == "aborted").backup(tmp_path / "it.backup")
    assert list(tmp_path.iterdir()) == []


def test_a_backup_is_never_written_over(tmp_path: Path) -> None:
    """An older backup of that name stays as it is."""
    target = tmp_path / "it.backup"
    target.write_bytes(b"older")
    with pytest.raises(LocalFileError, match="exists"):
        calls(BACKUP).backup(target)
    assert target.read_bytes() == b"older"


# ---------------------------------------------------------------- words


def test_reports_say_what_disagrees_and_what_was_not_looked_at() -> None:
    """Problems have kind, place and name; servers that were away are named, and agreement is said of the rest only."""
    servers = [FsckServer("1", "done", 10), FsckServer("2", "away")]
    clean = maintenance.fsck_text(FsckReport("done", checks={"version": 3}, file_servers=servers))
    assert "NOT checked, because they were down: 2" in clean
    assert "what was checked agrees" in clean
    assert "metadata and disks agree" not in clean
    problem = FsckProblem("missing copy", "files/a.txt", "abcd", "1")
    broken = maintenance.fsck_text(FsckReport("done", problems=[problem], more_problems=4, file_servers=servers))
    assert "missing copy on file server 1: files/a.txt: abcd" in broken
    assert "and 4 more" in broken
    assert "agree" not in broken


def test_recovery_says_who_is_waited_for_and_what_to_decide() -> None:
    """Waiting servers and blobs without a name are told, with the commands that decide."""
    text = maintenance.recovery_text(RECOVERING)
    assert "waiting for file servers: 2" in text
    assert "lockstep recover --unnamed" in text
    assert "not restored" in maintenance.recovery_text(None)


def test_restore_with_data_is_the_directorys_own_command(tmp_path: Path) -> None:
    """`lockstep restore FILE --data FOLDER` refuses what is no backup, in one sentence, and makes nothing."""
    letter = tmp_path / "letter.txt"
    letter.write_text("dear all")
    ended = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "lockstep_store.client.cli",
            "restore",
            str(letter),
            "--data",
            str(tmp_path / "data"),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "is not a backup of a Lockstep directory" in ended.stderr
    assert not (tmp_path / "data" / "metadata.db").exists()
