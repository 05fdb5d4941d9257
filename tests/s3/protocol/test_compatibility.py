"""The table of operations in the documents says what the program does."""

from __future__ import annotations

import re

from client_proxy.doors.s3.protocol.operations import operations
from tests import ROOT
from tests.s3.rig import S3Rig

TABLE = ROOT / "docs" / "s3-compatibility.md"
ROW = re.compile(r"^\| (\w+) \| (yes|no|partly: [^|]+) \|$", re.MULTILINE)


def test_the_table_names_every_operation_and_tells_the_truth(rig: S3Rig) -> None:
    """Each operation of the service description has its row; `no` stands exactly where there is no handler."""
    rows = dict(ROW.findall(TABLE.read_text("utf-8")))
    assert set(rows) == set(operations())
    told = {name for name, word in rows.items() if word != "no"}
    assert told == set(rig.s3.handlers)
