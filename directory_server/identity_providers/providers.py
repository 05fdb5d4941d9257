"""The OpenID Connect providers that administrators configured.

Only administrators do, because a provider makes the cluster send requests to any address, and says who people are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from blake3 import blake3

from directory_server.identity_providers.known_provider import KnownProvider, ProviderClock, Spawn, in_a_thread
from directory_server.identity_providers.outgoing import Ask, ask
from directory_server.identity_providers.provider import Provider, check_provider
from directory_server.metadata.sealed_rows import SealedRow
from directory_server.metadata.statements import identity_providers as rows
from directory_server.metadata.store import MetadataStore, Reader, Tx
from lockstep_store.runtime.storage.sealing import Sealer
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, Conflict, LockstepError, NotFound, NotLoggedIn
from lockstep_store.wire.messages.single_sign_on import ProviderInfo, ProvidersReply, PutProviderRequest

MAX_PROVIDERS = 32
IDLE_SECONDS = 600.0
_SEAL_CONTEXT = b"lockstep 2026 identity provider"
_stored = decoder(Provider)


class IdentityProviders:
    """Thread-safe. Tests replace `ask` and `spawn`."""

    def __init__(
        self,
        store: MetadataStore,
        clock: ProviderClock,
        sealer: Callable[[], Sealer],
    ) -> None:
        self._store = store
        self._clock = clock
        self._sealer = sealer
        self.ask: Ask = ask
        self.spawn: Spawn = in_a_thread
        self._guard = threading.Lock()
        self._known: dict[str, KnownProvider] | None = None
        self.wake: Callable[[], None] = lambda: None
        """Called when a provider was added, so that `step` runs soon."""

    # ------------------------------------------------------------ what administrators ask

    def infos(self) -> ProvidersReply:
        """Return every provider with its state."""
        known = self._all()
        with self._store.read() as reader:
            return ProvidersReply([self._info(row, known.get(row.name)) for row in rows.providers(reader)])

    def put(self, request: PutProviderRequest) -> ProviderInfo:
        """Add a provider or replace its settings, durably. BadRequest for settings that can never work.

        Conflict if another provider has that issuer.
        """
        given = request.settings
        settings = Provider(
            issuer=given.issuer,
            client_id=given.client_id,
            client_secret=request.client_secret,
            ca_pem=request.ca_pem,
            audiences=tuple(given.audiences),
            scopes=tuple(given.scopes),
            username_claim=given.username_claim,
            create_accounts=given.create_accounts,
            require=tuple(given.require),
            administrators=tuple(given.administrators),
            read_only=tuple(given.read_only),
        )
        check_provider(settings)
        name = request.name
        made = KnownProvider(name, settings, self._clock, self.ask, self.spawn)  # refuses a CA file that is none

        def work(tx: Tx) -> rows.ProviderRow:
            known = rows.providers(tx)
            if len(known) >= MAX_PROVIDERS and all(row.name != name for row in known):
                raise Conflict(f"there are {MAX_PROVIDERS} identity providers already: remove one first")
            for row in known:
                if row.name != name and row.issuer == settings.issuer:
                    raise Conflict(f"the identity provider {row.name!r} has this issuer already: change that one")
            sealed = self._seal(name, settings)  # here, so that no rotation of the storage keys comes between
            row = rows.ProviderRow(name, settings.issuer, sealed, self._clock.wall())
            rows.put_provider(tx, row)
            return row

        self._all()
        with self._guard:
            row = self._store.write(work)
            assert self._known is not None
            self._known = self._known | {name: made}
        self.wake()
        return self._info(row, made)

    def remove(self, name: str) -> None:
        """Remove a provider. Links of accounts stay, for a provider with the same issuer."""
        self._all()
        with self._guard:
            if not self._store.write(lambda tx: rows.drop_provider(tx, name)):
                raise _no_such(name)
            assert self._known is not None
            self._known = {other: known for other, known in self._known.items() if other != name}

    def sealed_rows(self, reader: Reader) -> Iterator[SealedRow]:
        """Return the sealed settings of every provider."""
        yield from map(_sealed_row, rows.providers(reader))

    # ------------------------------------------------------------ what log-ins ask

    def for_people(self, name: str = "") -> KnownProvider:
        """Return the provider `name`, or the only one, that people log in with. NotFound if there is none."""
        usable = self.all_for_people()
        if name:
            found = next((one for one in usable if one.name == name), None)
            if found is None:
                raise _no_such(name)
            return found
        if not usable:
            raise NotFound("single sign-on is not set up here: log in with a password")
        if len(usable) > 1:
            names = ", ".join(one.name for one in usable)
            raise BadRequest(f"there are several identity providers ({names}): name one")
        return usable[0]

    def all_for_people(self) -> list[KnownProvider]:
        """Return the providers that people can log in with."""
        return [one for one in self._all().values() if one.settings.client_id]

    def of_token(self, token: str) -> KnownProvider:
        """Return the provider that a token claims to be from. NotLoggedIn if there is none."""
        from directory_server.identity_providers import id_tokens

        try:
            issuer = id_tokens.unverified_issuer(token)
        except id_tokens.InvalidIdToken as error:
            raise NotLoggedIn(f"the web identity token is not accepted: {error}", id_token=True) from error
        found = next((one for one in self._all().values() if one.settings.issuer == issuer), None)
        if found is None:
            raise NotLoggedIn(f"no identity provider with the issuer {issuer[:200]!r} is set up here", id_token=True)
        return found

    def named(self, name: str) -> KnownProvider:
        """Return a provider. NotFound if there is none of that name."""
        found = self._all().get(name)
        if found is None:
            raise _no_such(name)
        return found

    def demand_unchanged(self, tx: Tx, known: KnownProvider) -> None:
        """Raise NotLoggedIn if the provider was removed, or its settings changed, since a log-in began.

        For the transaction of what its word is good for: a person takes minutes, so what ends a provider, or lets
        fewer people in, would otherwise come too late.
        """
        row = next((row for row in rows.providers(tx) if row.name == known.name), None)
        if row is None or self._settings(row) != known.settings:
            raise NotLoggedIn(
                f"the identity provider {known.name} was removed or changed while you logged in: begin again",
                id_token=True,
            )

    # ------------------------------------------------------------ the rest

    def step(self) -> float:
        """Begin to fetch what is due; return the seconds until the next step."""
        pauses = [IDLE_SECONDS]
        for known in self._all().values():
            if known.seconds_until_due() <= 0:
                known.refresh()
            pauses.append(max(1.0, known.seconds_until_due()))
        return min(pauses)

    def reload(self) -> None:
        """Begin again with the providers in the metadata, which has gone on without this object."""
        with self._guard:
            self._known = None

    def _all(self) -> dict[str, KnownProvider]:
        known = self._known
        if known is not None:
            return known
        with self._guard:
            if self._known is None:
                with self._store.read() as reader:
                    found = rows.providers(reader)
                self._known = {row.name: one for row in found if (one := self._load(row)) is not None}
            return self._known

    def _load(self, row: rows.ProviderRow) -> KnownProvider | None:
        try:
            return KnownProvider(row.name, self._settings(row), self._clock, self.ask, self.spawn)
        except LockstepError as error:
            log.error("identity provider %s cannot be used: %s; add it again", row.name, error)
            return None

    def _settings(self, row: rows.ProviderRow) -> Provider:
        return _stored.decode(self._sealer().open(_seal_name(row.name), row.sealed))

    def _info(self, row: rows.ProviderRow, known: KnownProvider | None) -> ProviderInfo:
        if known is None:
            problem = "its settings cannot be read: add it again"
            return ProviderInfo(row.issuer, name=row.name, created_at=row.created_at, problem=problem)
        settings = known.settings
        return ProviderInfo(
            issuer=row.issuer,
            client_id=settings.client_id,
            audiences=[*settings.audiences],
            scopes=[*settings.scopes],
            username_claim=settings.username_claim,
            create_accounts=settings.create_accounts,
            require=[*settings.require],
            administrators=[*settings.administrators],
            read_only=[*settings.read_only],
            name=row.name,
            created_at=row.created_at,
            confidential=bool(settings.client_secret),
            has_ca=bool(settings.ca_pem),
            keys=known.known_keys,
            device=known.offers_device,
            problem=str(known.failure or ""),
        )

    def _seal(self, name: str, settings: Provider) -> bytes:
        return self._sealer().seal(_seal_name(name), encode(settings))


def _no_such(name: str) -> NotFound:
    return NotFound(
        f"there is no identity provider {name[:64]!r}; an administrator can list them with `lockstep sso list`"
    )


def _sealed_row(row: rows.ProviderRow) -> SealedRow:
    return SealedRow(_seal_name(row.name), row.sealed, lambda tx, sealed: rows.reseal_provider(tx, row, sealed))


def _seal_name(name: str) -> Digest:
    """Return the name that a seal is bound to. It equals no chunk's digest, because those are hashes of content."""
    return Digest(blake3(_SEAL_CONTEXT + b"\0" + name.encode()).digest())
