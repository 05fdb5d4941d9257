"""The base of every command: connection options, --json, one-sentence errors and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import click
import msgspec

from lockstep_store.client.cli.connection import API_KEY_VARIABLE, Place, find_place, read_cluster_file
from lockstep_store.client.cli.exit_codes import FAILED, INTERRUPTED, exit_code
from lockstep_store.client.client import Client
from lockstep_store.client.credentials import (
    DEFAULT_PROFILE,
    CredentialStore,
    HeldLock,
    Profile,
    authority_of,
    config_folder,
)
from lockstep_store.client.transfers import InterruptedUploads
from lockstep_store.wire.cluster_file import ClusterFile
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockStale, LockstepError, NotLoggedIn, SecondFactorNeeded

F = TypeVar("F", bound=Callable[..., Any])
DEBUG_VARIABLE = "LOCKSTEP_DEBUG"
HELD_LOCKS_VARIABLE = "LOCKSTEP_HELD_LOCKS"


class App:
    """One run of the command: its options, stored log-in and output."""

    def __init__(self) -> None:
        self.options: dict[str, str | None] = {"url": None, "ca": None, "profile": None}
        self.json = False
        self.environment: Mapping[str, str] = os.environ
        self._api: Client | None = None

    @property
    def profile_name(self) -> str:
        return self.options["profile"] or DEFAULT_PROFILE

    @property
    def store(self) -> CredentialStore:
        return CredentialStore(config_folder(self.environment))

    @property
    def profile(self) -> Profile:
        return self.store.profile(self.profile_name)

    @property
    def cluster(self) -> ClusterFile:
        return read_cluster_file(self.environment)

    @property
    def uploads(self) -> InterruptedUploads:
        return InterruptedUploads(config_folder(self.environment) / "interrupted-uploads")

    def place(self, *, cluster_first: bool = False) -> Place:
        """Return the proxy to use. Commands that start a new log-in set `cluster_first`."""
        url, ca = self.options["url"], self.options["ca"]
        return find_place(url, ca, self.profile, self.cluster, cluster_first=cluster_first)

    def api(self) -> Client:
        """A client of that proxy with the profile's credential, if it has one."""
        if self._api is None:
            self._api = _client(self.place(), self.credential())
        return self._api

    def credential(self) -> str:
        """The API key or the profile's token that may be sent to that proxy; empty if there is none."""
        place, profile = self.place(), self.profile
        authority = authority_of(place.ca_file) if place.ca_file and place.ca_file.is_file() else ""
        token = profile.token_for(place.url, authority)
        if token and authority and authority != profile.authority:
            with self.store.change(self.profile_name) as stored:  # the cluster's authority is being rotated
                stored.authority = authority
        return self.environment.get(API_KEY_VARIABLE) or token

    def anonymous(self, *, cluster_first: bool = False) -> Client:
        """A client without a credential."""
        place = self.place(cluster_first=cluster_first)
        self._api = _client(place)
        return self._api

    @property
    def has_credential(self) -> bool:
        """Whether the requests carried a credential."""
        return self._api is not None and bool(self._api.transport.credential)

    def close(self) -> None:
        if self._api is not None:
            self._api.close()

    def show(self, text: str, data: Any) -> None:
        """Print the command's result: `data` as JSON with --json, otherwise `text` unless empty."""
        if self.json:
            click.echo(msgspec.json.format(msgspec.json.encode(plain(data)), indent=2).decode())
        elif text:
            click.echo(text)

    def note(self, text: str) -> None:
        """Print a remark to standard error, except with --json."""
        if not self.json:
            click.echo(text, err=True)

    @property
    def shows_progress(self) -> bool:
        return not self.json

    def lock_number(self, bucket: str, path: str, given: int | None) -> int | None:
        """The lock number for a write: the one given, or that of a lock that this profile took."""
        if given is not None:
            return given
        held = self.held_lock(bucket, path)
        return held.number if held else None

    def held_lock(self, bucket: str, path: str) -> HeldLock | None:
        """The lock on this path that `lockstep lock` took, if any."""
        held = [*_inherited(self.environment), *self.profile.locks]
        return next((lock for lock in held if (lock.bucket, lock.path) == (bucket, path)), None)

    def forget_lock(self, bucket: str, path: str) -> None:
        """Drop the stored lock on this path."""
        if any((lock.bucket, lock.path) == (bucket, path) for lock in self.profile.locks):
            with self.store.change(self.profile_name) as profile:
                profile.locks = [lock for lock in profile.locks if (lock.bucket, lock.path) != (bucket, path)]

    def stale(self, error: LockStale, bucket: str, path: str) -> LockstepError:
        """The error for a stored lock that has ended. Drops that lock, so nothing is overwritten unseen."""
        if self.held_lock(bucket, path) is None:
            return error
        self.forget_lock(bucket, path)
        return LockStale(f"{error}. The stored lock was dropped: look at the file, then run this again", **error.facts)


