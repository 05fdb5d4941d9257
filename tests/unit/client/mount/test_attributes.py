"""A file's time and mode in its metadata."""

from __future__ import annotations

import pytest

from lockstep_store.client.mount.attributes import mode_of, modified_ns, with_attributes
from tests.unit.client.mount.mount_rig import MountRig


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("1700000000.25", 1_700_000_000_250_000_000),
        ("1700000000", 1_700_000_000_000_000_000),
        *[(nonsense, None) for nonsense in ("soon", "NaN", "-Infinity", "-1", "1e400", "1e999980", "1e999999999999")],
    ],
)
def test_the_time_that_a_writer_stated_is_shown(rig: MountRig, said: str, expected: int | None) -> None:
    """rclone and s3fs store the file's own time; otherwise it is the time of the save."""
    saved = rig.api.put("a", b"", metadata={"mtime": said}).version
    assert modified_ns(saved) == (expected if expected is not None else int(saved.created_at * 1e9))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        *[(octal, 0o755) for octal in ("100755", "0100755", "0755", "755", "700")],
        *[(octal, 0o644) for octal in ("100644", "0600", "40755", "soon", "-1", "99999999999999999999", "")],
        ("33261", 0o755),
        ("33188", 0o644),
    ],
)
def test_a_mode_is_read_as_rclone_and_s3fs_write_it(rig: MountRig, said: str, expected: int) -> None:
    """Octal, with or without the type; or decimal. Only whether the file is executable counts."""
    assert mode_of(rig.api.put("a", b"", metadata={"mode": said}).version) == expected


def test_attributes_survive_a_round_trip(rig: MountRig) -> None:
    """Other metadata of the writer stays; what a door added does not come back."""
    stored = with_attributes({"colour": "blue", "s3:found-type": "text/plain", "mode": "100755"}, 1_234_567_890, 0o644)
    assert stored == {"colour": "blue", "mtime": "1.234567890"}
    executable = rig.api.put("a", b"", metadata=with_attributes(stored, 5_000_000_001, 0o755)).version
    assert (modified_ns(executable), mode_of(executable)) == (5_000_000_001, 0o755)
