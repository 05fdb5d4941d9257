"""The S3 actions, by kind of resource, and condition keys that policies may name.

A policy with any other name is rejected: a name that never matches makes an Allow useless and a Deny a hole. Names of
S3 features that do not exist here are included, so that existing policies can be used. Source: the service
authorization reference, "Actions, resources, and condition keys for Amazon S3".
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["bucket", "object"]


def _actions(names: str) -> frozenset[str]:
    return frozenset(f"s3:{name.lower()}" for name in names.split())


ACTIONS: dict[Kind, frozenset[str]] = {
    "bucket": _actions(
        """
        CreateBucket CreateBucketMetadataTableConfiguration DeleteBucket DeleteBucketMetadataTableConfiguration
        DeleteBucketPolicy DeleteBucketWebsite GetAccelerateConfiguration GetAnalyticsConfiguration GetBucketAbac
        GetBucketAcl GetBucketCORS GetBucketLocation GetBucketLogging GetBucketMetadataTableConfiguration
        GetBucketNotification GetBucketObjectLockConfiguration GetBucketOwnershipControls GetBucketPolicy
        GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketRequestPayment GetBucketTagging GetBucketVersioning
        GetBucketWebsite GetEncryptionConfiguration GetIntelligentTieringConfiguration GetInventoryConfiguration
        GetLifecycleConfiguration GetMetricsConfiguration GetReplicationConfiguration ListBucket
        ListBucketMultipartUploads ListBucketVersions ListTagsForResource PutAccelerateConfiguration
        PutAnalyticsConfiguration PutBucketAbac PutBucketAcl PutBucketCORS PutBucketLogging PutBucketNotification
        PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy PutBucketPublicAccessBlock
        PutBucketRequestPayment PutBucketTagging PutBucketVersioning PutBucketWebsite PutEncryptionConfiguration
        PutIntelligentTieringConfiguration PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration
        PutReplicationConfiguration TagResource UntagResource UpdateBucketMetadataAnnotationTableConfiguration
        UpdateBucketMetadataInventoryTableConfiguration UpdateBucketMetadataJournalTableConfiguration
        """
    ),
    "object": _actions(
        """
        AbortMultipartUpload BypassGovernanceRetention DeleteObject DeleteObjectAnnotation DeleteObjectTagging
        DeleteObjectVersion DeleteObjectVersionTagging GetObject GetObjectAcl GetObjectAnnotation GetObjectAttributes
        GetObjectLegalHold GetObjectRetention GetObjectTagging GetObjectTorrent GetObjectVersion GetObjectVersionAcl
        GetObjectVersionAttributes GetObjectVersionForReplication GetObjectVersionTagging GetObjectVersionTorrent
        InitiateReplication ListMultipartUploadParts ListObjectAnnotations ObjectOwnerOverrideToBucketOwner PutObject
        PutObjectAcl PutObjectAnnotation PutObjectLegalHold PutObjectRetention PutObjectTagging PutObjectVersionAcl
        PutObjectVersionTagging ReplicateDelete ReplicateObject ReplicateTags RestoreObject UpdateObjectEncryption
        """
    ),
}
IDENTITY_ACTIONS: frozenset[str] = frozenset().union(*ACTIONS.values()) | _actions(
    """
    CreateAccessPoint CreateJob DeleteAccessPoint DescribeJob GetAccessPoint GetAccountPublicAccessBlock
    ListAccessPoints ListAllMyBuckets ListJobs PutAccountPublicAccessBlock PutStorageLensConfiguration
    """
)
"""The S3 actions that an identity's policy may name: also those that concern no bucket."""
_KEYS = _actions(
    """
    AccessGrantsInstanceArn AccessPointNetworkOrigin AccessPointTag/ authType BucketTag/ DataAccessPointAccount
    DataAccessPointArn delimiter destinationRegion ExistingJobOperation ExistingJobPriority ExistingObjectTag/ if-match
    if-none-match InventoryAccessibleOptionalFields isReplicationPauseRequest JobSuspendedCause locationconstraint
    max-keys object-lock-legal-hold object-lock-mode object-lock-remaining-retention-days object-lock-retain-until-date
    ObjectCreationOperation prefix RequestJobOperation RequestJobPriority RequestObjectTag/ RequestObjectTagKeys
    ResourceAccount signatureAge signatureversion TlsVersion VersionId x-amz-acl x-amz-content-sha256
    x-amz-copy-source x-amz-grant-full-control x-amz-grant-read x-amz-grant-read-acp x-amz-grant-write
    x-amz-grant-write-acp x-amz-metadata-directive x-amz-object-ownership x-amz-server-side-encryption
    x-amz-server-side-encryption-aws-kms-key-id x-amz-server-side-encryption-customer-algorithm x-amz-storage-class
    x-amz-website-redirect-location
    """
)


_OF_ROLES = frozenset({"sts:externalid", "sts:rolesessionname"})


def is_key(name: str) -> bool:
    """Whether a condition key exists. All global ones (`aws:`) count: other services share them."""
    service, _, rest = name.lower().partition(":")
    if service != "s3":
        return bool(rest) and (service == "aws" or name.lower() in _OF_ROLES)
    before, slash, after = rest.partition("/")
    return f"s3:{before}{slash}" in _KEYS and bool(after) == bool(slash)
