"""A proxy's metrics. Bytes fetched and sent are content without framing, so they show the cost of an edit."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from lockstep_store.runtime.http.content import ContentMetrics

_READS = Counter("lockstep_client_proxy_reads_total", "Files read, by use of the cache", ["cache"])
READS = {use: _READS.labels(use) for use in ("hit", "delta", "miss")}
SERVED_BYTES = Counter("lockstep_client_proxy_served_bytes_total", "Verified content bytes sent to readers")
FETCHED_BYTES = Counter("lockstep_client_proxy_fetched_bytes_total", "Content bytes fetched from file servers")
SENT_BYTES = Counter("lockstep_client_proxy_sent_bytes_total", "Content bytes sent to masters")
WRITES = Counter("lockstep_client_proxy_writes_total", "Versions committed through this proxy, by kind", ["kind"])
LINKED = WRITES.labels("linked")
SENT = WRITES.labels("sent")
FAILOVERS = Counter("lockstep_client_proxy_failovers_total", "File servers replaced during a read or write", ["work"])
READ_FAILOVERS = FAILOVERS.labels("read")
WRITE_FAILOVERS = FAILOVERS.labels("write")
DIRECTORY_REPEATS = Counter(
    "lockstep_client_proxy_directory_repeats_total", "Calls repeated because the directory did not reply"
)
LEASED_LOOKUPS = Counter(
    "lockstep_client_proxy_leased_lookups_total", "Lookups answered under a read lease, without the directory"
)
LEASE_BREAKS = Counter("lockstep_client_proxy_lease_breaks_total", "Read leases that the directory broke")
CACHE_DAMAGED = Counter("lockstep_client_proxy_cache_damaged_total", "Cache entries that failed verification")
CACHE_EVICTED = Counter("lockstep_client_proxy_cache_evicted_total", "Cache entries removed to stay within bounds")
CACHE_UNWRITABLE = Counter(
    "lockstep_client_proxy_cache_unwritable_total", "Chunks served but not cached because the disk failed"
)
CACHE_BYTES = Gauge("lockstep_client_proxy_cache_bytes", "Bytes the cache takes on disk")
RECEIVED_BYTES = Counter(
    "lockstep_client_proxy_received_bytes_total", "Bytes of request bodies received, by every door"
)
ANSWERED_BYTES = Counter("lockstep_client_proxy_answered_bytes_total", "Bytes of response bodies sent, by every door")
RATE_LIMITED = Counter(
    "lockstep_client_proxy_rate_limited_total", "Requests refused by a rate limit, by class and rule", ["class", "by"]
)
CONTENT_METRICS = ContentMetrics(
    aborted=Counter(
        "lockstep_client_proxy_aborted_answers_total",
        "Downloads cut off because the rest could not be read",
    ),
    abandoned=Counter(
        "lockstep_client_proxy_clients_gone_total", "Downloads whose client closed the connection before the end"
    ),
)
