"""Reads under leases at both doors: no call to the directory while nothing changes, and never an old reply.

Whatever a read's reply depends on is changed, mostly through another proxy, and the next read has to see it. The
directory waits for the proxy that reads, in real threads.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fakes.whole_cluster import LocalPeers
from tests.s3.calls import read
from tests.s3.people import Allow, Deny, anonymous_client, document, statement, token_of
from tests.s3.query.callers import Caller, account, allow, new_name, policy, self_role
from tests.s3.rig import S3Rig
from tests.waiting import wait_until

Read = Callable[[], Any]
Change = Callable[[], Any]
LOOKUP = "/v1/lookup"


class Calls:
    """Counts the calls between programs."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()

    def of(self, work: Callable[[], Any]) -> int:
        """How many look-ups `work` makes."""
        before = self.made[LOOKUP]
        work()
        return self.made[LOOKUP] - before

    def heat(self, work: Read) -> Any:
        """Do `work` until it makes no look-up; return what it returns then."""
        wait_until(lambda: not self.of(work), what="a lease")
        return work()


@pytest.fixture(scope="module")
def calls() -> Iterator[Calls]:
    calls = Calls()
    ask = LocalPeers.ask

    def noted(peers: LocalPeers, url: str, method: str, path: str, *rest: Any) -> bytes:
        calls.made[path] += 1
        return ask(peers, url, method, path, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalPeers, "ask", noted)
        yield calls


@pytest.fixture(scope="module")
def rig(calls: Calls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Rig]:
    certs = tmp_path_factory.getbasetemp() / "s3-certs"
    rig = S3Rig(tmp_path_factory.mktemp("leases"), certs, file_servers=2, proxies=2, read_leases=True)
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def olga(rig: S3Rig) -> Caller:
    """She owns every bucket."""
    return account(rig, "olga")


@pytest.fixture
def bucket(olga: Caller) -> str:
    """A bucket with the object `k`."""
    name = new_name("leased")
    olga.s3.create_bucket(Bucket=name)
    olga.s3.put_object(Bucket=name, Key="k", Body=b"old")
    return name


def outcome(work: Read) -> Any:
    """What it returns, or the code of its refusal."""
    try:
        return work()
    except ClientError as error:
        return error.response["Error"]["Code"]


def seen_at_once(calls: Calls, work: Read, change: Change) -> Any:
    """Read until that costs no look-up, change something, and return what the very next read sees."""
    before = calls.heat(lambda: outcome(work))
    change()
    after = outcome(work)
    assert after != before, "the read did not see the change"
    return after


def elsewhere(rig: S3Rig, method: str, target: str, body: bytes = b"", **headers: str) -> Any:
    """A request of the administrator through the other proxy."""
    answer = rig.cluster.ask(method, target, body, proxy="2", **headers)
    assert answer.status < 300, answer.body
    return answer


# ---------------------------------------------------------------- no call at all


@pytest.mark.parametrize("door", ["S3 GET", "S3 HEAD", "REST GET", "REST HEAD"])
def test_a_hot_read_makes_no_call(rig: S3Rig, calls: Calls, olga: Caller, bucket: str, door: str) -> None:
    """None to any program, at both doors; and what is read is the content."""
    path = f"/files/{bucket}/k"
    work: dict[str, Read] = {
        "S3 GET": lambda: read(olga.s3, bucket),
        "S3 HEAD": lambda: olga.s3.head_object(Bucket=bucket, Key="k")["ContentLength"],
        "REST GET": lambda: rig.cluster.ask("GET", path).body,
        "REST HEAD": lambda: rig.cluster.ask("HEAD", path).headers["Content-Length"],
    }
    result = calls.heat(work[door])
    assert result in (b"old", 3, "3")
    asked = Counter(calls.made)
    assert work[door]() == result
    assert not {path: count for path, count in (calls.made - asked).items() if path != "/v1/read-leases"}


