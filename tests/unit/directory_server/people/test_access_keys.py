"""S3 access keys and settings at the directory: who stands behind a signature, when a key ends, what goes with what."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.features.s3_settings import S3Settings
from directory_server.metadata.statements import s3_keys
from directory_server.people.access_keys import MAX_KEYS, S3Keys
from directory_server.people.person import Person
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.errors import (
    BadRequest,
    Conflict,
    DamagedChunk,
    Forbidden,
    NotFound,
    NotLoggedIn,
    PreconditionFailed,
)
from lockstep_store.wire.messages.files import LookupItem
from lockstep_store.wire.messages.s3 import (
    BucketSettingRequest,
    CreateS3KeyRequest,
    ObjectSettingsRequest,
    PutBucketSettingRequest,
    PutObjectSettingRequest,
    S3KeyInfo,
    S3KeyRequest,
    S3Proof,
    SigningKeyRequest,
    signing_key,
)
from tests.fakes.directory_rig import DirectoryRig, PeopleByName

DAY, REGION = "20261121", "eu"
ADMIN = Person("admin", True, "session")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DirectoryRig]:
    rig = DirectoryRig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    return Sealer(KeyRing.load_or_create(tmp_path / "storage-keys.json"))


@pytest.fixture
def keys(rig: DirectoryRig, sealer: Sealer) -> S3Keys:
    return S3Keys(rig.store, rig.clock, lambda: sealer)


def create(keys: S3Keys, valid: float | None = None) -> S3KeyInfo:
    return keys.create(ADMIN, CreateS3KeyRequest("admin", "mine", valid))


def proof(made: S3KeyInfo, secret: str = "") -> S3Proof:
    """What a request that the key signed shows."""
    unsigned = S3Proof(made.access_key_id, DAY, REGION, f"{DAY}T120000Z", "00" * 32, "")
    text = f"AWS4-HMAC-SHA256\n{unsigned.amz_date}\n{unsigned.scope}\n{unsigned.canonical_sha256}"
    key = signing_key(secret or made.secret, DAY, REGION)
    return unsigned._replace(signature=hmac.digest(key, text.encode(), "sha256").hex())


@pytest.mark.usefixtures("every_engine")
def test_sessions_depend_on_all_keys_before_them(
    rig: DirectoryRig, keys: S3Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were made with sessions count towards the bound of the first key, and go with it."""
    monkeypatch.setattr("directory_server.people.access_keys.MAX_SESSIONS", 3)
    first, other = create(keys), create(keys)

    def session(maker: str) -> str:
        holder = s3_keys.S3KeyHolder(session_name="work", parent_key=maker)
        return rig.store.write(lambda tx: keys.create_session(tx, "admin", 900.0, holder)).access_key_id

    second = session(first.access_key_id)
    third = session(second)
    fourth = session(third)
    for maker in (first.access_key_id, second, fourth):
        with pytest.raises(Conflict, match="3 sessions already"):
            session(maker)
    kept = session(other.access_key_id)
    keys.revoke(ADMIN, S3KeyRequest("admin", first.access_key_id))
    with rig.store.read() as reader:
        left = {key.access_key_id for key in s3_keys.every_key_of(reader, "admin", 100)}
    assert left & {first.access_key_id, second, third, fourth, other.access_key_id, kept} == {other.access_key_id, kept}


def test_a_signature_shows_whose_it_is(keys: S3Keys) -> None:
    """The right secret is the account; any other is nobody's, and so is a key that never was."""
    made = create(keys)
    assert keys.person(proof(made)).account == "admin"
    assert keys.person(proof(made)).admin
    good = proof(made)
    for wrong in (proof(made, "guess"), good._replace(access_key_id="LSNONE"), good._replace(date="20261122")):
        with pytest.raises(NotLoggedIn):
            keys.person(wrong)


