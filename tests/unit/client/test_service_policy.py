"""Plain limits as a policy document."""

from __future__ import annotations

from lockstep_store.client.service_policy import policy_of


def test_a_prefix_limits_objects_and_listings() -> None:
    """To what begins with it; the bucket itself is out of reach."""
    objects, listing = policy_of([("plans", "roof/")], ["read"])["Statement"]
    assert objects["Resource"] == "arn:aws:s3:::plans/roof/*"
    assert set(objects["Action"]) == {"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging"}
    assert (listing["Resource"], listing["Condition"]) == (
        "arn:aws:s3:::plans",
        {"StringLike": {"s3:prefix": "roof/*"}},
    )
    assert "s3:*" not in listing["Action"]


def test_all_of_a_bucket_includes_the_bucket() -> None:
    """Without a prefix, and nowhere else."""
    assert policy_of([("plans", "")], ["all"])["Statement"][1]["Action"] == ["s3:*"]
    assert "s3:*" not in policy_of([("plans", "a")], ["all"])["Statement"][1]["Action"]
    assert "s3:*" not in policy_of([("plans", "")], ["read", "write"])["Statement"][1]["Action"]


def test_addresses_limit_every_statement() -> None:
    """Beside the condition on the prefix."""
    statements = policy_of([("a", ""), ("b", "c/")], ["write"], ["10.0.0.0/8"])["Statement"]
    assert all(one["Condition"]["IpAddress"] == {"aws:SourceIp": ["10.0.0.0/8"]} for one in statements)
    assert statements[3]["Condition"]["StringLike"] == {"s3:prefix": "c/*"}


def test_wildcards_in_a_prefix_are_literal() -> None:
    """A key may have stars; a prefix must not open more than it says."""
    assert policy_of([("a", "b*?$c")], ["read"])["Statement"][0]["Resource"] == "arn:aws:s3:::a/b${*}${?}${$}c*"
