"""The words of policies that mean something for S3: its actions by what they are done to, and its condition keys.

A policy with another word is refused when it is put: a word that never fits makes an Allow useless and a Deny a hole.
Source: the service authorization reference, "Actions, resources, and condition keys for Amazon S3". Words that S3 has
for what is not done here are among them, so that policies can be brought along.
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


def is_key(name: str) -> bool:
    """Whether a condition key exists. The global ones (`aws:`) are everybody's, so they are not listed here."""
    service, _, rest = name.lower().partition(":")
    if service != "s3":
        return service == "aws" and bool(rest)
    before, slash, after = rest.partition("/")
    return f"s3:{before}{slash}" in _KEYS and bool(after) == bool(slash)
