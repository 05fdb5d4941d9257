"""The calls about the facts of files. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lockstep_store.client.api.caller import ApiCaller, quoted, version_argument
from lockstep_store.wire.messages.facts import FactsReply
from lockstep_store.wire.names import FILES_BUCKET, check_bucket, check_path


class FactsCalls(ApiCaller):
    """Show and change what is known of a file: its description, tags, type and metadata."""

    def facts(self, path: str, *, bucket: str = FILES_BUCKET, version: str | None = None) -> FactsReply:
        """Return the facts of the current (or the named) version; NotFound if there is none."""
        return self._ask(FactsReply, "GET", _address(bucket, path), params=version_argument(version))

    def change_facts(
        self,
        path: str,
        *,
        description: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        replace_tags: bool = False,
        bucket: str = FILES_BUCKET,
        version: str | None = None,
    ) -> FactsReply:
        """Change the description, some tags, or both, and return all facts; this makes no new version.

        An empty description removes it, and None removes a tag. With `replace_tags`, `tags` are all that the file has
        from now on. Raises BadRequest for what cannot be a description or a tag.
        """
        message: dict[str, Any] = {}
        if description is not None:
            message["description"] = description
        if tags:
            message["tags"] = dict(tags)
        if replace_tags:
            message["replace_tags"] = True
        return self._ask(
            FactsReply,
            "PATCH",
            _address(bucket, path),
            params=version_argument(version),
            message=message,
            repeatable=True,
        )


def _address(bucket: str, path: str) -> str:
    return f"/api/v1/facts/{check_bucket(bucket)}/{quoted(check_path(path))}"
