"""The small configurations: what is not there is said not to be there, and what would not be done is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.s3.calls import refused


def test_what_is_off_is_said_to_be_off(s3: Any, bucket: str) -> None:
    """No acceleration, the owner pays."""
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"


@pytest.mark.parametrize("kind", ["analytics", "intelligent_tiering", "inventory", "metrics"])
def test_reports_that_nobody_makes_are_listed_as_none(s3: Any, bucket: str, kind: str) -> None:
    """The list is empty and whole; one by its id is not there."""
    told = getattr(s3, f"list_bucket_{kind}_configurations")(Bucket=bucket)
    assert told["IsTruncated"] is False
    assert not any(name.endswith("List") for name in told)
    for verb in ("get", "delete"):
        ask = getattr(s3, f"{verb}_bucket_{kind}_configuration")
        assert refused(ask, Bucket=bucket, Id="daily") == (404, "NoSuchConfiguration")


def test_what_is_not_there_has_its_own_code(s3: Any, bucket: str) -> None:
    """Website, replication and lifecycle configurations are not there, deleting them changes nothing."""
    assert refused(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == (404, "NoSuchLifecycleConfiguration")
    assert refused(s3.get_bucket_website, Bucket=bucket) == (404, "NoSuchWebsiteConfiguration")
    assert refused(s3.get_bucket_replication, Bucket=bucket) == (404, "ReplicationConfigurationNotFoundError")
    for delete in (s3.delete_bucket_website, s3.delete_bucket_replication, s3.delete_bucket_lifecycle):
        assert delete(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_what_would_not_be_done_is_refused(s3: Any, bucket: str) -> None:
    """Websites, requesters that pay, acceleration and replication are NotImplemented."""
    website = {"IndexDocument": {"Suffix": "index.html"}}
    assert refused(s3.put_bucket_website, Bucket=bucket, WebsiteConfiguration=website) == (501, "NotImplemented")
    payer = {"Payer": "Requester"}
    assert refused(s3.put_bucket_request_payment, Bucket=bucket, RequestPaymentConfiguration=payer)[0] == 501
    fast = {"Status": "Enabled"}
    assert refused(s3.put_bucket_accelerate_configuration, Bucket=bucket, AccelerateConfiguration=fast)[0] == 501
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})


def test_a_bucket_that_is_not_there_or_not_yours_answers_nothing(s3: Any, eve: Any, bucket: str) -> None:
    """NoSuchBucket and AccessDenied come before any configuration."""
    assert refused(s3.get_bucket_request_payment, Bucket="no-such-bucket") == (404, "NoSuchBucket")
    assert refused(s3.get_bucket_website, Bucket="no-such-bucket") == (404, "NoSuchBucket")
    assert refused(s3.get_bucket_encryption, Bucket="no-such-bucket") == (404, "NoSuchBucket")
    assert refused(eve.get_bucket_encryption, Bucket=bucket) == (403, "AccessDenied")
    assert refused(eve.get_bucket_website, Bucket=bucket) == (403, "AccessDenied")
    assert refused(eve.delete_bucket_website, Bucket=bucket) == (403, "AccessDenied")
    payer = {"Payer": "BucketOwner"}
    assert refused(eve.put_bucket_request_payment, Bucket=bucket, RequestPaymentConfiguration=payer)[0] == 403


def encryption(algorithm: str = "AES256", **more: Any) -> dict[str, Any]:
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm, **more}}]}


def test_default_encryption_is_on_can_be_said_and_goes_back(s3: Any, bucket: str) -> None:
    """AES256 unless something else is said, which comes back as it was put."""

    def rule() -> Any:
        return s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]

    default = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]
    assert rule() == default
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=encryption())
    assert rule() == encryption()["Rules"]
    s3.delete_bucket_encryption(Bucket=bucket)
    assert rule() == default


def test_a_default_that_would_not_be_carried_out_is_refused(s3: Any, eve: Any, bucket: str) -> None:
    """There is one layer of encryption, a rule must be one, and only the owner sets it."""

    def put(client: Any, configuration: dict[str, Any]) -> tuple[int, str]:
        return refused(client.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=configuration)

    assert put(s3, encryption("aws:kms:dsse")) == (501, "NotImplemented")
    assert put(s3, encryption(KMSMasterKeyID="mine")) == (400, "InvalidArgument")
    assert put(s3, {"Rules": []}) == (400, "MalformedXML")
    assert put(s3, {"Rules": [{"BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]}}]}) == (501, "NotImplemented")
    assert put(eve, encryption()) == (403, "AccessDenied")
