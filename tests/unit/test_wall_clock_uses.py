"""Every place where a program looks at the wall clock is known, and decides nothing about locks, leases or order."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("wire", "directory_server", "file_server", "client_proxy", "local_cluster")

SHOWN = "a time that people are shown"
CONDITIONS = "bucket policies may have conditions on the date, as S3's have"
USES = {
    "client_proxy/cli/locking.py": SHOWN,
    "client_proxy/menu/state_requests.py": SHOWN,
    "client_proxy/s3/access_log.py": SHOWN,
    "client_proxy/s3/gate.py": "S3 signatures carry wall time by their protocol",
    "client_proxy/s3/post_form.py": "a form's policy says itself until which date it is good",
    "directory_server/accounts.py": SHOWN,
    "directory_server/backup.py": SHOWN,
    "directory_server/bootstrap.py": SHOWN,
    "directory_server/buckets.py": SHOWN,
    "directory_server/changes.py": CONDITIONS,
    "directory_server/cluster_api.py": SHOWN,
    "directory_server/commits.py": SHOWN,
    "directory_server/directory_clock.py": "hands it on; held to the time that passed for retentions, which are dates",
    "directory_server/enrolment.py": SHOWN,
    "directory_server/fsck.py": SHOWN,
    "directory_server/lock_rules.py": SHOWN,
    "directory_server/membership.py": SHOWN,
    "directory_server/lifecycle.py": SHOWN,
    "directory_server/namespace.py": SHOWN,
    "directory_server/notifications/outbox.py": "shown in test messages; and conditions of policies",
    "directory_server/notifications/targets.py": SHOWN,
    "directory_server/notifications/webhook.py": "receivers refuse old signatures by their own wall clock",
    "directory_server/recovery.py": SHOWN,
    "directory_server/restore.py": "shown; and numbers jump further, the older the backup is",
    "directory_server/kms.py": SHOWN,
    "directory_server/s3_keys.py": SHOWN,
    "directory_server/s3_settings.py": CONDITIONS,
    "directory_server/uploads.py": SHOWN,
    "directory_server/writes.py": SHOWN,
    "file_server/quarantine.py": "how long damaged bytes, which nobody reads, are kept for a look",
    "wire/certificate_authority.py": "certificates are judged by wall time everywhere; they tolerate a day",
    "wire/clock.py": "is the wall clock",
}
"""File: what for. Leases, tickets, log-ins, places in line and grace periods are judged by directory time, or by the
monotonic clock of one program."""


def _looks_at_the_wall_clock(file: Path) -> bool:
    text = file.read_text("utf-8")
    if not any(word in text for word in ("wall(", "time.time", "now(")):
        return False
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in ("time.time", "time.time_ns") or called.split(".")[-1] in ("wall", "_wall", "now", "utcnow"):
            # `now()` of a clock is directory time; of a datetime, wall time.
            if called.endswith("now") and "datetime" not in called:
                continue
            return True
    return False


def test_every_use_of_the_wall_clock_is_known() -> None:
    """A new one is first judged: is the time shown, or does it decide something that a clock step would break?"""
    files = [file for program in PROGRAMS for file in (ROOT / program).rglob("*.py")]
    found = {str(file.relative_to(ROOT)) for file in files if _looks_at_the_wall_clock(file)}
    assert found - set(USES) == set(), "judge these and add them with the reason, or use directory time"
    assert set(USES) - found == set(), "these do not look at the wall clock any more"
