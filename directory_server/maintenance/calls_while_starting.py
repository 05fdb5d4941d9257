"""Lists the calls that the directory answers before it knows that its metadata is current (epochs.py).

Every other call is held, so a call that is added later is held until somebody lists it here. On an older copy of the
metadata, whatever a call changed would be lost with the copy, and whatever it issued would be issued again. So people's
calls are listed only if they change nothing. What file servers report may change their own rows and those of their
copies, which safe_to_start.py leaves behind (`_OF_A_START`): with changes of other rows it could not continue with file
servers' redo records.
"""

from __future__ import annotations

from lockstep_store.wire.messages import (
    authorities,
    cluster,
    groups,
    kms,
    people,
    programs,
    quotas,
    recovery,
    s3,
    second_factor,
    servers,
    storage_keys,
    targets,
    tenants,
    users,
)

ANSWERED_WHILE_RESTORING = frozenset(
    call.path
    for call in (
        # File servers register, and send the records that are missing.
        servers.REGISTER,
        servers.HEARTBEAT,
        servers.REPLAY,
        servers.DAMAGED,
        # Proxies report that they run; certificates are not in the metadata.
        programs.PROXY_HEARTBEAT,
        cluster.RENEW_CERTIFICATE,
        # How far it is, for administrators.
        programs.PROXIES,
        cluster.CLUSTER,
        recovery.RECOVERY,
    )
)
"""While a restored directory lacks changes that file servers have records of. Reads are not among them: they would give
what was current when the backup was made."""

ANSWERED_WHILE_STARTING = ANSWERED_WHILE_RESTORING | frozenset(
    call.path
    for call in (
        # For administrators, and what proxies ask beside a read. Files, buckets and locks are held: theirs might be
        # an older state. So are renewals: the lock may have ended since, and be somebody else's. Nothing expires
        # while calls are held.
        s3.BUCKET_SETTING,
        s3.BUCKET_CORS,
        s3.BUCKET_ACCESS_LOG,
        s3.OBJECT_SETTINGS,
        kms.BUCKET_ENCRYPTION,
        people.WHO_AM_I,
        people.API_KEYS,
        second_factor.SECOND_FACTOR,
        tenants.TENANTS,
        groups.GROUPS,
        groups.GROUP,
        users.USERS,
        users.USER_ACCESS,
        users.AUDIT,
        quotas.QUOTA,
        quotas.QUOTAS,
        s3.S3_KEYS,
        s3.S3_SIGNING_KEY,
        kms.KMS_KEYS,
        targets.TARGETS,
        storage_keys.STORAGE_KEYS,
        authorities.AUTHORITIES,
        cluster.REPAIR_REPORT,
        recovery.FSCK_REPORT,
        # Change nothing in the metadata.
        recovery.FSCK,
        targets.TEST_TARGET,
    )
)