def test_the_receipt_says_lease(rig: S3Rig, calls: Calls, bucket: str) -> None:
    """It has the cursor at which the version was found, and says that the directory was not asked again."""
    path = f"/files/{bucket}/k"
    first = rig.cluster.ask("GET", path).headers
    assert "X-Lockstep-Validated" not in first
    calls.heat(lambda: rig.cluster.ask("GET", path).body)
    leased = rig.cluster.ask("GET", path).headers
    assert leased["X-Lockstep-Validated"] == "lease"
    assert leased["X-Lockstep-Cursor"] >= first["X-Lockstep-Cursor"]
    assert rig.cluster.ask("HEAD", path).headers["X-Lockstep-Validated"] == "lease"


def test_a_second_proxy_has_leases_of_its_own(rig: S3Rig, calls: Calls, bucket: str) -> None:
    """Both read without a call, and a change through either is seen at both."""
    path = f"/files/{bucket}/k"
    for proxy in ("1", "2"):
        calls.heat(lambda proxy=proxy: rig.cluster.ask("GET", path, proxy=proxy).body)
    for number, proxy in enumerate(("1", "2", "1")):
        body = b"new %d" % number
        assert rig.cluster.ask("PUT", path, body, proxy=proxy, Content_Length=str(len(body))).status < 300
        assert [rig.cluster.ask("GET", path, proxy=each).body for each in ("1", "2")] == [body, body]
        for each in ("1", "2"):
            calls.heat(lambda each=each: rig.cluster.ask("GET", path, proxy=each).body)


# ---------------------------------------------------------------- changes of the file


def test_changes_of_the_file_are_seen(rig: S3Rig, calls: Calls, olga: Caller, bucket: str) -> None:
    """Written, moved away, moved onto, copied onto, deleted, restored, one version removed."""
    files, content = f"/files/{bucket}", lambda: read(olga.s3, bucket)

    def see(change: Change) -> Any:
        return seen_at_once(calls, content, change)

    olga.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert see(lambda: elsewhere(rig, "PUT", f"{files}/k", b"new", Content_Length="3")) == b"new"
    elsewhere(rig, "PUT", f"{files}/other", b"other", Content_Length="5")
    copy = {"bucket": bucket, "path": "k", "source": {"bucket": bucket, "path": "other"}}

    def send(body: dict[str, Any]) -> Any:
        return elsewhere(rig, "POST", "/copy", json.dumps(body).encode(), Content_Type="application/json")

    assert see(lambda: send(copy)) == b"other"
    away = {"bucket": bucket, "path": "gone", "source": {"bucket": bucket, "path": "k"}, "move": True}
    assert see(lambda: send(away)) == "NoSuchKey"
    back = {"bucket": bucket, "path": "k", "source": {"bucket": bucket, "path": "gone"}, "move": True}
    send(back)
    newest = olga.s3.head_object(Bucket=bucket, Key="k")["VersionId"]
    elsewhere(rig, "PUT", f"{files}/k", b"last", Content_Length="4")
    assert see(lambda: elsewhere(rig, "DELETE", f"{files}/k")) == "NoSuchKey"
    olga.s3.put_object(Bucket=bucket, Key="k", Body=b"again")
    made = olga.s3.head_object(Bucket=bucket, Key="k")["VersionId"]
    assert made != newest
    assert see(lambda: elsewhere(rig, "DELETE", f"{files}/k?version={made}")) == "NoSuchKey"
    olga.s3.put_object(Bucket=bucket, Key="k", Body=b"once more")
    gone = {"Objects": [{"Key": "k"}], "Quiet": True}
    assert see(lambda: olga.s3.delete_objects(Bucket=bucket, Delete=gone)) == "NoSuchKey"


