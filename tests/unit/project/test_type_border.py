"""The type check sees the border between the proxy's doors and its file store."""

from __future__ import annotations

from pathlib import Path

from mypy import api

from tests import ROOT

PLANTED = """
from client_proxy.file_store import FileStore
from client_proxy.core.requests import Compose, Copy, Delete, Read, Stat, Write
from client_proxy.doors.rest.files import Files
from client_proxy.doors.s3.app import S3Files
from lockstep_store.wire.messages.files import ListRequest, VersionsRequest
from lockstep_store.wire.messages.writes import UploadStep


def rest(files: Files) -> None:
    files.write(Write("key", "files", "a", size=1, content_type="text/plain"), [b"a"])
    files.write(Write("key", "files", "a", size=1, content_tpye="text/plain"), [b"a"])  # wrong
    files.write(Write("key", "files", "a", size="1"), [b"a"])  # wrong
    files.write(Write("key", "files", "a", size=1), ["a"])  # wrong
    files.write(Write("key", "files", "a", size=1), [b"a"], content_type="text/plain")  # wrong
    files.open(Read("key", "files", "a", version="v1")).close()
    files.open(Read("key", "files", "a", verison="v1")).close()  # wrong
    files.open(Read("key", "files", "a")).shut()  # wrong
    files.delete(Delete("key", "files", "a", lock_number=3))
    files.delete(Delete("key", "files", "a", lock_nubmer=3))  # wrong
    files.copy(Copy("key", "files", "b", source_bucket="files", source_path="a"))
    files.copy(Copy("key", "files", "b", source_bucket="files", source_paht="a"))  # wrong
    files.list_encoded(ListRequest("key", "files", prefix="a"))
    files.list_encoded(ListRequest("key", "files", perfix="a"))  # wrong
    files.versions(VersionsRequest("key", "files", "a", limit=1))
    files.versions(VersionsRequest("key", "files", "a", limti=1))  # wrong
    files.write(Write("key", "files", "a", size=1), [b"a"]).verison  # wrong


def s3(files: S3Files) -> None:
    files.stat(Stat("key", "files", "a", with_settings=True))
    files.stat(Stat("key", "files", "a", with_setings=True))  # wrong
    files.stat(Read("key", "files", "a"))  # wrong
    files.compose(Compose("key", "files", "a", upload=UploadStep("1" * 32)), [])
    files.compose(Compose("key", "files", "a", uplaod=UploadStep("1" * 32)), [])  # wrong
    files.write(Write("key", "files", "a", size=1), [b"a"], lambda: {"etag": "1"})
    files.write(Write("key", "files", "a", size=1), [b"a"], lambda: {"etag": 1})  # wrong


def build(files: FileStore) -> None:
    rest(files)
    s3(files)


def change(request: Write) -> None:
    request.size = 2  # wrong
"""


def test_a_misspelt_field_on_the_way_to_the_file_store_fails_the_type_check(tmp_path: Path) -> None:
    """mypy rejects exactly the planted lines that are wrong, and takes the file store for what both doors need."""
    planted = tmp_path / "planted.py"
    planted.write_text(PLANTED)
    report, trouble, _ = api.run(
        [
            *("--config-file", str(ROOT / "setup.cfg"), "--cache-dir", str(ROOT / ".mypy_cache")),
            *("--follow-imports", "silent", "--no-error-summary", "--hide-error-context", str(planted)),
        ]
    )
    assert not trouble, trouble
    rejected = {int(line.split(":")[1]) for line in report.splitlines() if ": error: " in line}
    wrong = {number for number, line in enumerate(PLANTED.splitlines(), 1) if line.endswith("# wrong")}
    assert rejected == wrong, report
