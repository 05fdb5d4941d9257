"""Puts the identities below accounts together."""

from __future__ import annotations

from dataclasses import dataclass

from directory_server.features.identities.identities import Identities, IdentityOwners
from directory_server.features.identities.sessions import Sessions
from directory_server.features.identities.user_keys import UserKeys
from directory_server.features.identities.web_identities import WebIdentities
from directory_server.identity_providers.providers import IdentityProviders
from directory_server.metadata.store import MetadataStore
from directory_server.people.access_keys import PeopleClock, S3Keys
from directory_server.people.accounts import Accounts
from directory_server.people.audit import AuditJournal


@dataclass(frozen=True)
class IdentityServices:
    """What serves the calls of STS and IAM."""

    sessions: Sessions
    identities: Identities
    user_keys: UserKeys
    web_identities: WebIdentities

    @classmethod
    def of(
        cls,
        store: MetadataStore,
        clock: PeopleClock,
        accounts: Accounts,
        keys: S3Keys,
        audit: AuditJournal,
        providers: IdentityProviders,
    ) -> IdentityServices:
        """The services over a directory's accounts and keys."""
        owners = IdentityOwners(store, accounts)
        return cls(
            Sessions(store, clock, accounts, keys, audit),
            Identities(store, clock, owners, audit, keys.forget_all),
            UserKeys(store, owners, keys, audit),
            WebIdentities(store, clock, keys, audit, providers),
        )