def test_what_a_reply_shows_beside_the_content_is_seen(rig: S3Rig, calls: Calls, olga: Caller) -> None:
    """Tags, retention, legal hold, expiry by the bucket's lifecycle, and the lock on the path."""
    bucket = new_name("locked")
    olga.s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    olga.s3.put_object(Bucket=bucket, Key="k", Body=b"old")

    def head() -> dict[str, str]:
        return dict(olga.s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"])

    def see(header: str, change: Change) -> None:
        calls.heat(head)
        before = head().get(header)
        change()
        assert head().get(header) != before, header

    at = {"Bucket": bucket, "Key": "k"}
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    calls.heat(lambda: read(olga.s3, bucket))
    olga.s3.put_object_tagging(**at, Tagging=tags)
    assert olga.s3.get_object(**at)["TagCount"] == 1
    see("x-amz-object-lock-legal-hold", lambda: olga.s3.put_object_legal_hold(**at, LegalHold={"Status": "ON"}))
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 9}}
    see(
        "x-amz-expiration",
        lambda: olga.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]}),
    )
    wanted = {"paths": [f"{bucket}/k"], "wait_seconds": 0}
    lock = "x-lockstep-lock"
    body = json.dumps(wanted).encode()
    taken: list[Any] = []
    see(lock, lambda: taken.append(elsewhere(rig, "POST", "/locks", body, Content_Type="application/json")))
    # While it is locked, the lock's end is part of the reply, and no lease is granted.
    assert all(calls.of(head) for _ in range(5))
    elsewhere(rig, "DELETE", f"/locks/{taken[0].json['lock']['id']}")
    assert lock not in head()


# ---------------------------------------------------------------- rights


def put_policy(owner: Caller, bucket: str, *statements: dict[str, Any]) -> None:
    owner.s3.put_bucket_policy(Bucket=bucket, Policy=document(*statements))


def test_a_bucket_that_is_no_longer_shared(rig: S3Rig, calls: Calls, bucket: str) -> None:
    ben = account(rig, "ben")
    change = f"/buckets/{bucket}"
    shared = (b'{"shared": true}', b'{"shared": false}')
    elsewhere(rig, "PATCH", change, shared[0], Content_Type="application/json")
    assert (
        seen_at_once(
            calls,
            lambda: read(ben.s3, bucket),
            lambda: elsewhere(rig, "PATCH", change, shared[1], Content_Type="application/json"),
        )
        == "AccessDenied"
    )


def test_a_policy_that_comes_and_goes(rig: S3Rig, calls: Calls, olga: Caller, bucket: str) -> None:
    """Of the bucket, for its owner and for somebody else; deleted, too."""
    ben = account(rig, "ben")
    everything = (f"{bucket}/*", bucket)
    put_policy(olga, bucket, statement(Allow, "ben", "s3:GetObject", *everything))
    as_ben, as_olga = (lambda: read(ben.s3, bucket)), (lambda: read(olga.s3, bucket))
    assert seen_at_once(calls, as_ben, lambda: olga.s3.delete_bucket_policy(Bucket=bucket)) == "AccessDenied"
    put_policy(olga, bucket, statement(Allow, "ben", "s3:GetObject", *everything))
    denied = statement(Deny, "*", "s3:GetObject", *everything)
    calls.heat(as_ben)
    assert seen_at_once(calls, as_olga, lambda: put_policy(olga, bucket, denied)) == "AccessDenied"
    assert outcome(as_ben) == "AccessDenied"


def test_lists_of_bucket_and_object(rig: S3Rig, calls: Calls, olga: Caller) -> None:
    """An anonymous reader, whom an object's list lets in, and a block of public lists shuts out."""
    bucket = new_name("lists")
    olga.s3.create_bucket(Bucket=bucket, ObjectOwnership="ObjectWriter")
    olga.s3.put_object(Bucket=bucket, Key="k", Body=b"old", ACL="public-read")
    nobody = anonymous_client(rig)

    def content() -> bytes:
        return read(nobody, bucket)

    private = {"Bucket": bucket, "Key": "k", "ACL": "private"}
    assert seen_at_once(calls, content, lambda: olga.s3.put_object_acl(**private)) == "AccessDenied"
    olga.s3.put_object_acl(**{**private, "ACL": "public-read"})
    block = {"IgnorePublicAcls": True}
    assert (
        seen_at_once(
            calls,
            content,
            lambda: olga.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block),
        )
        == "AccessDenied"
    )


