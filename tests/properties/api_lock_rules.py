"""Locks, by rule: acquire, stand in line, ask again, renew, release, break, list, and time that passes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from lockstep_store.wire.codec import decoder
from lockstep_store.wire.messages.locks import AcquireReply, LockInfo, LocksReply
from tests.fakes.wsgi import Answer
from tests.properties.api_machine import ADMIN, BUCKETS, ApiMachine, people, query, spots
from tests.properties.api_model import PLACE_SECONDS, Claim, Refused

_acquired, _lock, _locks = decoder(AcquireReply), decoder(LockInfo), decoder(LocksReply)


class LockRules(ApiMachine):
    """See the module."""

    # ------------------------------------------------------------ locks

    def lasting(self, lease: float) -> float:
        """A lease of this example. Where nobody can move the clock it moves by itself, and the model's does not: then
        no lease may be over before the example is."""
        return lease if self.door.advance is not None else 2000.0 + lease

    def lock_paths(self, wanted: frozenset[tuple[str, str]]) -> list[dict[str, str]]:
        return [{"bucket": self.bucket_name(b), "path": self.path_name(p)} for b, p in sorted(wanted)]

    @rule(
        who=people,
        wanted=st.frozensets(spots, min_size=1, max_size=3),
        lease=st.sampled_from((10.5, 61.5, 600.5)),
        queue=st.booleans(),
    )
    def acquire(self, who: str, wanted: frozenset[int], lease: float, queue: bool) -> None:
        id = f"request-{self.example}-{next(self.request_ids):08d}"
        claim = Claim(id, who, frozenset(map(self.at, wanted)), self.lasting(lease), 0.0)
        self.ask_for_lock(claim, queue)

    def ask_for_lock(self, claim: Claim, queue: bool) -> None:
        who, model = claim.who, self.model
        body = {
            "paths": self.lock_paths(claim.paths), "lease_seconds": claim.lease, "queue": queue, "client": who,
            "request_id": claim.request_id,
        }  # fmt: skip
        answer = self.post(who, "/locks", body)
        try:
            # The directory looks at the buckets one after another, in no order that is promised.
            refusals = []
            for bucket in sorted({bucket for bucket, _ in claim.paths}):
                try:
                    model.usable(bucket, who)
                except Refused as refusal:
                    refusals.append(refusal)
            if refusals:
                raise next((r for r in refusals if r.status == answer.status), refusals[0])
            if model.free(claim.paths, model.queue):
                return self.granted(_acquired.decode(answer.body), claim)
            if not queue:
                raise Refused(423, "locked")
            if model.would_deadlock(who, claim.paths):
                raise Refused(409, "deadlock")
        except Refused as refusal:
            return self.refused(answer, refusal)
        claim.ends = model.now + PLACE_SECONDS
        model.queue.append(claim)
        return self.waiting(answer, claim)

    def granted(self, reply: AcquireReply, claim: Claim) -> None:
        assert reply.waiter is None
        assert reply.lock is not None
        assert reply.lock.number > self.highest_lock, "lock numbers only rise"
        self.highest_lock = claim.number = reply.lock.number
        claim.ends = self.model.now + claim.lease
        self.model.held.append(claim)

    def waiting(self, answer: Answer, claim: Claim) -> None:
        assert answer.status == 202, answer.body[:300]
        reply = _acquired.decode(answer.body)
        assert reply.waiter is not None
        assert reply.waiter.id == claim.request_id
        assert reply.waiter.place == self.model.place(claim), (reply, self.model.queue)

    @precondition(lambda self: self.model.queue or self.model.held)
    @rule(pick=st.integers(0, 50), queue=st.just(True))
    def ask_again(self, pick: int, queue: bool) -> None:
        """The same request once more: it keeps a place, or shows the lock that was granted meanwhile."""
        claims = [*self.model.queue, *self.model.held]
        claim = claims[pick % len(claims)]
        body = {
            "paths": self.lock_paths(claim.paths), "lease_seconds": claim.lease, "queue": queue, "client": claim.who,
            "request_id": claim.request_id,
        }  # fmt: skip
        answer = self.post(claim.who, "/locks", body)
        refused = False
        for bucket in {bucket for bucket, _ in claim.paths}:
            try:
                self.model.usable(bucket, claim.who)
            except Refused:
                refused = True
        if refused:
            assert answer.status in (403, 404), answer.status
        elif claim.number:
            assert answer.status == 200, answer.body[:300]
            lock = _acquired.decode(answer.body).lock
            assert lock is not None
            assert lock.number == claim.number
        else:
            claim.ends = self.model.now + PLACE_SECONDS
            self.waiting(answer, claim)

    @rule(who=people, pick=st.integers(0, 50), lease=st.sampled_from((None, 20.5)))
    def renew(self, who: str, pick: int, lease: float | None) -> None:
        claims = [*self.model.held, *self.model.ended[-3:]]
        if not claims:
            return None
        claim = claims[pick % len(claims)]
        lease = lease and self.lasting(lease)
        answer = self.post(who, f"/locks/lock-{claim.number}", {} if lease is None else {"lease_seconds": lease}, "PUT")
        if claim not in self.model.held:
            return self.refused(answer, Refused(409, "lock_stale"))
        if claim.who != who:
            return self.refused(answer, Refused(403, "forbidden"))
        if not self.model.may_lock(claim):
            return self.refused(answer, Refused(403, "forbidden"))
        assert answer.status == 200
        assert _lock.decode(answer.body).number == claim.number
        claim.lease = lease or claim.lease
        claim.ends = self.model.now + claim.lease
        return None

    @rule(who=people, pick=st.integers(0, 50), force=st.booleans())
    def release_lock(self, who: str, pick: int, force: bool) -> None:
        """Release one's own, try another's, break as administrator or bucket owner, give up a place, repeat."""
        claims = [*self.model.held, *self.model.queue, *self.model.ended[-2:]]
        if not claims:
            return None
        claim = claims[pick % len(claims)]
        id = f"lock-{claim.number}" if claim.number else claim.request_id
        answer = self.ask(who, "DELETE", f"/locks/{id}" + query(**{"break": "true"} if force else {}))
        if claim in self.model.held:
            owners = {self.model.buckets[bucket].owner for bucket, _ in claim.paths}
            if who not in ((ADMIN, *owners) if force else (claim.who,)):
                return self.refused(answer, Refused(403, "forbidden"))
            self.model.end(claim)
        elif claim in self.model.queue:
            if force or claim.who != who:
                return self.refused(answer, Refused(404, "not_found"))
            self.model.queue.remove(claim)
            self.model.settle()
        elif force or claim.who != who:
            return self.refused(answer, Refused(404, "not_found"))
        assert answer.status == 204, answer.body[:300]
        return None

    @invariant()
    def grants_show(self) -> None:
        """Locks granted from the queue are learnt at once, so that their numbers can be used."""
        if any(claim.number == -1 for claim in self.model.held):
            self.list_locks(ADMIN)

    @rule(who=people)
    def list_locks(self, who: str) -> None:
        """Every lock and every place, with those of its paths that the person may see."""
        reply = _locks.decode(self.ask(who, "GET", "/locks").body)
        held = {lock.number: lock for lock in reply.locks if self.is_mine(lock.paths)}
        by_paths = {self.given_paths(lock.paths): lock for lock in held.values()}
        seen = [claim for claim in self.model.held if self.visible(claim, who)]
        for claim in sorted(seen, key=lambda claim: self.model.held.index(claim)):
            lock = by_paths.get(self.visible(claim, who))
            assert lock is not None, (claim, reply)
            assert lock.account == claim.who
            if claim.number == -1:
                claim.number = lock.number
                assert lock.number > 0
            assert lock.number == claim.number
            self.highest_lock = max(self.highest_lock, lock.number)
            if self.door.advance is not None:
                assert abs(lock.seconds_left - (claim.ends - self.model.now)) < 0.01
        assert len(held) == len(seen)
        line = [waiter for waiter in reply.waiters if self.is_mine(waiter.paths)]
        expected = [claim for claim in self.model.queue if self.visible(claim, who)]
        assert [waiter.id for waiter in line] == [claim.request_id for claim in expected]
        for waiter, claim in zip(line, expected, strict=True):
            assert waiter.place == self.model.place(claim)
            assert self.given_paths(waiter.paths) == self.visible(claim, who)

    def is_mine(self, given: Any) -> bool:
        return all(path.path.startswith(self.path_name("")) for path in given)

    def given_paths(self, given: Any) -> frozenset[tuple[str, str]]:
        plain = {self.bucket_name(bucket): bucket for bucket in BUCKETS}
        return frozenset((plain[path.bucket], path.path.removeprefix(self.path_name(""))) for path in given)

    def visible(self, claim: Claim, who: str) -> frozenset[tuple[str, str]]:
        """The claim's paths in buckets that the person may use."""
        usable = {name for name, bucket in self.model.buckets.items() if bucket.shared or who in (bucket.owner, ADMIN)}
        return frozenset((bucket, path) for bucket, path in claim.paths if bucket in usable)

    @precondition(lambda self: self.door.advance is not None)
    @rule(seconds=st.sampled_from((7.0, 14.0)))
    def time_passes(self, seconds: float) -> None:
        assert self.door.advance is not None
        self.door.advance(seconds)
        self.model.now += seconds
        self.model.settle()
