"""Log-ins by single sign-on: finds or makes the account of a person whom a provider vouches for.

A person is a subject at an issuer. The name that the provider gives only names a new account: it may change, or go to
somebody else, so it never leads to an account that exists.
"""

from __future__ import annotations

from directory_server.identity_providers.attempts import Attempts
from directory_server.identity_providers.known_provider import KnownProvider
from directory_server.identity_providers.provider import Claims, role_of, values_of
from directory_server.identity_providers.providers import IdentityProviders
from directory_server.metadata.statements import identity_providers as rows
from directory_server.metadata.statements import people
from directory_server.metadata.statements.identity_providers import LinkRow
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.access_keys import PeopleClock
from directory_server.people.accounts import Accounts, insert_account, refuse_past_author
from directory_server.people.log_ins import LogIns
from directory_server.people.look_alikes import check_separator
from directory_server.people.names import AccountNames, prepared_name
from directory_server.people.passwords import NO_PASSWORD
from directory_server.people.person import Person
from directory_server.people.second_factors import SecondFactors
from lockstep_store.wire.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    LockstepError,
    NotFound,
    NotLoggedIn,
)
from lockstep_store.wire.messages.people import LoginReply
from lockstep_store.wire.messages.single_sign_on import (
    ContinueSignOnRequest,
    LinkedIdentitiesReply,
    LinkedIdentity,
    LinkIdentityRequest,
    SignOn,
    SignOnOffer,
    SignOnOffersReply,
    StartSignOnRequest,
    UnlinkIdentityRequest,
)
from lockstep_store.wire.messages.users import AccountRole
from lockstep_store.wire.names import check_account

MAX_LINKS = 20
"""Of one account."""
_MAX_SHOWN = 10_000