def test_secrets_are_sealed_in_the_metadata(rig: DirectoryRig, keys: S3Keys, sealer: Sealer) -> None:
    """The metadata alone opens no key; another process with the storage keys does. A secret belongs to its row."""
    made, other = create(keys), create(keys)
    with rig.store.read() as reader:
        stored = {made.access_key_id: "", other.access_key_id: ""}
        for id in stored:
            found = s3_keys.find_key(reader, id)
            assert found is not None
            stored[id] = found.secret
        assert s3_keys.plain_secrets(reader) == []
    assert all(made.secret not in secret and secret.startswith("sealed:") for secret in stored.values())
    again = S3Keys(rig.store, rig.clock, lambda: sealer)
    assert again.person(proof(made)).account == "admin"
    rig.store.write(lambda tx: s3_keys.replace_secret(tx, other.access_key_id, stored[made.access_key_id]))
    with pytest.raises(DamagedChunk):
        S3Keys(rig.store, rig.clock, lambda: sealer).person(proof(other))


def test_plain_secrets_of_older_versions_are_sealed(rig: DirectoryRig, keys: S3Keys) -> None:
    """They work before and after, and are plain no more."""
    made = S3KeyInfo("LSOLD", "admin", 0.0, "old", "a-plain-secret")
    rig.store.write(lambda tx: s3_keys.insert_key(tx, made, None, None))
    assert keys.person(proof(made)).account == "admin"
    keys.seal_all()
    keys.seal_all()
    with rig.store.read() as reader:
        found = s3_keys.find_key(reader, "LSOLD")
        assert found is not None
        assert "a-plain-secret" not in found.secret
        assert s3_keys.plain_secrets(reader) == []
    assert keys.person(proof(made)).account == "admin"


def test_a_proof_survives_its_way(keys: S3Keys) -> None:
    """What stands in a message's credential is the same proof again; anything else is none."""
    shown = proof(create(keys))
    assert S3Proof.decode(shown.encode()) == shown
    assert S3Proof.decode("lst_token") is None
    assert S3Proof.decode("lss_a/b") is None


def test_a_proxy_gets_a_days_key_and_never_the_secret(keys: S3Keys) -> None:
    """The signing key is that day's and region's; the listing has no secrets."""
    made = create(keys)
    reply = keys.signing_key(SigningKeyRequest(made.access_key_id, DAY, REGION))
    assert bytes.fromhex(reply.key) == signing_key(made.secret, DAY, REGION)
    assert reply.account == "admin"
    listed = keys.all(ADMIN).keys
    assert [(key.access_key_id, key.name, key.secret) for key in listed] == [(made.access_key_id, "mine", "")]


def test_a_revoked_key_ends_at_once(keys: S3Keys) -> None:
    """Also where it was just used; it is its owner's alone to revoke."""
    made = create(keys)
    keys.person(proof(made))
    request = S3KeyRequest("", made.access_key_id)
    with pytest.raises(NotFound):
        keys.revoke(Person("eve", False, "s"), request)
    keys.revoke(ADMIN, request)
    with pytest.raises(NotLoggedIn):
        keys.person(proof(made))
    with pytest.raises(NotFound):
        keys.revoke(ADMIN, request)


def test_rotating_puts_another_key_in_its_place(keys: S3Keys) -> None:
    """The new one works under the old one's name, the old one no more."""
    old = create(keys)
    new = keys.rotate(ADMIN, S3KeyRequest("", old.access_key_id))
    assert (new.name, new.access_key_id != old.access_key_id) == ("mine", True)
    assert keys.person(proof(new)).account == "admin"
    with pytest.raises(NotLoggedIn):
        keys.person(proof(old))


def test_a_temporary_key_needs_its_token_and_ends_in_directory_time(rig: DirectoryRig, keys: S3Keys) -> None:
    """Without its session token there is no signing key; no wall clock ends it early or late."""
    made = create(keys, 600.0)
    asked = SigningKeyRequest(made.access_key_id, DAY, REGION)
    for token in ("", "another"):
        asked.session_token = token
        with pytest.raises(NotLoggedIn):
            keys.signing_key(asked)
    asked.session_token = made.session_token
    assert keys.signing_key(asked).account == "admin"
    rig.time.step_wall(7200.0)
    assert keys.person(proof(made)).account == "admin"
    rig.time.advance(601.0)
    with pytest.raises(NotLoggedIn) as ended:
        keys.person(proof(made))
    assert ended.value.facts["expired"]
    rig.store.write(keys.remove_ended)
    assert keys.all(ADMIN).keys == []


def test_keys_are_bounded(keys: S3Keys) -> None:
    """Nobody fills the directory with keys."""
    for _ in range(MAX_KEYS):
        create(keys)
    with pytest.raises(Conflict):
        create(keys)


