"""Calls about the facts of files, and about their ids."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from directory_server.files.stored_keys import file_id_key
from lockstep_store.runtime.http.api import Api
from lockstep_store.wire.messages.facts import CHANGE_FACTS, FACTS
from lockstep_store.wire.messages.file_ids import FILE_ID_KEY, FileIdKeyReply


class FileFactsApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        file_facts = components.about_files.facts
        api.serve(FACTS, lambda request, _: file_facts.show(request), PROXY)
        api.serve(CHANGE_FACTS, lambda request, _: file_facts.change(request), PROXY)
        api.serve(FILE_ID_KEY, lambda *_: FileIdKeyReply(file_id_key(components.store).hex()), PROXY)
