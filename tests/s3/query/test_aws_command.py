"""The real `aws` command on a real cluster: users with keys and policies, roles, and who one is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster_harness import ClusterHarness
from tests.s3.command_clients import AwsCli, boto3_client
from tests.s3.query.callers import allow, new_name, policy

pytestmark = pytest.mark.cluster


class Aws:
    """The command with the administrator's key, or with another one."""

    def __init__(self, cluster: ClusterHarness, home: Path) -> None:
        self._client = AwsCli(cluster, home)

    def ask(self, *arguments: str) -> Any:
        """What the command answers."""
        text = self._client.run(*arguments, "--output", "json")
        return json.loads(text) if text.strip() else None

    def fails(self, code: str, *arguments: str) -> None:
        """It must be refused with this code."""
        with pytest.raises(AssertionError, match=code):
            self._client.run(*arguments)

    def sign_as(self, key: dict[str, str]) -> None:
        """Use another key from now on."""
        environment = self._client.environment
        environment.pop("AWS_SESSION_TOKEN", None)
        environment |= {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        if "SessionToken" in key:
            environment["AWS_SESSION_TOKEN"] = key["SessionToken"]


@pytest.fixture
def aws(real_cluster: ClusterHarness, tmp_path: Path) -> Aws:
    return Aws(real_cluster, tmp_path / "home")


@pytest.fixture
def bucket(real_cluster: ClusterHarness) -> str:
    name, client = new_name("aws"), boto3_client(real_cluster)
    client.create_bucket(Bucket=name)
    for key in ("in/k", "out/k"):
        client.put_object(Bucket=name, Key=key, Body=b"content")
    return name


def test_the_aws_command_makes_a_user(aws: Aws, bucket: str, tmp_path: Path) -> None:
    """Who then reads what its policy allows, and nothing else."""
    assert aws.ask("sts", "get-caller-identity")["Arn"] == "arn:aws:iam::admin:user/admin"
    name = new_name("user")
    assert aws.ask("iam", "create-user", "--user-name", name)["User"]["Arn"] == f"arn:aws:iam::admin:user/{name}"
    document = tmp_path / "policy.json"
    document.write_text(policy(allow("s3:GetObject", f"{bucket}/in/*"), allow("s3:ListBucket", bucket)))
    put = ("--user-name", name, "--policy-name", "read", "--policy-document", f"file://{document}")
    aws.ask("iam", "put-user-policy", *put)
    assert aws.ask("iam", "list-user-policies", "--user-name", name)["PolicyNames"] == ["read"]
    key = aws.ask("iam", "create-access-key", "--user-name", name)["AccessKey"]
    aws.sign_as(key)
    assert aws.ask("sts", "get-caller-identity")["Arn"] == f"arn:aws:iam::admin:user/{name}"
    target = tmp_path / "k"
    aws.ask("s3api", "get-object", "--bucket", bucket, "--key", "in/k", str(target))
    assert target.read_bytes() == b"content"
    aws.fails("AccessDenied", "s3api", "get-object", "--bucket", bucket, "--key", "out/k", str(target))
    aws.fails("AccessDenied", "iam", "create-access-key", "--user-name", name)


def test_the_aws_command_takes_a_role(aws: Aws, bucket: str, tmp_path: Path) -> None:
    """And narrows itself by a session policy."""
    name = new_name("role")
    trust = json.dumps({"Statement": [{"Effect": "Allow", "Principal": {"AWS": "admin"}, "Action": "sts:AssumeRole"}]})
    made = aws.ask("iam", "create-role", "--role-name", name, "--assume-role-policy-document", trust)["Role"]
    assert made["AssumeRolePolicyDocument"] == json.loads(trust)
    read = policy(allow("s3:GetObject", f"{bucket}/*"))
    aws.ask("iam", "put-role-policy", "--role-name", name, "--policy-name", "p", "--policy-document", read)
    narrow = policy(allow("s3:GetObject", f"{bucket}/in/*"))
    asked = ("--role-arn", made["Arn"], "--role-session-name", "work", "--duration-seconds", "900", "--policy", narrow)
    taken = aws.ask("sts", "assume-role", *asked)
    assert taken["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::admin:assumed-role/{name}/work"
    aws.sign_as(taken["Credentials"])
    target = tmp_path / "k"
    aws.ask("s3api", "get-object", "--bucket", bucket, "--key", "in/k", str(target))
    aws.fails("AccessDenied", "s3api", "get-object", "--bucket", bucket, "--key", "out/k", str(target))
    assert aws.ask("sts", "get-caller-identity")["Arn"].endswith("/work")


def test_the_aws_command_manages_groups_and_keys(aws: Aws) -> None:
    """Adding and removing, listing, deactivating and deleting."""
    user, group = new_name("user"), new_name("group")
    aws.ask("iam", "create-user", "--user-name", user)
    aws.ask("iam", "create-group", "--group-name", group)
    aws.ask("iam", "add-user-to-group", "--group-name", group, "--user-name", user)
    assert [one["UserName"] for one in aws.ask("iam", "get-group", "--group-name", group)["Users"]] == [user]
    key = aws.ask("iam", "create-access-key", "--user-name", user)["AccessKey"]["AccessKeyId"]
    of_user = ("--user-name", user, "--access-key-id", key)
    aws.ask("iam", "update-access-key", *of_user, "--status", "Inactive")
    listed = aws.ask("iam", "list-access-keys", "--user-name", user)["AccessKeyMetadata"]
    assert [(one["AccessKeyId"], one["Status"]) for one in listed] == [(key, "Inactive")]
    aws.fails("DeleteConflict", "iam", "delete-user", "--user-name", user)
    aws.ask("iam", "delete-access-key", *of_user)
    aws.ask("iam", "remove-user-from-group", "--group-name", group, "--user-name", user)
    aws.ask("iam", "delete-user", "--user-name", user)
    aws.ask("iam", "delete-group", "--group-name", group)
    aws.fails("NoSuchEntity", "iam", "get-user", "--user-name", user)
