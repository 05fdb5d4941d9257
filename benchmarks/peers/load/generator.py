"""The load generator for machines without Go: does the same as main.go, at a higher cost.

It runs in a process of its own, so that its interpreter lock and processor time are not the caller's.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import itertools
import json
import re
import resource
import ssl
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from benchmarks.peers.job import Job

PATIENCE_SECONDS = 60
UNSIGNED = "UNSIGNED-PAYLOAD"
SIGNED = "host;x-amz-content-sha256;x-amz-date"
CHECKED_BYTES = 4096
"""Comparing whole objects would cost as much as making large contents."""


class Failed(Exception):
    """A reply that the operation does not expect."""


def content(seed: str, key: str, size: int) -> bytes:
    """The content of a key: AES-CTR under the run's seed, so it cannot be compressed or deduplicated."""
    secret, start = (hashlib.sha256(text.encode()).digest()[:16] for text in (seed, key))
    return Cipher(algorithms.AES(secret), modes.CTR(start)).encryptor().update(bytes(size))


class LoadClient:
    """A persistent TLS connection with one request at a time."""

    def __init__(self, job: Job, endpoint: str) -> None:
        self.job = job
        address = urlsplit(endpoint)
        self._host = address.netloc
        self._connection: http.client.HTTPConnection
        if address.scheme == "https":
            context = ssl.create_default_context(cafile=job.ca_file)
            self._connection = http.client.HTTPSConnection(self._host, timeout=PATIENCE_SECONDS, context=context)
        else:
            self._connection = http.client.HTTPConnection(self._host, timeout=PATIENCE_SECONDS)
        self._connection.connect()
        self._day, self._day_key = "", b""

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Any:
        """Return the reply, with its whole body in `content`."""
        if method in ("PUT", "POST"):
            headers = {**headers, "Content-Length": str(len(body))}
        self._connection.request(method, target, body or None, headers)
        answer: Any = self._connection.getresponse()
        answer.content = answer.read()
        return answer

    def exchange(self, method: str, path: str, query: str = "", body: bytes = b"") -> Any:
        """Send a request that is signed by AWS's Signature Version 4. `query` must be in canonical form."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = f"host:{self._host}\nx-amz-content-sha256:{UNSIGNED}\nx-amz-date:{moment}\n"
        canonical = "\n".join((method, path, query, headers, SIGNED, UNSIGNED))
        scope = f"{moment[:8]}/{self.job.region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = _mac(self._key(moment[:8]), text).hex()
        sent = {
            "x-amz-content-sha256": UNSIGNED,
            "x-amz-date": moment,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.job.access_key}/{scope},SignedHeaders={SIGNED},"
            f"Signature={signature}",
        }
        return self.send(method, f"{path}?{query}" if query else path, sent, body)

    def _key(self, day: str) -> bytes:
        if day != self._day:
            key = f"AWS4{self.job.secret_key}".encode()
            for word in (day, self.job.region, "s3", "aws4_request"):
                key = _mac(key, word)
            self._day, self._day_key = day, key
        return self._day_key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _expect(what: str, answer: Any, *statuses: int) -> None:
    if answer.status not in statuses:
        raise Failed(f"{what} was answered {answer.status}: {answer.content[:300]!r}")


# ------------------------------------------------------------ operations


def make_bucket(client: LoadClient, _: int) -> None:
    _expect("the new bucket", client.exchange("PUT", f"/{client.job.bucket}"), 200)


def put(client: LoadClient, turn: int) -> None:
    job, key = client.job, client.job.key(turn)
    body = content(job.seed, key, job.size)
    _expect("PUT", client.exchange("PUT", f"/{job.bucket}/{key}", body=body), 200)


def get(client: LoadClient, turn: int) -> None:
    job, key = client.job, client.job.key(turn % client.job.keys)
    answer = client.exchange("GET", f"/{job.bucket}/{key}")
    _expect("GET", answer, 200)
    checked = min(job.size, CHECKED_BYTES)
    if answer.content[:checked] != content(job.seed, key, checked):
        raise Failed(f"wrong content of {key}")
    _sized(key, len(answer.content), job.size)


def head(client: LoadClient, turn: int) -> None:
    job, key = client.job, client.job.key(turn % client.job.keys)
    answer = client.exchange("HEAD", f"/{job.bucket}/{key}")
    _expect("HEAD", answer, 200)
    _sized(key, int(answer.headers["Content-Length"]), job.size)


def _sized(key: str, found: int, size: int) -> None:
    if found != size:
        raise Failed(f"{key} has {found} bytes instead of {size}")


def delete(client: LoadClient, turn: int) -> None:
    job = client.job
    _expect("DELETE", client.exchange("DELETE", f"/{job.bucket}/{job.key(turn)}"), 204)


def list_page(client: LoadClient, _: int) -> None:
    """List one page of `keys` keys."""
    job = client.job
    query = f"list-type=2&max-keys={job.keys}&prefix={quote(job.prefix, safe='-_.~')}"
    answer = client.exchange("GET", f"/{job.bucket}", query)
    _expect("LIST", answer, 200)
    if (found := answer.content.count(b"<Key>")) != job.keys:
        raise Failed(f"a page has {found} keys instead of {job.keys}")


def lock(client: LoadClient, _: int) -> None:
    """Acquire a lock on a path of the client's own and release it, through Lockstep's API."""
    job = client.job
    headers = {"X-Api-Key": job.api_key, "Content-Type": "application/json"}
    path = f"{job.bucket}/{job.prefix}lock-{id(client)}"
    wanted = json.dumps({"paths": [path], "wait_seconds": 0}).encode()
    answer = client.send("POST", "/api/v1/locks", headers, wanted)
    _expect("acquiring a lock", answer, 200, 201)
    number = json.loads(answer.content)["lock"]["id"]
    _expect("releasing a lock", client.send("DELETE", f"/api/v1/locks/{number}", headers), 200, 204)


OPERATIONS: dict[str, Callable[[LoadClient, int], None]] = {
    "make_bucket": make_bucket,
    "put": put,
    "get": get,
    "head": head,
    "delete": delete,
    "list": list_page,
    "lock": lock,
}


def upload(job: Job, clients: list[LoadClient]) -> None:
    """Upload one object in parts, as many at the same time as there are clients."""
    path = f"/{job.bucket}/{job.key(0)}"
    answer = clients[0].exchange("POST", path, "uploads=")
    _expect("the new upload", answer, 200)
    found = re.search(rb"<UploadId>([^<]+)</UploadId>", answer.content)
    if found is None:
        raise Failed(f"no upload id: {answer.content[:300]!r}")
    query = f"uploadId={quote(found[1].decode(), safe='-_.~')}"
    count = -(-job.size // job.part_size)
    tags: list[str] = [""] * count
    numbers = iter(range(count))

    def send(client: LoadClient) -> None:
        for number in numbers:
            size = min(job.part_size, job.size - number * job.part_size)
            body = content(job.seed, f"{job.key(0)} part {number}", size)
            answer = client.exchange("PUT", path, f"partNumber={number + 1}&{query}", body)
            _expect("a part", answer, 200)
            tags[number] = answer.headers["ETag"]

    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(send, clients))
    parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for n, tag in enumerate(tags, 1))
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    _expect("completing the upload", clients[0].exchange("POST", path, query, body), 200)


# ------------------------------------------------------------ one run


@dataclass
class ClientTally:
    """The results of one client."""

    latencies_us: list[int] = field(default_factory=list)
    elapsed: float = 0.0
    error: str = ""


def run(job: Job, clients: list[LoadClient]) -> dict[str, Any]:
    """Run the job and return what main.go calls a Result."""
    turns = itertools.count()
    tallies = [ClientTally() for _ in clients]
    before, started = _processor_seconds(), time.perf_counter()

    def repeat(client: LoadClient, tally: ClientTally) -> None:
        work = OPERATIONS[job.operation]
        while (now := time.perf_counter()) < started + job.seconds:
            turn = next(turns)
            if job.limit and turn >= job.limit:
                break
            work(client, turn)
            tally.elapsed = time.perf_counter() - started
            tally.latencies_us.append(int(1e6 * (time.perf_counter() - now)))

    def once(tally: ClientTally) -> None:
        upload(job, clients)
        tally.elapsed = time.perf_counter() - started
        tally.latencies_us.append(int(1e6 * tally.elapsed))

    def guarded(tally: ClientTally, work: Callable[[], None]) -> None:
        try:
            work()
        except (Failed, OSError, http.client.HTTPException, ValueError, KeyError) as error:
            tally.error = f"{type(error).__name__}: {error}"

    if job.operation == "upload":
        guarded(tallies[0], lambda: once(tallies[0]))
    else:
        threads = [
            threading.Thread(target=guarded, args=(tally, lambda c=client, t=tally: repeat(c, t)))
            for client, tally in zip(clients, tallies, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return {
        "operations": sum(len(tally.latencies_us) for tally in tallies),
        "rate": sum(len(tally.latencies_us) / tally.elapsed for tally in tallies if tally.latencies_us),
        "elapsed_seconds": time.perf_counter() - started,
        "processor_seconds": _processor_seconds() - before,
        "latencies_us": [value for tally in tallies for value in tally.latencies_us],
        "error": next((tally.error for tally in tallies if tally.error), ""),
    }


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    job = Job(**json.loads(sys.stdin.readline()))
    try:
        clients = [LoadClient(job, job.endpoints[number % len(job.endpoints)]) for number in range(job.clients)]
    except OSError as error:
        sys.exit(f"load: {error}")
    print("ready", flush=True)
    if sys.stdin.readline():
        print(json.dumps(run(job, clients)), flush=True)


if __name__ == "__main__":
    main()
