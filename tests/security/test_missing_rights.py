"""Rights that are missing for a part of what is asked, or no longer there when it is done.

Found by taking the checks away (tests/security/mutation): no other test asked for these.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lockstep_store.runtime.peers.proofs import ProofCheck, ProofMaker
from lockstep_store.runtime.tls.authority_keys import private_key_pem
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority, utc_now
from lockstep_store.runtime.tls.identity import Identity
from lockstep_store.wire.errors import Forbidden, PeerRefused
from lockstep_store.wire.messages import recovery as rm
from lockstep_store.wire.messages.files import Preconditions
from lockstep_store.wire.messages.s3 import ACCESS_LOG_PREFIX
from lockstep_store.wire.messages.writes import BEGIN, BeginItem, BeginRequest
from tests.fakes.whole_cluster import DIRECTORY_URL, WholeCluster, server_url
from tests.s3.calls import DENIED, refused
from tests.s3.people import document, statement
from tests.s3.rig import S3Rig
from tests.security.people import Person

_numbers = itertools.count(1)
BAD_TARGET = (400, "InvalidTargetBucketForLogging")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[WholeCluster]:
    with WholeCluster(tmp_path / "data", tmp_path / "certs", file_servers=1, registration="open") as cluster:
        yield cluster


# ------------------------------------------------------------ files


def test_a_move_needs_the_right_to_delete(olga: Person, eve: Person) -> None:
    """Reading the source and writing the target is a copy."""
    bucket = olga.bucket()
    assert olga.put(bucket, "a", b"content").status == 201
    olga.let(bucket, eve, "s3:GetObject", "s3:PutObject", "s3:ListBucket")
    assert refused(eve.s3.rename_object, Bucket=bucket, Key="b", RenameSource="a") == DENIED
    assert olga.get(bucket, "a").status == 200
    olga.let(bucket, eve, "s3:GetObject", "s3:PutObject", "s3:DeleteObject")
    eve.s3.rename_object(Bucket=bucket, Key="b", RenameSource="a")
    assert [olga.get(bucket, path).status for path in ("a", "b")] == [404, 200]


def test_what_is_not_there_is_hidden_from_those_who_may_not_list(olga: Person, eve: Person) -> None:
    """A copy's source, and a file whose settings are asked for."""
    bucket, own = olga.bucket(), eve.bucket()
    body = f'{{"source": {{"bucket": "{bucket}", "path": "none"}}, "bucket": "{own}", "path": "copy"}}'.encode()
    for actions, copied, tagged in (
        (("s3:GetObject", "s3:GetObjectTagging"), 403, DENIED),
        (("s3:GetObject", "s3:GetObjectTagging", "s3:ListBucket"), 404, (404, "NoSuchKey")),
    ):
        olga.let(bucket, eve, *actions)
        assert eve.ask("POST", "/copy", body).status == copied
        assert refused(eve.s3.get_object_tagging, Bucket=bucket, Key="none") == tagged


# ------------------------------------------------------------ buckets


def test_a_policy_does_not_let_others_share_a_bucket(olga: Person, eve: Person) -> None:
    """It may let them change its versioning; sharing is the owner's and administrators'."""
    bucket = olga.bucket()
    olga.let(bucket, eve, "s3:PutBucketVersioning")
    assert eve.ask("PATCH", f"/buckets/{bucket}", b'{"versioning": "enabled"}').status == 200
    assert eve.ask("PATCH", f"/buckets/{bucket}", b'{"shared": true}').status == 403
    assert olga.ask("PATCH", f"/buckets/{bucket}", b'{"shared": true}').status == 200


def test_the_heir_of_the_shared_bucket_does_not_close_it(cluster: WholeCluster) -> None:
    """Bucket `files` is everybody's: who shares it, or stops that, is an administrator."""
    ann, boss = cluster.log_in("ann"), cluster.log_in("boss")
    assert cluster.ask("PATCH", "/users/boss", b'{"role": "administrator"}').status == 200
    assert cluster.ask_with(boss, "DELETE", "/users/admin?buckets_to=ann").status == 204
    assert cluster.ask_with(ann, "PATCH", "/buckets/files", b'{"shared": false}').status == 403
    assert cluster.ask_with(boss, "PATCH", "/buckets/files", b'{"shared": false}').status == 200
    assert cluster.ask_with(ann, "PATCH", "/buckets/files", b'{"shared": true}').status == 403


