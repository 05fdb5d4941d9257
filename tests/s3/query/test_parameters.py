"""Parameters of the Query protocol: nested names, lists, and every bound of the service description."""

from __future__ import annotations

from contextlib import suppress

import pytest

from client_proxy.doors.s3.query.errors import QueryError
from client_proxy.doors.s3.query.parameters import MAX_MEMBERS, read_values
from client_proxy.doors.s3.query.services import service

ROLE = {"RoleArn": "arn:aws:iam::ann:role/self", "RoleSessionName": "work"}


def values(name: str, **given: str) -> dict[str, object]:
    """What an operation of either service reads; `_` in a name stands for a dot."""
    of = "sts" if name in service("sts").operations else "iam"
    return read_values(service(of).operations[name], {key.replace("_", "."): value for key, value in given.items()})


def test_values_have_the_types_of_the_description() -> None:
    """Numbers, lists of structures, and text."""
    read = values("AssumeRole", **ROLE, DurationSeconds="900", Tags_member_1_Key="a", Tags_member_1_Value="b")
    assert read == {**ROLE, "DurationSeconds": 900, "Tags": [{"Key": "a", "Value": "b"}]}
    both = {"TransitiveTagKeys_member_1": "a", "TransitiveTagKeys_member_2": "b", "TransitiveTagKeys_member_4": "d"}
    assert values("AssumeRole", **ROLE, **both)["TransitiveTagKeys"] == ["a", "b"]
    assert values("AssumeRole", **ROLE, Tags="")["Tags"] == []
    assert values("UpdateAccessKey", AccessKeyId="A" * 16, Status="Inactive")["Status"] == "Inactive"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("AssumeRole", {"RoleArn": ROLE["RoleArn"]}),
        ("AssumeRole", ROLE | {"Colour": "red"}),
        ("AssumeRole", ROLE | {"DurationSeconds": "soon"}),
        ("AssumeRole", ROLE | {"DurationSeconds": "899"}),
        ("AssumeRole", ROLE | {"DurationSeconds": "1" * 40}),
        ("AssumeRole", ROLE | {"RoleSessionName": "a/b"}),
        ("AssumeRole", ROLE | {"RoleSessionName": "ä"}),
        ("AssumeRole", ROLE | {f"TransitiveTagKeys_member_{n + 1}": "a" for n in range(MAX_MEMBERS + 1)}),
        ("CreateUser", {"UserName": ""}),
        ("CreateUser", {"UserName": "x" * 65}),
        ("CreateUser", {"UserName": "x", "Path": "team"}),
        ("UpdateAccessKey", {"AccessKeyId": "A" * 16, "Status": "asleep"}),
        ("ListUsers", {"MaxItems": "0"}),
    ],
)
def test_what_the_description_forbids_is_refused(name: str, given: dict[str, str]) -> None:
    """Missing, unknown, malformed, and out of bounds."""
    with pytest.raises(QueryError) as error:
        values(name, **given)
    assert (error.value.code, error.value.status) == ("ValidationError", 400)


def test_every_pattern_of_the_descriptions_compiles() -> None:
    """No parameter of an operation makes a request fail with anything but a refusal."""
    for of in ("sts", "iam"):
        for operation in service(of).operations.values():
            for member in operation.input:
                given = {member.wire_name: "value-1", f"{member.wire_name}.member.1": "value-1"}
                with suppress(QueryError):
                    read_values(operation, given)
