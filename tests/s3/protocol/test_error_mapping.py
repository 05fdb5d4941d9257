"""The table that maps Lockstep's errors to S3's."""

from __future__ import annotations

import pytest

from client_proxy.doors.s3.protocol.error_mapping import _TABLE, _Row, as_s3_error
from lockstep_store.wire import errors as e


@pytest.mark.parametrize("row", _TABLE, ids=lambda row: f"{row.kind.__name__} {' '.join(row.facts)}".strip())
def test_every_row_is_reached(row: _Row) -> None:
    """No row is hidden by one above it."""
    facts = dict.fromkeys(row.facts, "InvalidTag")
    error = row.kind("why", **{name: value for name, value in facts.items() if name != "version_asked"})
    asked = "version_asked" in facts
    first = next(other for other in _TABLE if other.fits(error, {**facts, "version_asked": asked}))
    assert first is row
    mapped = as_s3_error(error, version_asked=asked)
    assert mapped.code == (row.code or "InvalidTag")


def test_a_retry_is_suggested_where_it_can_help() -> None:
    """An overloaded cluster says when to retry; an unknown outcome must be looked at first."""
    assert dict(as_s3_error(e.Overloaded("busy")).headers) == {"Retry-After": "1"}
    assert dict(as_s3_error(e.Undecided("unknown")).headers) == {}
    assert as_s3_error(e.StorageFormatError("?")).code == "InternalError"
