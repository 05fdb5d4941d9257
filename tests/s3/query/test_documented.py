"""The table of STS's and IAM's operations in the documents says what the program does."""

from __future__ import annotations

import re

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.s3.app import query_handlers
from client_proxy.doors.s3.query.services import service
from tests import ROOT
from tests.s3.rig import S3Rig

TABLE = ROOT / "docs" / "s3-compatibility.md"
ROW = re.compile(r"^\| `(sts|iam)` \| ([^|]+) \|", re.MULTILINE)


def test_the_table_names_every_handler(rig: S3Rig) -> None:
    """Each has a description, and a row has no operation without a handler."""
    directory: Directory = rig.directory
    handled = set(query_handlers(directory))
    told = {(name, one.strip()) for name, row in ROW.findall(TABLE.read_text("utf-8")) for one in row.split(",")}
    assert told == handled
    assert all(operation in service(name).operations for name, operation in handled)