def change_user(rig: S3Rig, name: str, body: dict[str, Any]) -> Any:
    return elsewhere(rig, "PATCH", f"/users/{name}", json.dumps(body).encode(), Content_Type="application/json")


def test_an_account_that_is_disabled_demoted_or_deleted(rig: S3Rig, calls: Calls, bucket: str) -> None:
    for name, change, expected in (
        ("dora", lambda name: change_user(rig, name, {"disabled": True}), "InvalidAccessKeyId"),
        ("dave", lambda name: change_user(rig, name, {"role": "member"}), "AccessDenied"),
        ("dina", lambda name: elsewhere(rig, "DELETE", f"/users/{name}"), "InvalidAccessKeyId"),
    ):
        person = account(rig, name)
        change_user(rig, name, {"role": "administrator"})
        assert calls.heat(lambda person=person: read(person.s3, bucket)) == b"old"
        change(name)
        code = outcome(lambda person=person: read(person.s3, bucket))
        assert code in (expected, "AccessDenied"), (name, code)


def test_credentials_that_are_ended(rig: S3Rig, calls: Calls, olga: Caller, bucket: str) -> None:
    """An S3 key, an API key and a log-in; the same account's others go on."""
    path = f"/files/{bucket}/k"
    other = account(rig, "olga")
    mine = calls.heat(lambda: read(other.s3, bucket))
    assert mine == b"old"
    bearer = {"Authorization": f"Bearer {token_of(rig, 'olga')}"}
    elsewhere_too = rig.cluster.ask_with(bearer, "DELETE", f"/auth/s3-keys/{other.key[0]}", proxy="2")
    assert elsewhere_too.status < 300, elsewhere_too.body
    assert outcome(lambda: read(other.s3, bucket)) == "InvalidAccessKeyId"
    assert read(olga.s3, bucket) == b"old"

    def status(headers: dict[str, str]) -> int:
        return rig.cluster.ask_with(headers, "GET", path).status

    made = rig.cluster.ask_with(
        {**bearer, "Content-Type": "application/json"}, "POST", "/auth/keys", b'{"name": "k"}'
    ).json
    key = {"X-Api-Key": made["key"]}
    assert calls.heat(lambda: status(key)) == calls.heat(lambda: status(bearer)) == 200
    assert rig.cluster.ask_with(bearer, "DELETE", f"/auth/keys/{made['id']}", proxy="2").status < 300
    assert (status(key), status(bearer)) == (401, 200)
    calls.heat(lambda: status(bearer))
    assert rig.cluster.ask_with(bearer, "POST", "/auth/logout", proxy="2").status < 300
    assert status(bearer) == 401


def test_limits_of_users_groups_and_sessions(rig: S3Rig, calls: Calls, olga: Caller, bucket: str) -> None:
    """A user's own policy, that of a group, and the key behind a session."""
    everything = policy(allow("s3:*", f"{bucket}/*", bucket))
    name, group = new_name("user"), new_name("group")
    olga.iam.create_user(UserName=name)
    made = olga.iam.create_access_key(UserName=name)["AccessKey"]
    user = Caller(rig, (made["AccessKeyId"], made["SecretAccessKey"]), "olga")
    content = lambda: read(user.s3, bucket)  # noqa: E731 - read in each of the lines below
    olga.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=everything)
    taken = seen_at_once(calls, content, lambda: olga.iam.delete_user_policy(UserName=name, PolicyName="p"))
    assert taken == "AccessDenied"
    olga.iam.create_group(GroupName=group)
    olga.iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=everything)
    olga.iam.add_user_to_group(GroupName=group, UserName=name)
    left = seen_at_once(calls, content, lambda: olga.iam.remove_user_from_group(GroupName=group, UserName=name))
    assert left == "AccessDenied"
    olga.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(allow("*", "*")))
    session = user.assume(self_role("olga"))
    inactive = {"UserName": name, "AccessKeyId": made["AccessKeyId"], "Status": "Inactive"}
    ended = seen_at_once(calls, lambda: read(session.s3, bucket), lambda: olga.iam.update_access_key(**inactive))
    assert ended == "InvalidAccessKeyId"


