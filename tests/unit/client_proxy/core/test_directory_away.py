"""A directory that is away, slow or loses answers: what is asked again, what is not, and what people are told."""

from __future__ import annotations

import pytest

from lockstep_store.wire.digest import EMPTY_DIGEST
from lockstep_store.wire.errors import (
    Forbidden,
    Locked,
    LockstepError,
    NotFound,
    NotLoggedIn,
    PeerUnreachable,
    PreconditionFailed,
    Unavailable,
    Undecided,
)
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.buckets import CHANGE_BUCKET, ChangeBucketRequest
from lockstep_store.wire.messages.files import (
    DELETE,
    LIST,
    DeleteRequest,
)
from lockstep_store.wire.messages.people import CREATE_API_KEY, ApiKeyInfo, CreateApiKeyRequest
from lockstep_store.wire.messages.s3 import (
    BUCKET_SETTING,
    PUT_BUCKET_SETTING,
    PUT_OBJECT_SETTING,
    BucketSettingRequest,
    PutBucketSettingRequest,
    PutObjectSettingRequest,
    SettingReply,
)
from lockstep_store.wire.messages.writes import BeginItem
from tests.unit.client_proxy.core.test_directory_client import (
    HOLDER,
    LISTING,
    Rig,
    find,
)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_lost_answer_is_asked_for_again(rig: Rig) -> None:
    """A begin whose answer was lost is repeated under its own write id, so there is one version, not two."""
    item = BeginItem(credential="ann", write_id="w" * 16, bucket="files", path="file", digest=EMPTY_DIGEST, size=0)
    rig.directory.holders[EMPTY_DIGEST] = [HOLDER]
    rig.directory.drop_replies = 1
    begun = rig.client.begin(item)
    assert begun.version is not None
    assert [version.version for version in rig.directory.versions["files", "file"]] == [begun.version.version]


def test_a_directory_that_comes_back_in_time_is_not_noticed(rig: Rig) -> None:
    """An outage shorter than the client's patience costs time, not an error, and pauses grow but stay bounded."""
    rig.directory.down = True
    sleep = rig.client._sleep

    def until_back(seconds: float) -> None:
        sleep(seconds)
        if rig.clock.monotonic() > 5:
            rig.directory.down = False

    rig.client._sleep = until_back
    assert rig.client.call(LIST, LISTING).files == []
    assert rig.pauses == sorted(rig.pauses)
    assert max(rig.pauses) <= 1.5


def test_a_directory_that_stays_away_is_named_in_a_bounded_time(rig: Rig) -> None:
    """When patience ends the error is a 503 that says what is missing."""
    rig.directory.hang = True
    with pytest.raises(Unavailable, match="directory server has not replied for 8 s") as caught:
        rig.client.lookup(find("file"))
    assert caught.value.status == 503
    assert rig.clock.monotonic() <= 8.0


def test_while_the_directory_is_known_to_be_away_nobody_waits(rig: Rig) -> None:
    """After the first lost patience calls are refused at once, one a second tries, and its answer ends the outage."""
    rig.directory.down = True
    with pytest.raises(Unavailable, match="for 8 s"):
        rig.client.call(LIST, LISTING)
    assert rig.clock.monotonic() == pytest.approx(8.0, abs=1.5)
    began, tried = rig.clock.monotonic(), 0
    for number in range(50):
        before = len(rig.directory.calls)
        with pytest.raises(Unavailable) as caught:
            rig.client.lookup(find("file")) if number % 2 else rig.client.call(LIST, LISTING)
        assert caught.value.can_retry
        tried += len(rig.directory.calls) - before
        rig.clock.advance(0.1)
    assert rig.clock.monotonic() - began == pytest.approx(5.0, abs=0.01), "nobody slept"
    assert 4 <= tried <= 6
    rig.directory.down = False
    rig.clock.advance(1.0)
    for _ in range(3):
        assert rig.client.call(LIST, LISTING).files == []


def test_an_old_outage_does_not_refuse_anybody(rig: Rig) -> None:
    """After a quiet time nobody knows, so everybody is patient again; a refusal is an answer, too."""
    rig.directory.down = True
    with pytest.raises(Unavailable):
        rig.client.call(LIST, LISTING)
    rig.clock.advance(60.0)
    rig.directory.down = False
    with pytest.raises(NotFound):
        rig.client.lookup(find("file"))
    assert rig.client._outage._since is None


