"""Policy documents: refused where they cannot mean what they say, bounded, public or not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from directory_server.access.policy import BadPolicy
from directory_server.access.policy_documents import MAX_BYTES, check_size, parse
from tests.unit.directory_server.access.policy_texts import BUCKET, statement, text_of

BAD = [
    "",
    " {}",
    "[]",
    "{",
    '{"Statement": NaN}',
    "{}",
    '{"Statement": []}',
    '{"Statement": ["x"]}',
    '{"Version": "1", "Statement": []}',
    '{"Statement": [], "Statement": []}',
    json.dumps({"Statement": statement(), "More": 1}),
    json.dumps({"Statement": statement(), "Id": 1}),
    *(
        text_of(statement(**wrong))
        for wrong in (
            {"Effect": "allow"},
            {"Effect": None},
            {"Principal": None},
            {"NotPrincipal": "*"},
            {"Principal": "ann"},
            {"Principal": {}},
            {"Principal": {"AWS": []}},
            {"Principal": {"AWS": "a*"}},
            {"Principal": {"AWS": "arn:aws:s3:::x"}},
            {"Principal": {"Everyone": "*"}},
            {"Action": None},
            {"Action": []},
            {"Action": "GetObject"},
            {"Action": "ec2:*"},
            {"Action": ["s3:GetObject", 1]},
            {"NotAction": "s3:GetObject"},
            {"Resource": None},
            {"Resource": "arn:aws:s3:::other/*"},
            {"Resource": "box/*"},
            {"Resource": "arn:aws:s3:::boxes/*"},
            {"NotResource": "*"},
            {"Sid": 1},
            {"Sid": "\ud800"},
            {"More": 1},
            {"\ud800": 1},
            {"Condition": []},
            {"Condition": {"StringEquals": []}},
            {"Condition": {"StringEquals": {}}},
            {"Condition": {"Sounds": {"aws:Referer": "x"}}},
            {"Condition": {"NullIfExists": {"aws:Referer": "true"}}},
            {"Condition": {"StringEquals": {"referer": "x"}}},
            {"Condition": {"StringEquals": {"aws:Referer": {"x": 1}}}},
            {"Condition": {"NumericEquals": {"s3:max-keys": "ten"}}},
            {"Condition": {"DateEquals": {"aws:CurrentTime": "yesterday"}}},
            {"Condition": {"Bool": {"aws:SecureTransport": "yes"}}},
            {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/99"}}},
            {"Condition": {"ForSome:StringEquals": {"aws:Referer": "x"}}},
        )
    ),
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_not_understood_is_refused(text: str) -> None:
    """Half a policy protects nothing."""
    with pytest.raises(BadPolicy):
        parse(text, BUCKET)


def test_a_policy_is_bounded() -> None:
    """20 KiB, in bytes, when it is stored, however deep; one that grew since is read."""
    room = MAX_BYTES - len(text_of(statement(Sid="")).encode())
    assert parse(check_size(text_of(statement(Sid="x" * room))), BUCKET)
    too_large = text_of(statement(Sid="x" * (room + 1)))
    assert parse(too_large, BUCKET)
    with pytest.raises(BadPolicy):
        check_size(too_large)
    with pytest.raises(BadPolicy):
        parse('{"Statement":' + "[" * 10_000, BUCKET)


@pytest.mark.parametrize(
    ("wrong", "public"),
    [
        ({}, True),
        ({"Principal": {"AWS": ["ann", "*"]}}, True),
        ({"Principal": {"AWS": "ann"}}, False),
        ({"Principal": None, "NotPrincipal": {"AWS": "ann"}}, True),
        ({"Effect": "Deny"}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}}, True),
        ({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, True),
        ({"Condition": {"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}, False),
        ({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}, True),
        ({"Condition": {"StringEquals": {"aws:Referer": "x"}}}, True),
        ({"Condition": {"StringEquals": {"aws:PrincipalArn": "${aws:username}"}}}, True),
    ],
)
def test_what_makes_a_policy_public(wrong: dict[str, Any], public: bool) -> None:
    """A grant to everybody that no fixed value narrows to somebody."""
    assert parse(text_of(statement(**wrong)), BUCKET).public is public
