"""Remote names on the command line: `path` in the bucket `files`, or `bucket:path`.

The first colon always separates, so a path with a colon in it is written `files:a:b`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from lockstep_store.client.api.answers import label
from lockstep_store.client.cli.command import App
from lockstep_store.wire.errors import BadName, LockstepError
from lockstep_store.wire.names import FILES_BUCKET, check_bucket, check_path

SYNTAX = (
    "A NAME is `path` for a file in the bucket `files`, or `bucket:path`. The first colon separates: write "
    "`files:a:b` for a file called `a:b`."
)


class Name(NamedTuple):
    """A bucket and a path in it. The path is empty for the whole bucket."""

    bucket: str
    path: str

    def __str__(self) -> str:
        return label(self.bucket, self.path) or f"{self.bucket}:"

    @property
    def last(self) -> str:
        """The last part of the path: the file's name in its folder."""
        return self.path.rstrip("/").rpartition("/")[2]

    def child(self, name: str) -> Name:
        """The file `name` in the folder with this name."""
        return Name(self.bucket, f"{self.path.rstrip('/')}/{name}" if self.path else name)


def parse_name(text: str, *, empty: bool = False) -> Name:
    """Parse a name. BadName if it is not valid. `empty` allows a bucket alone, and a trailing slash."""
    bucket, colon, path = text.partition(":")
    if not colon:
        bucket, path = FILES_BUCKET, text
    try:
        check_bucket(bucket)
    except BadName as error:
        raise BadName(f"{error} (a path with a colon is written files:{text[:80]})") from error
    if path or not empty:
        check_path(path)
    return Name(bucket, path)


if TYPE_CHECKING:
    _NameParameter = click.ParamType[Name]
else:
    _NameParameter = click.ParamType  # generic only since click 8.5


class NameType(_NameParameter):
    """The parameter type of a remote name. Shells complete it with names from the cluster."""

    name = "name"

    def __init__(self, *, empty: bool = False) -> None:
        self.empty = empty

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Name:
        if isinstance(value, Name):
            return value
        try:
            return parse_name(value, empty=self.empty)
        except BadName as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Files and folders with that prefix; none after an error, because a shell must not show one."""
        app = ctx.find_object(App) or App()
        bucket, colon, prefix = incomplete.partition(":")
        if not colon:
            bucket, prefix = FILES_BUCKET, incomplete
        try:
            page = app.api().list_page(prefix, bucket=bucket, delimiter="/", limit=100)
        except LockstepError:
            return []
        written = f"{bucket}:" if colon else ""
        return [CompletionItem(written + path) for path in [*page.prefixes, *(file.path for file in page.files)]]