def log_to(target: str) -> dict[str, dict[str, str]]:
    return {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": "log/"}}


def test_a_log_goes_where_its_bucket_s_owner_may_write(olga: Person) -> None:
    """A policy that denies the owner writing holds for the log as well."""
    bucket, target = olga.bucket(), olga.bucket()
    denied = statement("Deny", "*", "s3:PutObject", f"{target}/log/*")
    olga.s3.put_bucket_policy(Bucket=target, Policy=document(denied))
    wanted = {"Bucket": bucket, "BucketLoggingStatus": log_to(target)}
    assert refused(olga.s3.put_bucket_logging, **wanted) == BAD_TARGET
    olga.s3.delete_bucket_policy(Bucket=target)
    olga.s3.put_bucket_logging(**wanted)


def test_a_log_ends_when_its_target_is_somebody_elses(rig: S3Rig, olga: Person, eve: Person) -> None:
    """A bucket of the target's name that another account makes gets no lines of the first one's readers."""
    bucket, target = olga.bucket(), olga.bucket()
    olga.s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=log_to(target))

    def begin() -> object:
        item = BeginItem(
            credential=ACCESS_LOG_PREFIX + bucket,
            write_id=f"log-write-{next(_numbers):08d}",
            bucket=target,
            path=f"log/{next(_numbers)}",
            preconditions=Preconditions(if_none_match=["*"]),
        )
        return rig.directory.call(BEGIN, BeginRequest([item])).results[0].unwrap()

    assert begin() is not None
    olga.s3.delete_bucket(Bucket=target)
    eve.s3.create_bucket(Bucket=target)
    with pytest.raises(Forbidden, match="no longer belongs"):
        begin()


def test_a_member_starts_no_check_of_the_metadata(rig: S3Rig, eve: Person) -> None:
    """Refused is the call itself, not only the report that the API asks for after it."""
    token = eve.headers["Authorization"].removeprefix("Bearer ")
    with pytest.raises(Forbidden, match="not an administrator"):
        rig.directory.call(rm.FSCK, rm.FsckRequest(token))


# ------------------------------------------------------------ programs


def test_the_directory_reads_and_writes_no_chunks(cluster: WholeCluster) -> None:
    """Every route of a file server is for proxies and file servers; a file server gets no backup."""
    directory = cluster.peers("directory_server", "1")
    routes = cluster.servers["1"].wsgi.routes
    assert len(routes) >= 5
    for method, path in routes:
        with pytest.raises(PeerRefused, match="is not allowed to call"):
            directory.ask(server_url("1"), method, path.replace("…", "0" * 64), {}, iter([]))
    with pytest.raises(PeerRefused, match="is not allowed to call"):
        cluster.peers("file_server", "1").ask(DIRECTORY_URL, "POST", rm.BACKUP_PATH, {}, iter([b"{}"]))


def identity_of(authority: CertificateAuthority, role: str, folder: Path) -> Identity:
    """A certificate of the cluster's authority, for whatever name."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    ca, cert, private = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    ca.write_text(authority.ca_pem)
    cert.write_text(authority._certify(role, "7", [], key.public_key()))
    private.write_bytes(private_key_pem(key))
    return Identity(role, "7", ca, cert, private, "", folder)  # type: ignore[arg-type]


def test_a_proof_is_a_programs_and_ends(tmp_path: Path) -> None:
    """A certificate for another kind of name proves nothing, and one that has expired nothing any more."""
    authority = CertificateAuthority.create(tmp_path / "authority")
    url, now = "https://127.0.0.1:5060", utc_now()
    at = [now]
    (tmp_path / "ca.pem").write_text(authority.ca_pem)
    check = ProofCheck(tmp_path / "ca.pem", url, authority.revocations(), lambda: at[0])
    person = ProofMaker(identity_of(authority, "person", tmp_path / "person")).proof_for(url)
    with pytest.raises(PeerRefused, match="not that of a program"):
        check.verify(person)
    proxy = ProofMaker(identity_of(authority, "client_proxy", tmp_path / "proxy")).proof_for(url)
    assert check.verify(proxy).role == "client_proxy"
    at[0] = now + timedelta(days=3650)
    with pytest.raises(PeerRefused, match="has expired"):
        check.verify(proxy)