def test_a_change_whose_answer_never_comes_is_not_said_to_have_failed(rig: Rig) -> None:
    """The delete may have been done before the directory fell silent, so its caller is told to look."""
    rig.directory.hang = True
    with pytest.raises(Undecided, match="may or may not have been done"):
        rig.client.call(DELETE, DeleteRequest(credential="ann", write_id="w" * 16, bucket="files", path="file"))
    assert rig.clock.monotonic() <= 8.0


def _made_keys(rig: Rig) -> list[str]:
    """Let the directory make API keys; their names, as it makes them."""
    made: list[str] = []

    def make(request: CreateApiKeyRequest) -> ApiKeyInfo:
        made.append(request.name)
        return ApiKeyInfo(id="1", name=request.name, created_at=0.0)

    rig.directory.replies[CREATE_API_KEY.path] = make
    return made


def test_calls_that_would_act_twice_are_not_repeated(rig: Rig) -> None:
    """A new API key whose answer was lost is not asked for again: that would make a second key."""
    made = _made_keys(rig)
    rig.directory.drop_replies = 1
    with pytest.raises(Undecided, match="may or may not have been done"):
        rig.client.call(CREATE_API_KEY, CreateApiKeyRequest(credential="ann", name="robot"))
    assert made == ["robot"]


def test_settings_are_asked_for_again_and_put_once(rig: Rig) -> None:
    """Reading one twice harms nothing; the late first attempt to put one could undo what somebody else put since."""
    asked: list[str] = []

    def answer(request: BucketSettingRequest) -> SettingReply:
        asked.append("get")
        return SettingReply("{}")

    def put(request: PutBucketSettingRequest | PutObjectSettingRequest | ChangeBucketRequest) -> Nothing:
        asked.append("put")
        return Nothing()

    rig.directory.replies |= {BUCKET_SETTING.path: answer, PUT_BUCKET_SETTING.path: put, PUT_OBJECT_SETTING.path: put}
    rig.directory.replies[CHANGE_BUCKET.path] = put
    rig.directory.drop_replies = 1
    assert rig.client.call(BUCKET_SETTING, BucketSettingRequest("ann", "files", "policy")).value == "{}"
    assert asked == ["get", "get"]
    for call, request in (
        (PUT_BUCKET_SETTING, PutBucketSettingRequest("ann", "files", "policy", "{}")),
        (PUT_OBJECT_SETTING, PutObjectSettingRequest("ann", "files", "k", name="acl", value="{}")),
        (CHANGE_BUCKET, ChangeBucketRequest("ann", "files", shared=True)),
    ):
        rig.directory.drop_replies = 1
        with pytest.raises(Undecided, match="may or may not have been done"):
            rig.client.call(call, request)
    assert asked == ["get", "get", "put", "put", "put"]


def test_a_refused_connection_is_tried_again_for_every_call(rig: Rig) -> None:
    """Nothing was sent over a refused connection, so even a call that acts is made once the directory is back."""
    made = _made_keys(rig)
    rig.directory.down = True
    sleep = rig.client._sleep

    def come_back(seconds: float) -> None:
        sleep(seconds)
        rig.directory.down = False

    rig.client._sleep = come_back
    rig.client.call(CREATE_API_KEY, CreateApiKeyRequest(credential="ann", name="robot"))
    assert made == ["robot"]


@pytest.mark.parametrize(
    "refusal",
    [
        PreconditionFailed("it changed"),
        Locked("bob has it"),
        NotFound("no source"),
        NotLoggedIn("it expired"),
        Forbidden("the bucket was closed"),
    ],
)
def test_a_refusal_after_a_lost_attempt_does_not_claim_that_nothing_was_done(rig: Rig, refusal: LockstepError) -> None:
    """The lost delete may still be on its way and meet a state that lets it in, so nobody is told that it failed."""
    answers: list[Exception] = [PeerUnreachable("did not answer in time"), refusal]

    def answer(_: DeleteRequest) -> None:
        raise answers.pop(0)

    rig.directory.replies[DELETE.path] = answer
    request = DeleteRequest(credential="ann", write_id="w" * 16, bucket="files", path="file")
    with pytest.raises(Undecided, match="may still take effect"):
        rig.client.call(DELETE, request)
    answers[:] = [refusal]
    with pytest.raises(type(refusal)):
        rig.client.call(DELETE, request)
