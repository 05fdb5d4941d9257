"""Calls about access to files and folders, and about the decisions that were made."""

from __future__ import annotations

from directory_server.access.decision_counts import DECISIONS
from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.messages import access as am


class FileAccessApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        self._components = components
        file_access = components.about_files.access
        api.serve(am.ACCESS, lambda request, _: file_access.show(request), PROXY)
        api.serve(am.SET_ACCESS, lambda request, _: file_access.set(request), PROXY)
        api.serve(am.PREVIEW_POLICY, lambda request, _: file_access.preview(request), PROXY)
        api.serve(am.SHARED_WITH_ME, lambda request, _: file_access.shared_with_me(request), PROXY)
        api.serve(am.DECISIONS, self._decisions, PROXY)

    def _decisions(self, request: am.DecisionsRequest, _: PeerIdentity) -> am.DecisionsReply:
        self._components.accounts.administrator(request.credential)
        clock, counts = self._components.clock, DECISIONS.all(request.bucket)
        denied = [one for one in counts if one.result == "denied"]
        in_all, refused = sum(one.count for one in counts), sum(one.count for one in denied)
        most = am.MAX_DECISIONS
        return am.DecisionsReply(
            clock.wall() - clock.since_start(), in_all - refused, refused, counts[:most], denied[:most]
        )
