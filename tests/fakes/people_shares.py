"""Sharing in the cluster in memory: links that nobody visits, grants that nobody judges, settings that nobody obeys."""

from __future__ import annotations

from msgspec.structs import replace

from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.messages import access as am
from lockstep_store.wire.messages import s3
from lockstep_store.wire.messages import shares as sm
from lockstep_store.wire.messages.base import CredentialRequest, Nothing

NOW = 1_700_000_000.0


class SharesCore:
    """Each link belongs to who made it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[sm.ShareLink] = []
        self.link_passwords: list[str] = []
        self.grants: dict[tuple[str, str], dict[str, am.AccessLevel]] = {}
        """Levels by account, of each bucket and path."""
        self.settings: dict[tuple[str, str], str] = {}
        """Settings as JSON, by bucket and name."""
        self.previews: list[am.PreviewPolicyRequest] = []

    def _who(self, credential: str, what: str) -> str:
        raise NotImplementedError

    def _shares(self, request: sm.SharesRequest) -> sm.SharesReply:
        """Pages of two."""
        who = self._who(request.credential, "share")
        mine = [one for one in self.links if one.account == who and request.bucket in ("", one.bucket)]
        rest = [one for one in mine if one.id > request.after]
        return sm.SharesReply(rest[:2], rest[1].id if len(rest) > 2 else None)

    def _shares_create(self, request: sm.CreateShareRequest) -> sm.ShareLink:
        who = self._who(request.credential, "share")
        made = sm.ShareLink(
            f"{len(self.links):016}",
            request.bucket,
            request.path,
            not request.path or request.path.endswith("/"),
            request.mode,
            who,
            NOW,
            0,
            "active",
            has_password=bool(request.password),
            expires_at=None if request.expires_in is None else NOW + request.expires_in,
            max_uses=request.max_uses,
            max_bytes=request.max_bytes,
            note=request.note,
        )
        self.links.append(made)
        self.link_passwords.append(request.password)
        return replace(made, token="T" * 27)

    def _shares_revoke(self, request: sm.RevokeShareRequest) -> sm.ShareLink:
        who = self._who(request.credential, "share")
        for link in self.links:
            if link.id == request.id and link.account == who:
                self.links.remove(link)
                return link
        raise NotFound(f"you have no link {request.id!r}")

    def _access(self, request: am.AccessRequest) -> am.AccessReply:
        self._who(request.credential, "see access")
        return self._access_reply(request.bucket, request.path)

    def _access_set(self, request: am.SetAccessRequest) -> am.AccessReply:
        self._who(request.credential, "change access")
        given = self.grants.setdefault((request.bucket, request.path), {})
        if request.replace:
            given.clear()
        for entry in request.grants:
            given.pop(entry.account, None)
            if entry.level is not None:
                given[entry.account] = entry.level
        return self._access_reply(request.bucket, request.path)

    def _access_preview(self, request: am.PreviewPolicyRequest) -> am.AccessReply:
        self._who(request.credential, "try a policy")
        self.previews.append(request)
        return self._access_reply(request.bucket, request.path)

    def _bucket_settings(self, request: s3.BucketSettingRequest) -> s3.SettingReply:
        self._who(request.credential, "read a setting")
        return s3.SettingReply(self.settings.get((request.bucket, request.name)))

    def _bucket_settings_put(self, request: s3.PutBucketSettingRequest) -> Nothing:
        self._who(request.credential, "change a setting")
        self.settings.pop((request.bucket, request.name), None)
        if request.value is not None:
            self.settings[request.bucket, request.name] = request.value
        return Nothing()

    def _access_shared_with_me(self, request: CredentialRequest) -> am.SharedWithMeReply:
        who = self._who(request.credential, "see what is shared")
        mine = [(place, given[who]) for place, given in self.grants.items() if who in given]
        return am.SharedWithMeReply([am.SharedWithMe(*place, "olga", level) for place, level in mine])

    def _access_reply(self, bucket: str, path: str) -> am.AccessReply:
        given = self.grants.get((bucket, path), {})
        people = [
            am.AccessOf(name, [level], "grant", "a grant says so", name == "ann") for name, level in given.items()
        ]
        people.append(am.AccessOf(am.ANY_ACCOUNT, [], "nothing", "no rule says so"))
        placed = [am.PlacedGrant(path, name, level) for name, level in given.items()]
        return am.AccessReply(bucket, path, "olga", False, am.EVERYBODY in given, placed, people, True)
