"""Lists the calls that the directory answers before it knows that its metadata is current (epochs.py).

Every other call is held, so a call that is added later is held until somebody lists it here. List only calls that issue
no lock number, version id or ticket, and drop no copy: on an older copy of the metadata those would repeat.
"""

from __future__ import annotations

from lockstep_store.wire.messages import (
    buckets,
    cluster,
    files,
    journal,
    kms,
    locks,
    people,
    programs,
    recovery,
    redo,
    s3,
    servers,
    targets,
    uploads,
    users,
)

ANSWERED_WHILE_STARTING = frozenset(
    call.path
    for call in (
        # Reads.
        files.LOOKUP,
        files.LIST,
        files.VERSIONS,
        journal.CHANGES,
        buckets.BUCKETS,
        buckets.GET_BUCKET,
        uploads.UPLOADS,
        uploads.UPLOAD_PARTS,
        locks.LOCKS,
        s3.BUCKET_SETTING,
        s3.BUCKET_CORS,
        s3.BUCKET_ACCESS_LOG,
        s3.OBJECT_SETTINGS,
        kms.BUCKET_ENCRYPTION,
        # Prolongs a lock that was granted already; nothing expires while calls are held.
        locks.RENEW,
        # People and their keys.
        people.LOGIN,
        people.LOGOUT,
        people.WHO_AM_I,
        people.API_KEYS,
        people.CREATE_API_KEY,
        people.REVOKE_API_KEY,
        users.CHANGE_PASSWORD,
        users.USERS,
        users.CREATE_USER,
        users.CHANGE_USER,
        users.DELETE_USER,
        users.RESET_PASSWORD,
        users.USER_ACCESS,
        users.REVOKE_ACCESS,
        users.AUDIT,
        s3.S3_KEYS,
        s3.CREATE_S3_KEY,
        s3.ROTATE_S3_KEY,
        s3.REVOKE_S3_KEY,
        s3.S3_SIGNING_KEY,
        kms.KMS_KEYS,
        kms.CREATE_KMS_KEY,
        kms.ENABLE_KMS_KEY,
        kms.ROTATE_KMS_KEY,
        kms.NEW_DATA_KEY,
        # File servers register and report. None of these drops a copy within a ticket's lifetime of the start.
        servers.REGISTER,
        servers.HEARTBEAT,
        servers.HELD,
        servers.DAMAGED,
        servers.INVENTORY,
        servers.REDO,
        servers.REPLAY,
        # Proxies report that they run.
        programs.PROXY_HEARTBEAT,
        # The cluster, for administrators.
        programs.PROXIES,
        cluster.CLUSTER,
        cluster.JOIN_SECRET,
        cluster.ENROL,
        cluster.RENEW_CERTIFICATE,
        cluster.DRAIN_SERVER,
        cluster.REMOVE_SERVER,
        cluster.BALANCE,
        cluster.REPAIR_REPORT,
        recovery.FSCK,
        recovery.FSCK_REPORT,
        recovery.RECOVERY,
        redo.FOLLOW_REDO,
        targets.TARGETS,
        targets.ADD_TARGET,
        targets.REMOVE_TARGET,
        targets.TEST_TARGET,
    )
)