def _client(place: Place, credential: str = "") -> Client:
    from lockstep_store.client.api.transport import ApiTransport  # its libraries take longer to load than the rest

    return Client(ApiTransport(place.url, place.ca_file, credential))


def _inherited(environment: Mapping[str, str]) -> list[HeldLock]:
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(environment.get(HELD_LOCKS_VARIABLE) or "[]", type=list[HeldLock])
    return []


def plain(value: Any) -> Any:
    """Convert a message to JSON types. All fields are written, so scripts need not know the defaults."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Digest):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    app = ctx.ensure_object(App)
    if param.name == "json":
        app.json = app.json or bool(value)
    elif value is not None and param.name is not None:
        app.options[param.name] = value


def connection_options(*, from_environment: bool) -> list[click.Option]:
    """Return new option objects. The group's may come from variables; a command's override them."""

    def variable(name: str) -> str | None:
        return name if from_environment else None

    common: dict[str, Any] = {"expose_value": False, "callback": _remember}
    return [
        click.Option(["--url"], envvar=variable("LOCKSTEP_URL"), help="The proxy, https://HOST:PORT.", **common),
        click.Option(["--ca"], envvar=variable("LOCKSTEP_CA"), help="CA file to trust (ca.pem).", **common),
        click.Option(["--profile"], envvar=variable("LOCKSTEP_PROFILE"), help="The log-in to use.", **common),
        click.Option(["--json"], is_flag=True, help="Print the result as JSON.", **common),
    ]


class Command(click.Command):
    """A command with the connection options and --json."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(connection_options(from_environment=False))


class Group(click.Group):
    """A family of commands. An exception becomes one sentence and an exit code."""

    command_class = Command
    group_class = type

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.parent is not None:
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except NotLoggedIn as error:
            end(ctx, _log_in_first(ctx, error), exit_code(error))
        except LockstepError as error:
            end(ctx, str(error), exit_code(error))
        except (KeyboardInterrupt, click.Abort):
            end(ctx, "interrupted", INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - people get a sentence, not a traceback
            if os.environ.get(DEBUG_VARIABLE):
                traceback.print_exc()
            kind = type(error).__name__
            end(ctx, f"internal error in lockstep: {kind}: {error} ({DEBUG_VARIABLE}=1 shows where)", FAILED)
        finally:
            app = ctx.find_object(App)
            if app is not None:
                app.close()


def _log_in_first(ctx: click.Context, error: NotLoggedIn) -> str:
    if ctx.invoked_subcommand in ("login", "passwd") or isinstance(error, SecondFactorNeeded):
        return str(error)
    app = ctx.find_object(App)
    if app is not None and not app.has_credential:
        return "not logged in: run `lockstep login` first, or set LOCKSTEP_API_KEY"
    return f"{error} (run `lockstep login` again)"


def end(ctx: click.Context, sentence: str, code: int) -> NoReturn:
    """Print the reason and exit with `code`."""
    with suppress(BrokenPipeError):
        click.echo(f"lockstep: {' '.join(sentence.split())}", err=True)
    sys.stdout.flush()
    ctx.exit(code)


pass_app = click.make_pass_decorator(App, ensure=True)
