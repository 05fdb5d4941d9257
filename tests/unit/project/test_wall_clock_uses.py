"""Every place where a program looks at the wall clock is known, and decides nothing about locks, leases or order."""

from __future__ import annotations

import ast
from pathlib import Path

from tests import ROOT

PROGRAMS = ("lockstep_store", "directory_server", "file_server", "client_proxy", "local_cluster")

SHOWN = "a time that people are shown"
CONDITIONS = "bucket policies may have conditions on the date, as S3's have"
USES = {
    "lockstep_store/client/mount/operations.py": "shown: the times of folders are when they were mounted",
    "lockstep_store/client/mount/working_file.py": "shown: when a file was modified",
    "lockstep_store/client/mount/write_operations.py": "shown: when a file was modified",
    "lockstep_store/client/cli/locks.py": SHOWN,
    "lockstep_store/client/menu/state_requests.py": SHOWN,
    "client_proxy/doors/s3/events/access_log.py": SHOWN,
    "client_proxy/doors/console/sessions.py": "a browser forgets a cookie by a duration; the directory ends the log-in",
    "client_proxy/rate_limits/counts.py": "windows that several proxies share have no other clock; too soon is refused",
    "client_proxy/doors/s3/auth/gate.py": "S3 signatures carry wall time by their protocol",
    "client_proxy/doors/basic_log_ins.py": "the same signatures, made for a person with an access key",
    "client_proxy/doors/s3/query/api.py": "signatures for STS and IAM carry wall time by their protocol",
    "client_proxy/doors/s3/objects/post_form.py": "a form's policy says itself until which date it is good",
    "directory_server/people/accounts.py": SHOWN,
    "directory_server/people/audit.py": SHOWN,
    "directory_server/people/single_sign_on.py": SHOWN,
    "directory_server/identity_providers/providers.py": SHOWN,
    "directory_server/features/identities/web_identities.py": CONDITIONS,
    "directory_server/identity_providers/known_provider.py": "id tokens carry wall time by their protocol",
    "directory_server/people/log_ins.py": SHOWN,
    "directory_server/people/second_factors.py": "codes of authenticator apps carry wall time (RFC 6238)",
    "directory_server/people/users.py": SHOWN,
    "directory_server/maintenance/backup.py": SHOWN,
    "directory_server/maintenance/redo_log.py": "shown; and numbers jump further, the older the last record is",
    "directory_server/bootstrap.py": SHOWN,
    "directory_server/files/buckets.py": SHOWN,
    "directory_server/files/journal.py": CONDITIONS,
    "directory_server/api/cluster.py": SHOWN,
    "directory_server/api/file_access.py": SHOWN,
    "directory_server/files/commits.py": SHOWN,
    "directory_server/cluster/directory_clock.py": "passes it on; bounded by elapsed time for retention dates",
    "directory_server/cluster/enrolment.py": SHOWN,
    "directory_server/cluster/storage_keys.py": SHOWN,
    "directory_server/maintenance/fsck.py": SHOWN,
    "directory_server/locks/lock_replies.py": SHOWN,
    "directory_server/locks/lock_rules.py": SHOWN,
    "directory_server/cluster/membership.py": SHOWN,
    "directory_server/files/moment.py": "shown; dates decide by the calendar, bounded by elapsed time",
    "directory_server/files/lookups.py": CONDITIONS,
    "directory_server/files/searches.py": CONDITIONS,
    "directory_server/files/analytics.py": "shown: days of growth; and conditions of policies",
    "directory_server/files/namespace.py": SHOWN,
    "directory_server/features/notifications/outbox.py": "shown in test messages; and conditions of policies",
    "directory_server/features/notifications/targets.py": SHOWN,
    "directory_server/features/notifications/webhook.py": "receivers refuse old signatures by their own wall clock",
    "directory_server/features/access_logs.py": "how old a bucket is: a step may misplace log lines of that moment",
    "directory_server/maintenance/recovery.py": SHOWN,
    "directory_server/maintenance/epochs.py": "how old accepted metadata is at most: too early costs numbers only",
    "directory_server/maintenance/restore.py": "shown; and numbers jump further, the older the backup is",
    "directory_server/features/folders/calls.py": SHOWN,
    "directory_server/people/groups.py": SHOWN,
    "directory_server/people/tenants.py": SHOWN,
    "directory_server/features/trash.py": CONDITIONS,
    "directory_server/features/folders/steps.py": SHOWN,
    "directory_server/features/named_keys.py": SHOWN,
    "directory_server/features/identities/identities.py": SHOWN,
    "directory_server/features/identities/sessions.py": CONDITIONS,
    "directory_server/people/access_keys.py": SHOWN,
    "directory_server/features/s3_settings.py": CONDITIONS,
    "directory_server/features/file_access.py": CONDITIONS,
    "directory_server/features/file_facts.py": CONDITIONS,
    "directory_server/features/share_links.py": "shown, and conditions of policies; a link's end is a date, too",
    "directory_server/people/share_links.py": "a link's end is a date, bounded by elapsed time",
    "directory_server/features/uploads/calls.py": SHOWN,
    "directory_server/files/writes.py": SHOWN,
    "file_server/store/local/quarantine.py": "how long damaged bytes, which nobody reads, are kept for a look",
    "lockstep_store/runtime/tls/certificate_authority.py": "certificates have wall-clock dates; a day is tolerated",
    "lockstep_store/runtime/http/date_header.py": SHOWN,
    "lockstep_store/runtime/clock.py": "is the wall clock",
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
