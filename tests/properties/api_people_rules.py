"""Buckets and people, by rule: make, change, delete and list buckets; API keys, and what a revoked one opens."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from lockstep_store.wire.codec import decoder
from lockstep_store.wire.messages.buckets import BucketInfo, BucketsReply
from lockstep_store.wire.messages.people import AccountInfo, ApiKeyInfo, ApiKeysReply
from tests.properties.api_machine import ADMIN, BUCKETS, ApiMachine, buckets, people
from tests.properties.api_model import Bucket, Refused

_bucket, _bucket_list = decoder(BucketInfo), decoder(BucketsReply)
_account, _key, _keys = decoder(AccountInfo), decoder(ApiKeyInfo), decoder(ApiKeysReply)


class PeopleRules(ApiMachine):
    """See the module."""

    # ------------------------------------------------------------ buckets

    @rule(
        who=people, bucket=st.sampled_from(BUCKETS), versioning=st.sampled_from(("off", "enabled", "suspended")),
        shared=st.booleans(),
    )  # fmt: skip
    def create_bucket(self, who: str, bucket: str, versioning: str, shared: bool) -> None:
        answer = self.post(
            who, "/buckets", {"name": self.bucket_name(bucket), "versioning": versioning, "shared": shared}
        )
        if bucket in self.model.buckets:
            return self.refused(answer, Refused(409, "already_exists"))
        assert answer.status == 201, answer.body[:300]
        self.model.buckets[bucket] = Bucket(who, versioning, shared)
        self.same_bucket(_bucket.decode(answer.body), bucket)
        return None

    def same_bucket(self, found: BucketInfo, bucket: str) -> None:
        kept = self.model.buckets[bucket]
        facts = (found.name, found.owner, found.versioning, found.shared)
        assert facts == (self.bucket_name(bucket), kept.owner, kept.versioning, kept.shared)

    @rule(
        who=people,
        bucket=st.sampled_from(BUCKETS[1:]),
        versioning=st.sampled_from((None, "off", "enabled", "suspended")),
        shared=st.sampled_from((None, True, False)),
    )
    def change_bucket(self, who: str, bucket: str, versioning: str | None, shared: bool | None) -> None:
        body = {name: value for name, value in (("versioning", versioning), ("shared", shared)) if value is not None}
        answer = self.post(who, f"/buckets/{self.bucket_name(bucket)}", body, "PATCH")
        try:
            kept = self.model.owned(bucket, who)
            if versioning == "off" != kept.versioning:
                raise Refused(409, "conflict")
        except Refused as refusal:
            return self.refused(answer, refusal)
        kept.versioning = versioning or kept.versioning
        kept.shared = kept.shared if shared is None else shared
        assert answer.status == 200
        self.same_bucket(_bucket.decode(answer.body), bucket)
        return None

    @rule(who=people, bucket=buckets, delete=st.booleans())
    def look_at_or_delete_bucket(self, who: str, bucket: str, delete: bool) -> None:
        answer = self.ask(who, "DELETE" if delete else "GET", f"/buckets/{self.bucket_name(bucket)}")
        try:
            if not delete:
                self.model.usable(bucket, who)
                return self.same_bucket(_bucket.decode(answer.body), bucket)
            kept = self.model.owned(bucket, who)
            if bucket == "files":
                raise Refused(409, "conflict")
            if kept.paths:
                raise Refused(409, "bucket_not_empty")
        except Refused as refusal:
            return self.refused(answer, refusal)
        assert answer.status == 204
        self.model.delete_bucket(bucket)

        return None

    @rule(who=people)
    def list_buckets(self, who: str) -> None:
        answer = self.ask(who, "GET", "/buckets")
        mine = {self.bucket_name(bucket): bucket for bucket in BUCKETS}
        found = {info.name: info for info in _bucket_list.decode(answer.body).buckets if info.name in mine}
        visible = {n for n, b in self.model.buckets.items() if b.shared or who in (b.owner, ADMIN)}
        assert {mine[name] for name in found} == visible
        for name in found:
            self.same_bucket(found[name], mine[name])

    # ------------------------------------------------------------ people

    @rule(who=st.sampled_from(("ann", "bob")))
    def create_key(self, who: str) -> None:
        if len(self.keys[who]) >= 3:
            return
        made = _key.decode(self.ask(who, "POST", "/auth/keys", b'{"name":"model"}').body)
        assert made.key
        self.keys[who][made.id] = made.key

    @precondition(lambda self: any(self.keys.values()))
    @rule(who=st.sampled_from(("ann", "bob")))
    def revoke_key(self, who: str) -> None:
        if not self.keys[who]:
            return
        id, secret = next(iter(self.keys[who].items()))
        assert self.ask(who, "DELETE", f"/auth/keys/{id}").status == 204
        del self.keys[who][id]
        self.dead_keys.append(secret)

    @rule(who=people)
    def who_am_i(self, who: str) -> None:
        assert _account.decode(self.ask(who, "GET", "/auth/me").body).name == who
        if who != ADMIN:
            listed = {key.id for key in _keys.decode(self.ask(who, "GET", "/auth/keys").body).keys}
            assert set(self.keys[who]) <= listed

    @precondition(lambda self: self.dead_keys)
    @rule(address=st.sampled_from(("/auth/me", "/buckets", "/files/files/a", "/files/files", "/locks")))
    def a_revoked_key_opens_nothing(self, address: str) -> None:
        answer = self.door.ask({"X-Api-Key": self.dead_keys[-1]}, "GET", address)
        self.refused(answer, Refused(401, "not_logged_in"))