# ---------------------------------------------------------------- settings


@pytest.fixture
def s3_settings(rig: DirectoryRig) -> S3Settings:
    return S3Settings(rig.store, rig.clock, PeopleByName(), rig.hooks)


def test_a_buckets_settings_are_its_owners(rig: DirectoryRig, s3_settings: S3Settings) -> None:
    """Others may not change them; they go with the bucket, and a later one of its name has none."""
    rig.bucket("mine", who="ann")
    s3_settings.put_of_bucket(PutBucketSettingRequest("ann", "mine", "cors", "[1]"))
    assert s3_settings.of_bucket(BucketSettingRequest("ann", "mine", "cors")).value == "[1]"
    with pytest.raises(Forbidden):
        s3_settings.put_of_bucket(PutBucketSettingRequest("eve", "mine", "cors", None))
    with pytest.raises(BadRequest):
        s3_settings.put_of_bucket(PutBucketSettingRequest("ann", "mine", "no such name!", "x"))
    rig.buckets.delete(Person("ann", False, "s"), "mine")
    rig.bucket("mine", who="ann")
    assert s3_settings.of_bucket(BucketSettingRequest("ann", "mine", "cors")).value is None


def test_a_setting_is_changed_only_while_it_is_what_the_caller_says(rig: DirectoryRig, s3_settings: S3Settings) -> None:
    """An older proxy says nothing, and changes it whatever it is. A repeated call changes nothing more."""
    rig.commit(rig.begin("a.txt"), b"one")

    def put(value: str | None, if_value: str | None) -> str | None:
        request = PutObjectSettingRequest("ann", "files", "a.txt", name="hold", value=value, if_value=if_value)
        return s3_settings.put_of_version(request).settings.get("hold")

    assert put("1", "") == "1"
    assert put("1", "") == "1"
    for stale in ("", "2"):
        with pytest.raises(PreconditionFailed):
            put("3", stale)
        with pytest.raises(PreconditionFailed):
            put(None, stale)
    assert put("4", "1") == "4"
    assert put("5", None) == "5"
    assert put(None, "5") is None
    assert put(None, "5") is None


def test_a_setting_is_changed_only_of_the_version_that_the_caller_names(
    rig: DirectoryRig, s3_settings: S3Settings
) -> None:
    """While it is the current one: neither an older version's is changed, nor a newer one's."""
    first = rig.write("a.txt", b"one")

    def put(if_version: str) -> str | None:
        request = PutObjectSettingRequest("ann", "files", "a.txt", name="hold", value="1", if_version=if_version)
        return s3_settings.put_of_version(request).settings.get("hold")

    assert put(first.version) == "1"
    second = rig.write("a.txt", b"two")
    with pytest.raises(PreconditionFailed, match="another version"):
        put(first.version)
    assert "hold" not in s3_settings.of_version(ObjectSettingsRequest("ann", "files", "a.txt")).settings
    assert put(second.version) == "1"


def test_a_versions_settings_go_with_the_version(rig: DirectoryRig, s3_settings: S3Settings) -> None:
    """Set with the write or later, they are that version's alone, and answered where they are asked for.

    The next version keeps the tags, and nothing else.
    """
    rig.commit(rig.begin("a.txt", settings={"tags": "[]"}), b"one")
    first = rig.lookup("a.txt").version
    rig.commit(rig.begin("a.txt"), b"two")
    assert s3_settings.of_version(ObjectSettingsRequest("ann", "files", "a.txt")).settings.keys() <= {"acl", "tags"}
    s3_settings.put_of_version(PutObjectSettingRequest("ann", "files", "a.txt", first, "hold", "true"))
    found = s3_settings.of_version(ObjectSettingsRequest("ann", "files", "a.txt", first))
    found.settings.pop("acl", None)  # which every version has, said or not
    assert found.settings == {"hold": "true", "tags": "[]"}
    item = LookupItem("ann", "files", "a.txt", first, with_settings=True)
    assert rig.lookups.lookup([item]).results[0].unwrap().settings == found.settings
    rig.delete("a.txt", version=first)
    with pytest.raises(NotFound):
        s3_settings.of_version(ObjectSettingsRequest("ann", "files", "a.txt", first))
