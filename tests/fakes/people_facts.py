"""The facts of files of the cluster in memory: of current versions."""

from __future__ import annotations

from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.file_facts import changed_tags
from lockstep_store.wire.messages.facts import ChangeFactsRequest, FactsReply, FactsRequest
from lockstep_store.wire.messages.files import FileVersion


class FactsCore:
    """Keeps facts by bucket and path."""

    history: dict[tuple[str, str], list[FileVersion]]

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}
        """Description and tags."""

    def _who(self, credential: str, what: str) -> str:
        raise NotImplementedError

    def _facts(self, request: FactsRequest) -> FactsReply:
        self._who(request.credential, "facts")
        place = (request.bucket, request.path)
        versions = [one for one in self.history.get(place, []) if request.version in (None, one.version)]
        if not versions or versions[-1].delete_marker:
            raise NotFound(f"there is no file {request.path!r} in bucket {request.bucket!r}")
        file = versions[-1]
        description, tags = self.facts.get(place, ("", {}))
        return FactsReply(*place, file.version, file.content_type, file.metadata, description, tags)

    def _facts_change(self, request: ChangeFactsRequest) -> FactsReply:
        facts = self._facts(request)
        before = [] if request.replace_tags else list((facts.tags or {}).items())
        description = facts.description if request.description is None else request.description
        self.facts[request.bucket, request.path] = description, dict(changed_tags(before, request.tags))
        return self._facts(request)
