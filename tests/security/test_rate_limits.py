"""One address cannot take the cluster's time with log-ins: the counts of a flood."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path

from client_proxy.rate_limits.counts import RequestCounts
from client_proxy.rate_limits.limiter import RateLimits
from client_proxy.rate_limits.rules import parse_rules
from lockstep_store.wire.messages.people import LOGIN
from tests.s3.rig import S3Rig


def test_180_parallel_log_ins_of_one_address_cost_the_directory_at_most_100(tmp_path: Path) -> None:
    """Of 180 log-ins at once the directory sees what the default limit allows; the others are refused at the proxy."""
    limits = RateLimits(parse_rules([]), RequestCounts().take)
    rig = S3Rig(tmp_path / "cluster", tmp_path.parent / "flood-certs", file_servers=2, limits=limits)
    try:
        proxy = rig.cluster.proxies["1"]
        asked = Counter[str]()
        guard = threading.Lock()
        call = proxy.directory.call

        def counted(declared, request):  # type: ignore[no-untyped-def]
            with guard:
                asked[declared.path] += 1
            # Nobody's password is worth a hash here: the door is tested, not the directory.
            return call(declared, request) if declared is not LOGIN else declared.reply("t", "ann")

        proxy.directory.call = counted  # type: ignore[method-assign]
        body = json.dumps({"username": "ann", "password": "wrong horse"}).encode()
        answers: list[int] = []
        threads = [
            threading.Thread(
                target=lambda: answers.append(
                    rig.cluster.ask_with({"Content-Type": "application/json"}, "POST", "/auth/login", body).status
                )
            )
            for _ in range(180)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(answers) == {200, 429}
        assert asked[LOGIN.path] == Counter(answers)[200] <= 100
    finally:
        rig.close()
