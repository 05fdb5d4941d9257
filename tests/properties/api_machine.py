"""What every rule of the API's state machine needs: names of this example, credentials, conditions, receipts.

The rules themselves stand by subject in `api_file_rules`, `api_reading_rules`, `api_lock_rules` and `api_people_rules`;
what the answers must be is `api_model`'s to say.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from lockstep_store.wire.codec import decoder
from lockstep_store.wire.content_types import FOUND_TYPE
from lockstep_store.wire.messages.files import CommittedReply, FileVersion
from tests.fakes.wsgi import Answer
from tests.properties.api_model import ADMIN, ApiModel, Bucket, Content, Refused, Version

NAMES = ("a", "b.txt", "dir/a", "dir/b", "dir/sub/a", "dir0", "é/ü", "e\u0301/u", "sp ace+%41&x=1", "ｆ", "𝛑")
PEOPLE = (ADMIN, "ann", "bob")
BUCKETS = ("files", "one", "two", "three")
NOISE = random.Random(3)
CONTENTS = {
    "empty": b"",
    "byte": b"x",
    "inline": NOISE.randbytes(40_000),
    "file": NOISE.randbytes(200_000),
    "several": NOISE.randbytes(1_300_000),
}
CONTENTS["changed"] = CONTENTS["several"][:900_000] + b"changed" + CONTENTS["several"][900_007:]
CONTENTS["beginning"] = CONTENTS["several"][:700_000]
MADE = {name: Content.of(data) for name, data in CONTENTS.items()}

people = st.sampled_from(PEOPLE)
# Mostly the same few, or most requests would be for what does not exist.
buckets = st.sampled_from(("one", "one", "one", *BUCKETS, "files"))
paths = st.sampled_from((*NAMES[:2] * 6, *NAMES[:5], *NAMES))
contents = st.one_of(
    st.sampled_from(("empty", "byte", "byte", "inline", "inline", "file", "several", "changed", "beginning")),
    st.binary(max_size=12),
)
conditions = st.sampled_from((*(None,) * 9, "match *", "match current", "match other", "none *", "none current"))
picks = st.sampled_from((*(0,) * 10, 4, 5))
spots = st.integers(0, 200)
types = st.sampled_from(("", "text/plain; charset=utf-8", "image/png"))
metadata = st.sampled_from(({}, {}, {"colour": "red"}, {"colour": "blue", "x-1": "~ !", "x_1": "Zoë"}))
ranges = st.one_of(
    st.none(),
    st.builds(
        "{}-{}".format,
        st.sampled_from((0, 0, 0, 1, 5, 1000, 262_144, 1_299_999, 1_300_000)),
        st.sampled_from(("", 0, 0, 1, 7, 39_999, 262_144, 1_299_999, 9_999_999)),
    ),
    st.builds("-{}".format, st.integers(0, 50)),
)

COMMITTED = decoder(CommittedReply)


@dataclass
class Door:
    """Where requests go: `ask(headers, method, target, body)`, with a target behind /api/v1.

    `credentials` are the headers of each person. `advance` moves the cluster's clock; None where that cannot be done.
    """

    ask: Callable[..., Answer]
    credentials: dict[str, dict[str, str]]
    advance: Callable[[float], None] | None = None
    examples: Iterator[int] = field(default_factory=itertools.count)
    requests: int = 0


class ApiMachine(RuleBasedStateMachine):
    """One example: some buckets, three people, and whatever they do."""

    door: ClassVar[Door]

    def __init__(self) -> None:
        super().__init__()
        self.model = ApiModel()
        self.example = f"{os.getpid()}-{next(self.door.examples)}"
        self.request_ids = itertools.count(1)
        self.asked = 0
        self.cursor = 0
        self.last_version = ""
        self.highest_lock = 0
        self.keys: dict[str, dict[str, str]] = {"ann": {}, "bob": {}}
        self.dead_keys: list[str] = []
        self.model.buckets["files"] = Bucket(ADMIN, "enabled", True)

    # ------------------------------------------------------------ names and conditions

    def bucket_name(self, bucket: str) -> str:
        return bucket if bucket == "files" else f"{bucket}-{self.example}"

    def path_name(self, path: str) -> str:
        return f"{self.example}/{path}"

    def at(self, spot: int) -> tuple[str, str]:
        """Mostly a path that has versions, or else most requests would be for what does not exist."""
        known = [(bucket, path) for bucket, kept in self.model.buckets.items() for path in kept.paths]
        if known and spot % 8:
            return known[spot % len(known)]
        return BUCKETS[spot % len(BUCKETS)], NAMES[spot % len(NAMES)]

    def file(self, bucket: str, path: str, group: str = "files") -> str:
        return f"/{group}/{self.bucket_name(bucket)}/{quote(self.path_name(path), safe='/')}"

    def condition(self, wanted: str | None, current: Version | None) -> tuple[dict[str, str], str | None, str | None]:
        """(headers, If-Match, If-None-Match)."""
        if wanted is None:
            return {}, None, None
        kind, _, what = wanted.partition(" ")
        digest = str(current.digest) if what == "current" and current is not None else "0" * 64
        text = "*" if what == "*" else digest
        header = text if text == "*" else f'"{text}"'
        if kind == "match":
            return {"If-Match": header}, text, None
        return {"If-None-Match": header}, None, text

    def lock_for(self, pick: int, at: tuple[str, str], who: str) -> int | None:
        """Usually what a careful client would send; sometimes none, or another number."""
        lock = self.model.lock_on(at)
        if pick == 5:
            return self.highest_lock + 1000
        if pick == 4 or lock is None or lock.who != who:
            return None
        return lock.number

    # ------------------------------------------------------------ asking

    def ask(self, who: str, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        self.door.requests += 1
        self.asked += 1
        keys = self.keys.get(who)
        # Every second request of somebody who has a key is made with it.
        credential = {"X-Api-Key": next(iter(keys.values()))} if keys and self.asked % 2 else self.door.credentials[who]
        answer = self.door.ask({**credential, **headers}, method, target, body)
        assert answer.error is None, answer.error
        given = answer.headers.get("X-Lockstep-Cursor")
        # Under a read lease it is the cursor at which the version was found, however long ago.
        if given is not None and answer.headers.get("X-Lockstep-Validated") != "lease":
            self.at_cursor(int(given))
        return answer

    def post(self, who: str, target: str, message: Any, method: str = "POST", **headers: str) -> Answer:
        return self.ask(who, method, target, msgspec.json.encode(message), **headers)

    def at_cursor(self, cursor: int) -> None:
        """The journal never goes back."""
        assert cursor >= self.cursor, f"cursor {cursor} after {self.cursor}"
        self.cursor = cursor

    def refused(self, answer: Answer, refusal: Refused, method: str = "") -> None:
        assert answer.status == refusal.status, (answer.status, answer.body[:300], refusal)
        if method != "HEAD":
            assert answer.json["code"] == refusal.code, (answer.json, refusal)

    def committed(self, answer: Answer, bucket: str, path: str, version: Version, created: bool) -> None:
        """The receipt of a write that the model has yet to take over; completes `version` and takes it over."""
        assert answer.status == (201 if created else 200), (answer.status, answer.body[:300])
        reply = COMMITTED.decode(answer.body)
        made = reply.version
        assert made.version > self.last_version, "version ids rise"
        assert made.version == f"{made.cursor:016d}"
        assert made.cursor <= reply.cursor
        self.last_version = version.id = made.version
        self.at_cursor(reply.cursor)
        assert version.content is not None
        assert reply.copies >= 2
        assert answer.headers["X-Lockstep-Digest"] == str(version.digest) == answer.headers["ETag"].strip('"')
        assert answer.headers["X-Lockstep-Version"] == version.id
        assert answer.headers["X-Lockstep-Copies"] == f"{reply.copies}/{reply.copies} fsynced"
        self.model.put(bucket, path, version)
        self.same_version(made, bucket, path, version, current=True, created=created)

    def same_version(
        self, found: FileVersion, bucket: str, path: str, version: Version, *, current: bool, created: bool = False
    ) -> None:
        own = {name: value for name, value in found.metadata.items() if name == FOUND_TYPE}
        expected = msgspec.structs.replace(
            found,
            bucket=self.bucket_name(bucket),
            path=self.path_name(path),
            version=version.id,
            digest=version.digest,
            size=len(version.content.data) if version.content is not None else 0,
            author=version.author,
            cursor=int(version.id),
            content_type=version.content_type,
            metadata=version.metadata | own,
            lock_number=version.lock_number,
            delete_marker=version.content is None,
            null_version=version.null,
            current=current,
            created=created,
            holders=[],
        )
        assert found == expected, version

    def release(self, wanted: bool, number: int | None) -> None:
        """What a commit with X-Lockstep-Release-Lock does to the lock of that number."""
        lock = next((claim for claim in self.model.held if claim.number == number), None)
        if wanted and lock is not None:
            self.model.end(lock)


def query(**arguments: str | None) -> str:
    """The arguments that have a value, as the end of an address; an empty one would be refused."""
    given = {name: value for name, value in arguments.items() if value}
    return "?" + urlencode(given) if given else ""
