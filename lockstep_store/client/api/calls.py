"""Every call of a proxy's HTTPS API as a typed method, from the modules beside this one.

Replies are decoded as the messages of `lockstep_store.wire.messages`, and errors raised as the classes of
`lockstep_store.wire.errors`. `lockstep_store.client.client` adds operations that take several calls: holding a lock,
following the journal, transferring files.
"""

from __future__ import annotations

from lockstep_store.client.api.access import AccessCalls
from lockstep_store.client.api.analytics import AnalyticsCalls
from lockstep_store.client.api.bucket_settings import BucketSettingCalls
from lockstep_store.client.api.cluster import ClusterCalls
from lockstep_store.client.api.facts import FactsCalls
from lockstep_store.client.api.files import FileCalls
from lockstep_store.client.api.folders import FolderCalls
from lockstep_store.client.api.groups import GroupCalls
from lockstep_store.client.api.journal import JournalCalls
from lockstep_store.client.api.locks import LockCalls
from lockstep_store.client.api.maintenance import MaintenanceCalls
from lockstep_store.client.api.named_keys import NamedKeyCalls
from lockstep_store.client.api.people import BucketCalls, QuotaCalls, UserCalls
from lockstep_store.client.api.search import SearchCalls
from lockstep_store.client.api.second_factor import SecondFactorCalls
from lockstep_store.client.api.service_accounts import ServiceAccountCalls
from lockstep_store.client.api.shares import ShareCalls
from lockstep_store.client.api.single_sign_on import ProviderCalls, SignOnCalls
from lockstep_store.client.api.trash import TrashCalls


class ApiCalls(
    SignOnCalls,
    ProviderCalls,
    SecondFactorCalls,
    ServiceAccountCalls,
    UserCalls,
    QuotaCalls,
    BucketCalls,
    BucketSettingCalls,
    FileCalls,
    FactsCalls,
    ShareCalls,
    AccessCalls,
    GroupCalls,
    FolderCalls,
    SearchCalls,
    AnalyticsCalls,
    TrashCalls,
    JournalCalls,
    LockCalls,
    ClusterCalls,
    MaintenanceCalls,
    NamedKeyCalls,
):
    """The whole API of the proxy at `transport.url`. Safe to use from several threads."""

    def close(self) -> None:
        """Close every connection. Calls in progress in other threads fail."""
        self.transport.close()