@pytest.mark.parametrize("links", [1, 2])
def test_a_role_of_another_account(rig: S3Rig, calls: Calls, olga: Caller, bucket: str, links: int) -> None:
    """It ends with every account that it was taken through: the taker's, and that of a role in between."""
    takers = [account(rig, new_name("taker")) for _ in range(links)]
    session, may_take = takers[0], takers[0].account
    for owner in (*takers[1:], olga):
        name = new_name("role")
        trust = {"Effect": "Allow", "Principal": {"AWS": may_take}, "Action": "sts:AssumeRole"}
        may_take = owner.iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
        owner.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(allow("*", "*")))
        session = session.assume(may_take)
    for taker in takers:
        ended = seen_at_once(
            calls,
            lambda: read(session.s3, bucket),
            lambda taker=taker: change_user(rig, taker.account, {"disabled": True}),
        )
        assert ended == "InvalidAccessKeyId"
        change_user(rig, taker.account, {"disabled": False})


# ---------------------------------------------------------------- what is never leased


def stays_cold(calls: Calls, work: Read) -> bool:
    """Whether each of several reads makes a look-up, although leases are to be had."""
    return all(calls.of(work) for _ in range(6))


def test_what_depends_on_the_request_or_the_time_is_asked_each_time(
    rig: S3Rig, calls: Calls, olga: Caller, bucket: str
) -> None:
    """Conditions on address and time, named versions, and content whose key may be disabled."""
    calls.heat(lambda: read(olga.s3, bucket))
    ben = account(rig, "ben")
    for condition in (
        {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}},
        {"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}},
    ):
        put_policy(olga, bucket, statement(Allow, "ben", "s3:GetObject", f"{bucket}/*", Condition=condition))
        assert stays_cold(calls, lambda: read(ben.s3, bucket)), condition
    olga.s3.delete_bucket_policy(Bucket=bucket)
    olga.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = olga.s3.put_object(Bucket=bucket, Key="k", Body=b"old")["VersionId"]
    assert stays_cold(calls, lambda: read(olga.s3, bucket, VersionId=version))
    olga.s3.put_object(Bucket=bucket, Key="secret", Body=b"old", ServerSideEncryption="aws:kms")
    assert stays_cold(calls, lambda: read(olga.s3, bucket, "secret"))


def test_a_lease_serves_only_its_own_kind_of_request(rig: S3Rig, calls: Calls, olga: Caller, bucket: str) -> None:
    """Another identity, another door and another expected owner are asked about by themselves."""
    calls.heat(lambda: read(olga.s3, bucket))
    ben = account(rig, "ben")
    assert outcome(lambda: read(ben.s3, bucket)) == "AccessDenied"
    assert outcome(lambda: read(anonymous_client(rig), bucket)) == "AccessDenied"
    assert outcome(lambda: read(olga.s3, bucket, ExpectedBucketOwner="ben")) == "AccessDenied"
    path = f"/files/{bucket}/k"
    forged = {"Authorization": f"Bearer {olga.key[0]}"}
    assert rig.cluster.ask_with(forged, "GET", path).status == 401


def test_an_expiring_key_is_refused_in_time(rig: S3Rig, calls: Calls, olga: Caller, bucket: str) -> None:
    """A lease ends before the credential does."""
    session = Caller(rig, (), "olga").of(olga.sts.get_session_token(DurationSeconds=900)["Credentials"])
    calls.heat(lambda: read(session.s3, bucket))
    rig.cluster.pass_time(895.0)
    calls.heat(lambda: read(session.s3, bucket))
    rig.cluster.pass_time(6.0)
    assert outcome(lambda: read(session.s3, bucket)) == "ExpiredToken"


def test_a_lease_is_looked_up_again_after_a_while(rig: S3Rig, calls: Calls, olga: Caller, bucket: str) -> None:
    """So what no row says, such as which file servers are up, is never older than that."""
    calls.heat(lambda: read(olga.s3, bucket))
    rig.cluster.pass_time(10.0)
    assert calls.of(lambda: read(olga.s3, bucket)) == 1