class SingleSignOn:
    """Thread-safe. Callers have checked that `by` is an administrator."""

    def __init__(
        self,
        store: MetadataStore,
        clock: PeopleClock,
        providers: IdentityProviders,
        log_ins: LogIns,
        accounts: Accounts,
        factors: SecondFactors,
    ) -> None:
        self._store = store
        self._clock = clock
        self._providers = providers
        self._attempts = Attempts(clock)
        self._log_ins = log_ins
        self._accounts = accounts
        self._factors = factors
        self._audit = accounts.audit
        self._names = AccountNames()

    # ------------------------------------------------------------ log-ins

    def offers(self) -> SignOnOffersReply:
        """Return the providers that people can log in with."""
        found = self._providers.all_for_people()
        return SignOnOffersReply([SignOnOffer(one.name, one.settings.issuer, one.offers_device) for one in found])

    def start(self, request: StartSignOnRequest) -> SignOn:
        """Begin a log-in. NotFound without a provider, Unavailable while it cannot be asked."""
        if request.method == "browser" and not request.redirect_uri:
            raise BadRequest("a log-in with a browser needs the address that the browser is sent back to")
        known = self._providers.for_people(request.provider)
        return self._attempts.start(known, request.method, request.redirect_uri, request.client)

    def go_on(self, request: ContinueSignOnRequest) -> SignOn:
        """Return how a log-in stands; when it is done, with an ordinary log-in of the account."""
        attempt = self._attempts.find(request.id)
        known = attempt.known
        try:
            found = self._attempts.go_on(attempt, request.answer)
            if isinstance(found, SignOn):
                return found
        except (NotLoggedIn, Conflict) as error:
            self._audit.note("log-in refused", "", subject=known.name, address=request.address, detail=str(error))
            raise
        try:
            login = self._log_in(known, found, attempt.client, request.address)
        except (NotLoggedIn, Forbidden, Conflict) as error:
            who = f"subject {found['sub']} of {known.name}"
            self._audit.note("log-in refused", "", subject=who, address=request.address, detail=str(error))
            raise
        return SignOn(attempt.id, "done", known.name, login=login)

    def _log_in(self, known: KnownProvider, claims: Claims, client: str, address: str) -> LoginReply:
        known.demand_required(claims)
        issuer, subject, role = known.settings.issuer, claims["sub"], role_of(known.settings, claims)
        with self._store.read() as reader:
            name = rows.account_of(reader, issuer, subject)
        created = name is None
        if name is None:
            name = self._make_account(known, claims, address)
        account = name

        def recheck(tx: Tx) -> bool:
            self._providers.demand_unchanged(tx, known)
            if rows.account_of(tx, issuer, subject) != account:
                raise NotLoggedIn("this account was changed while you logged in: log in again")
            row = tx.one(people.PASSWORD, name=account)
            if row is None or row[5]:
                raise NotLoggedIn("this account is disabled: ask an administrator")
            if role is not None:
                self._give_role(tx, account, role, known.name)
            return people.is_admin(tx, account)

        reply = self._log_ins.open_session(account, client, address, recheck)
        if role is not None:
            self._accounts.forget_all()  # other log-ins and keys have the role too
        reply.created = created
        return reply

    def _make_account(self, known: KnownProvider, claims: Claims, address: str) -> str:
        """Make the account of a subject that has none; return its name."""
        issuer, subject = known.settings.issuer, str(claims["sub"])
        hint = f"ask an administrator to link subject {subject!r} of {known.name} to an account (`lockstep sso link`)"
        if not known.settings.create_accounts:
            raise Forbidden(f"you have no account here: {hint}")
        name = _name_of(known, claims)

        def work(tx: Tx) -> str:
            self._providers.demand_unchanged(tx, known)
            if (other := rows.account_of(tx, issuer, subject)) is not None:
                return other  # made by another log-in of the same person
            if self._names.find(tx, name) is not None:
                raise AlreadyExists(f"there is an account {name!r} already, and it may be somebody else's: {hint}")
            if self._log_ins.look_alikes.find(tx, name) is not None:
                raise AlreadyExists(f"the name {name!r} looks like the name of another account: {hint}")
            refuse_past_author(tx, name)
            at = self._clock.wall()
            insert_account(tx, name, NO_PASSWORD, admin=False, at=at)
            rows.link(tx, LinkRow(issuer, subject, name, at))
            self._audit.write(tx, "account made", name, name, address, f"subject {subject} of {known.name}")
            return name

        return self._store.write(work)

    def _give_role(self, tx: Tx, account: str, role: AccountRole, provider: str) -> None:
        """Give an account the role that its provider says. The last administrator stays one, as everywhere.

        Its earlier log-ins end if the role needs a second factor that it lacks: a password may have made them.
        """
        known = people.role_of(tx, account)
        wanted = (role == "administrator", role == "read-only")
        if (known.admin or known.tenant_admin, known.read_only) == wanted:
            return
        if known.admin:
            if not tx.one(people.OTHER_ADMINISTRATORS, name=account)[0]:  # type: ignore[index]
                return
            tx.run(people.DELETE_JOIN_SECRETS)  # as when another administrator does it
        people.set_state(tx, account, administrator=wanted[0], read_only=wanted[1], disabled=False)
        if self._factors.must_enrol(tx, account):
            tx.run(people.DELETE_SESSIONS_OF, of_account=account)
        self._audit.write(tx, "account changed", account, account, detail=f"{role}, as {provider} says")

    # ------------------------------------------------------------ what administrators ask

    def links(self) -> LinkedIdentitiesReply:
        """Return which subjects log in to which accounts."""
        with self._store.read() as reader:
            return LinkedIdentitiesReply([LinkedIdentity(*row) for row in rows.links(reader, _MAX_SHOWN)])

    def link(self, by: Person, request: LinkIdentityRequest) -> LinkedIdentity:
        """Let a subject log in to an account that exists. Safe to repeat. Conflict if it has another one."""
        issuer = self._providers.named(request.provider).settings.issuer

        def work(tx: Tx) -> LinkedIdentity:
            account = self._existing(tx, request.account)
            other = rows.account_of(tx, issuer, request.subject)
            made = LinkRow(issuer, request.subject, account, self._clock.wall())
            if other == account:
                return LinkedIdentity(*made)
            if other is not None:
                raise Conflict(f"this subject logs in to the account {other!r}: unlink it first")
            if len(rows.links_of(tx, account)) >= MAX_LINKS:
                raise Conflict(f"{account} has {MAX_LINKS} linked identities already: unlink one first")
            rows.link(tx, made)
            self._audit.write(tx, "identity linked", by.account, account, detail=_shown(made))
            return LinkedIdentity(*made)

        return self._store.write(work)

    def unlink(self, by: Person, request: UnlinkIdentityRequest) -> None:
        """End a link, and the account's log-ins. NotFound if there is none."""

        def work(tx: Tx) -> None:
            account = rows.account_of(tx, request.issuer, request.subject)
            if account is None:
                raise NotFound(f"no account is linked to subject {request.subject!r} of {request.issuer}")
            rows.unlink(tx, request.issuer, request.subject)
            tx.run(people.DELETE_SESSIONS_OF, of_account=account)
            detail = f"subject {request.subject} of {request.issuer}"
            self._audit.write(tx, "identity unlinked", by.account, account, detail=detail)

        self._store.write(work)
        self._accounts.forget_all()

    def _existing(self, reader: Reader, name: str) -> str:
        found = self._names.find(reader, name)
        if found is None:
            raise NotFound(f"there is no account {name!r}: create it first (`lockstep users create`)")
        return found


def _name_of(known: KnownProvider, claims: Claims) -> str:
    """Return the name for a new account. Forbidden if the provider gives none that an account may have."""
    claim = known.settings.username_claim
    values = values_of(claims, claim)
    if len(values) != 1:
        raise Forbidden(f"{known.name} gives no user name (claim {claim!r}), so no account can be made")
    if claim == "email" and "false" in map(str.lower, values_of(claims, "email_verified")):
        raise Forbidden(f"{known.name} has not verified your e-mail address, so no account can be made with it")
    try:
        return check_separator(prepared_name(check_account(values[0])))
    except LockstepError as error:
        raise Forbidden(f"no account can be made with the name that {known.name} gives you: {error}") from error


def _shown(row: LinkRow) -> str:
    return f"subject {row.subject} of {row.issuer}"
