"""Rotates the cluster's certificate authority: notes what programs trust and present, and takes the next step.

1. `rotate` makes another authority. `note_use` returns it for the reply to every program's next heartbeat.
2. `step` lets it issue certificates once every program that runs trusts it, at its listener too. Each program then
   renews its certificate (`runtime.tls.renewal`). The directory keeps one of the old authority, so that a program that
   was away meanwhile can still call it, and learn of the new one.
3. `retire` deletes the old authority's keys, by an administrator's decision, once no program needs them: each shows a
   certificate and a peer token of the new one, and file servers have had their redo records sealed again. The directory
   gets a certificate of the new one, and when it listens with that, `step` ends the trust in the old one everywhere.

The steps are in the authority's key file (`runtime.tls.authority_keys`), so a restart continues where it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.cluster.programs import DOWN_SECONDS, ProgramMembers
from lockstep_store.runtime.tls.authority_keys import CLOCK_SKEW, Authority, AuthorityKeys, vouches
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority, PeerIdentity
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import Conflict
from lockstep_store.wire.messages.authorities import (
    AuthoritiesReply,
    AuthorityInfo,
    AuthorityUse,
    ProgramName,
    RetireAuthorityRequest,
    TrustNews,
)

STEP_SECONDS = 0.5
IDLE_SECONDS = 60.0
_SILENT = "has not reported since the directory's start"
_TOO_OLD = "runs a version that cannot follow a rotation: update it first"


@dataclass(frozen=True)
class _Reported:
    peer: PeerIdentity
    use: AuthorityUse | None
    redo_sealed_by: list[str] | None
    at: float
    """Directory time."""

    @property
    def can_follow(self) -> bool:
        """Whether its version knows how to follow a rotation."""
        return self.use is not None and (self.peer.role != "file_server" or self.redo_sealed_by is not None)


class Authorities:
    """The cluster's certificate authorities. Thread-safe."""

    def __init__(self, clock: DirectoryClock, authority: CertificateAuthority, programs: ProgramMembers) -> None:
        self._clock = clock
        self._authority = authority
        self._programs = programs
        self._deciding = threading.Lock()
        self._reported: dict[tuple[str, str], _Reported] = {}
        self._own: AuthorityUse | None = None
        """What is in force at the directory's listener; None where there is none."""
        self.wake: Callable[[], None] = lambda: None
        self.renew_own: Callable[[], None] = lambda: None
        """Gives the directory a certificate of the authority that issues one for it now."""

    # ------------------------------------------------------------ what administrators do

    def all(self) -> AuthoritiesReply:
        """Return the authorities, the one that issues certificates first."""
        keys = self._authority.keys
        return AuthoritiesReply([self._info(keys, one) for one in keys.authorities])

    def rotate(self) -> AuthoritiesReply:
        """Make another authority. It is on disk before any program learns of it.

        Raises Conflict while one is being replaced, or when a program is too old to follow.
        """
        with self._deciding:
            too_old = [name for name, last in self._members() if last is not None and not last.can_follow]
            if too_old:
                raise Conflict(f"{'; '.join(f'{_text(name)} {_TOO_OLD}' for name in too_old)}")
            self._authority.introduce()
            crash_point("directory.authority.introduced")
        log.warning("another certificate authority was made; programs learn to trust it")
        self.wake()
        return self.all()

    def retire(self, request: RetireAuthorityRequest) -> AuthoritiesReply:
        """Delete an old authority's keys, and end the trust in it. Programs left behind are revoked.

        Raises NotFound for an unknown one, Conflict with the reasons while programs that are not named need it.
        """
        with self._deciding:
            keys = self._authority.keys
            old = keys.find(request.id)
            keys.retire(old.id)  # refuses any but an old one, before its needs are looked at
            left_behind = {(one.role, one.id) for one in request.without}
            needs = list(self._needs(keys))
            reasons = [f"{_text(name)} {why}" for name, why in needs if (name.role, name.id) not in left_behind]
            if reasons:
                raise Conflict(
                    f"authority {old.id} is still needed: {'; '.join(reasons)}. "
                    "Start these programs, remove them, or leave them behind (--without)"
                )
            for name, _ in needs:
                self._programs.revoke_if_known(name.role, name.id)
            self._authority.retire(old.id)
            crash_point("directory.authority.retired")
            self.renew_own()
        log.warning("certificate authority %s was retired", old.id)
        self.wake()
        return self.all()

    # ------------------------------------------------------------ programs

    def note_use(
        self, peer: PeerIdentity, use: AuthorityUse | None, *, redo_sealed_by: list[str] | None = None
    ) -> tuple[TrustNews | None, str]:
        """Note what a program's heartbeat reports. Returns the authorities, unless it has them, and the id of the one
        that issues its certificates."""
        self._reported[peer.role, peer.id] = _Reported(peer, use, redo_sealed_by, self._clock.now())
        if use is None:
            return None, ""
        keys = self._authority.keys
        has_them = set(use.trusted) == {one.id for one in keys.authorities}
        return None if has_them else self._authority.trust_news(), self._authority.issuer_for(peer.role).id

    def note_listener(self, use: AuthorityUse) -> None:
        """Note the authorities in force at the directory's own listener."""
        self._own = use

    def step(self) -> float:
        """Take the next step of a rotation if nothing is in its way; return the seconds until the next look."""
        with self._deciding:
            keys = self._authority.keys
            new = keys.next
            if new is not None:
                if not list(self._not_trusting(new)):
                    self._authority.promote()
                    crash_point("directory.authority.promoted")
                    log.warning("certificate authority %s issues certificates from now on", new.id)
                return STEP_SECONDS
            if any(one.key is None for one in keys.authorities):
                if self._own is None or self._own.issuer == keys.issuing.id:
                    self._authority.forget_retired()
                    crash_point("directory.authority.forgotten")
                    log.warning("the retired certificate authority is not trusted any more")
                return STEP_SECONDS
        return IDLE_SECONDS

    def _members(self) -> Iterator[tuple[ProgramName, _Reported | None]]:
        """Yield all programs but the directory, each with its last report since the directory's start."""
        for role, id in self._programs.members():
            yield ProgramName(role, id), self._reported.get((role, id))

    def _not_trusting(self, new: Authority) -> Iterator[str]:
        """Yield what the next authority waits for: programs that run, or may run, and do not trust it."""
        if self._own is not None and new.id not in self._own.trusted:
            yield "the directory server's listener does not trust it yet"
        for name, last in self._members():
            if last is None and self._clock.since_start() < DOWN_SECONDS:
                yield f"{_text(name)} {_SILENT}"
            if last is None or self._clock.now() - last.at >= DOWN_SECONDS:
                continue  # it learns of it when it returns
            if last.use is None:
                yield f"{_text(name)} {_TOO_OLD}"
            elif new.id not in last.use.trusted:
                yield f"{_text(name)} does not trust it yet"

    def _needs(self, keys: AuthorityKeys) -> Iterator[tuple[ProgramName, str]]:
        """Yield the programs that would be left behind without the old authority, and why."""
        issuing = keys.issuing
        for name, last in self._members():
            if last is None:
                yield name, _SILENT
            elif last.use is None or not last.can_follow:
                yield name, _TOO_OLD
            elif issuing.id not in last.use.trusted:
                yield name, "does not trust the new authority yet"
            elif last.use.issuer != issuing.id:
                yield name, "presents a certificate from it"
            elif last.peer.by_old_authority:
                yield name, "presents a peer token from it"
            elif set(last.redo_sealed_by or ()) - {issuing.id}:
                yield name, "keeps redo records encrypted with its key"

    def _info(self, keys: AuthorityKeys, one: Authority) -> AuthorityInfo:
        certificate, new = one.certificate, keys.next
        info = AuthorityInfo(
            one.id,
            "old",
            certificate.fingerprint(hashes.SHA256()).hex(),
            certificate.subject.rfc4514_string(),
            (certificate.not_valid_before_utc + CLOCK_SKEW).timestamp(),
            certificate.not_valid_after_utc.timestamp(),
            vouches=vouches(certificate),
        )
        if one is keys.issuing:
            info.state = "current"
        elif one is new:
            info.state, info.waiting_for = "next", [*self._not_trusting(one)]
        elif one.key is None:
            info.state = "leaving"
        else:
            info.needed_by = [f"{_text(name)} {why}" for name, why in self._needs(keys)]
        return info


def _text(name: ProgramName) -> str:
    return f"{'proxy' if name.role == 'client_proxy' else 'file server'} {name.id}"
