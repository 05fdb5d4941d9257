"""The pages for operators, and who sees how much of them.

Everybody may ask whether the proxy is healthy: load balancers have no credential. What it runs, talks to and counts is
for people of the cluster, and for programs on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.addresses import parse_address
from lockstep_store.runtime.http import operator_views
from lockstep_store.runtime.http.admission import remote_address
from lockstep_store.runtime.http.operator_views import OperatorPage
from lockstep_store.runtime.http.proxy_protocol import RELAYED
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.cluster import Health
from lockstep_store.wire.messages.people import WHO_AM_I

_FORWARDED = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_ORIGIN", RELAYED)
"""Any of them: a reverse proxy or a browser on this machine asks for somebody elsewhere, the latter for a web page."""


class Operators:
    """The health and the metrics of a proxy, as each request may see them."""

    def __init__(self, directory: Directory, health: Callable[[], Health]) -> None:
        self._directory = directory
        self._health = health

    def health(self, request: RestRequest) -> Health:
        """The whole health for operators; `healthy` alone for everybody else, a refused credential included."""
        health = self._health()
        try:
            self.demand_operator(request)
        except LockstepError:  # also when the directory cannot say: a load balancer needs its answer
            return Health(health.healthy)
        return health

    def health_page(self, request: RestRequest) -> OperatorPage:
        """Like `health`; 503 while the proxy is unhealthy."""
        return operator_views.health_page(self.health(request))

    def metrics_page(self, request: RestRequest) -> OperatorPage:
        """The metrics. NotLoggedIn without a credential from another machine."""
        self.demand_operator(request)
        return operator_views.metrics_page()

    def demand_operator(self, request: RestRequest) -> None:
        """Raise NotLoggedIn unless the request is from this machine or in the name of any account."""
        if not _is_from_here(request):
            self._directory.call(WHO_AM_I, CredentialRequest(request.credential()))


def _is_from_here(request: RestRequest) -> bool:
    if any(name in request.environ for name in _FORWARDED):
        return False
    address = parse_address(remote_address(request.environ))
    return address is not None and address.is_loopback
