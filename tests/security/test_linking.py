"""A digest is a name, not a right: known content is linked only for people who may read it now."""

from __future__ import annotations

import secrets

import pytest
from botocore.exceptions import ClientError

from directory_server.files import writes
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.digest import chunk_digest
from tests.security.people import Person, comparable


def secret_text() -> bytes:
    """A short content that no other test has."""
    return secrets.token_bytes(40)


def test_an_unreadable_content_is_not_linked_by_its_digest(olga: Person, eve: Person) -> None:
    """Content of a private bucket is answered like content that the cluster does not have, to the letter."""
    content = secret_text()
    olga.put(olga.bucket(), "secret", content)
    held, unknown = chunk_digest(content).hex(), chunk_digest(secret_text()).hex()
    mine = eve.bucket()
    answer, other = eve.link(mine, "stolen", held), eve.link(mine, "stolen", unknown)
    assert answer.status == 409, answer.body
    assert answer.json["code"] == "missing_chunks"
    assert comparable(answer, held) == comparable(other, unknown)
    assert eve.get(mine, "stolen").status == 404


@pytest.mark.parametrize("actions", [("s3:GetObject",), ("s3:GetObject", "s3:ListBucket", "s3:PutObject")])
def test_a_readable_content_is_linked(olga: Person, eve: Person, actions: tuple[str, ...]) -> None:
    """Who may read a file by a policy can make a file of its content without sending it."""
    content, theirs, mine = secret_text(), olga.bucket(), eve.bucket()
    olga.put(theirs, "shared", content)
    olga.let(theirs, eve, *actions)
    assert eve.link(mine, "copy", chunk_digest(content).hex()).status == 201
    assert eve.get(mine, "copy").body == content


def test_a_revoked_policy_ends_linking(olga: Person, eve: Person) -> None:
    """An ETag that was read while a policy allowed it links nothing once the policy is gone."""
    content, theirs, mine = secret_text(), olga.bucket(), eve.bucket()
    olga.put(theirs, "shared", content)
    olga.let(theirs, eve, "s3:GetObject")
    etag = eve.get(theirs, "shared").headers["ETag"].strip('"')
    olga.s3.delete_bucket_policy(Bucket=theirs)
    assert eve.link(mine, "copy", etag).status == 409


def test_a_deletion_ends_linking(olga: Person, eve: Person) -> None:
    """Content that its owner deleted links for nobody, though it is not collected yet."""
    content, theirs = secret_text(), olga.bucket()
    etag = olga.put(theirs, "shared", content).headers["ETag"].strip('"')
    olga.ask("DELETE", f"/files/{theirs}/shared")
    assert olga.link(theirs, "again", etag).status == 409
    assert eve.link(eve.bucket(), "copy", etag).status == 409


def test_an_older_version_needs_the_right_to_versions(olga: Person, eve: Person) -> None:
    """GetObject opens what is current; content of an older version needs GetObjectVersion."""
    content, theirs, mine = secret_text(), olga.bucket(), eve.bucket()
    olga.s3.put_bucket_versioning(Bucket=theirs, VersioningConfiguration={"Status": "Enabled"})
    olga.put(theirs, "k", content)
    olga.put(theirs, "k", secret_text())
    olga.let(theirs, eve, "s3:GetObject")
    assert eve.link(mine, "old", chunk_digest(content).hex()).status == 409
    olga.let(theirs, eve, "s3:GetObject", "s3:GetObjectVersion")
    assert eve.link(mine, "old", chunk_digest(content).hex()).status == 201


def test_a_denied_path_is_not_linked_from(olga: Person, eve: Person) -> None:
    """A Deny on one path of a readable bucket holds for linking as for reading."""
    content, theirs = secret_text(), olga.bucket()
    olga.put(theirs, "open/a", secret_text())
    olga.put(theirs, "closed/b", content)
    olga.s3.put_bucket_policy(
        Bucket=theirs,
        Policy=(
            '{"Version": "2012-10-17", "Statement": ['
            f'{{"Effect": "Allow", "Principal": {{"AWS": "eve"}}, "Action": "s3:*", '
            f'"Resource": "arn:aws:s3:::{theirs}/*"}},'
            f'{{"Effect": "Deny", "Principal": {{"AWS": "eve"}}, "Action": "s3:GetObject*", '
            f'"Resource": "arn:aws:s3:::{theirs}/closed/*"}}]}}'
        ),
    )
    assert eve.link(theirs, "open/stolen", chunk_digest(content).hex()).status == 409


def test_a_right_guess_is_answered_like_a_wrong_one(olga: Person, eve: Person) -> None:
    """Sending the bytes of a guess never confirms it: both guesses are stored, with the same kind of answer."""
    pin, wrong = b"PIN 4711 " + secret_text(), b"PIN 0815 " + secret_text()
    olga.put(olga.bucket(), "pin", pin)
    mine = eve.bucket()
    answers = [eve.put(mine, f"guess-{number}", guess) for number, guess in enumerate((pin, wrong))]
    assert [answer.status for answer in answers] == [201, 201]
    right, other = ({name for name in answer.headers} for answer in answers)
    assert right == other
    assert "X-Lockstep-File-Server" in right


def test_a_drop_box_tells_nothing_of_its_content(olga: Person, eve: Person) -> None:
    """With PutObject alone, a refused condition names no digest, version or size, at either door."""
    content, box = secret_text(), olga.bucket()
    digest = olga.put(box, "letter", content).headers["X-Lockstep-Digest"]
    olga.let(box, eve, "s3:PutObject", "s3:DeleteObject")
    refusal = eve.put(box, "letter", b"mine", If_None_Match="*")
    assert refusal.status == 412
    assert digest not in refusal.body.decode()
    assert digest not in str(refusal.headers)
    assert not {"digest", "version", "size"} & refusal.json.get("facts", {}).keys()
    with pytest.raises(ClientError) as error:
        eve.s3.put_object(Bucket=box, Key="letter", Body=b"mine", IfNoneMatch="*")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert digest not in str(error.value.response)
    assert "digest" in olga.put(box, "letter", b"mine", If_None_Match="*").json["facts"]


@pytest.mark.parametrize("header", ["If_Match", "If_None_Match"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_condition_that_names_a_digest_needs_the_right_to_read(
    olga: Person, eve: Person, header: str, method: str
) -> None:
    """A right and a wrong guess of what a drop box has are refused alike, through the API."""
    content, box = secret_text(), olga.bucket()
    olga.put(box, "letter", content)
    olga.let(box, eve, "s3:PutObject", "s3:DeleteObject")
    refusals = [
        comparable(eve.ask(method, f"/files/{box}/letter", b"mine", **{header: f'"{chunk_digest(guess).hex()}"'}))
        for guess in (content, secret_text())
    ]
    assert refusals[0][0] == 403
    assert refusals[0] == refusals[1]
    assert olga.get(box, "letter").body == content


def test_an_s3_condition_that_names_an_etag_needs_the_right_to_read(olga: Person, eve: Person) -> None:
    """As in S3, If-Match of a write needs GetObject too: right and wrong ETags are refused alike."""
    box = olga.bucket()
    etag = olga.s3.put_object(Bucket=box, Key="letter", Body=secret_text())["ETag"]
    olga.let(box, eve, "s3:PutObject")
    codes = []
    for guess in (etag, '"0123"'):
        with pytest.raises(ClientError) as error:
            eve.s3.put_object(Bucket=box, Key="letter", Body=b"mine", IfMatch=guess)
        codes.append(error.value.response["Error"]["Code"])
    assert codes == ["AccessDenied", "AccessDenied"]
    olga.let(box, eve, "s3:PutObject", "s3:GetObject")
    eve.s3.put_object(Bucket=box, Key="letter", Body=b"mine", IfMatch=etag)


def test_a_streamed_content_of_others_is_stored_and_not_linked(olga: Person, eve: Person) -> None:
    """A whole chunk stream of unreadable content becomes a file, with every byte from its sender."""
    content = secrets.token_bytes(600_000)
    olga.put(olga.bucket(), "large", content)
    mine = eve.bucket()
    answer = eve.stream(mine, "large", list(chunk_bytes(content)))
    assert answer.status == 201
    assert "X-Lockstep-File-Server" in answer.headers
    assert eve.get(mine, "large").body == content


def test_a_link_counts_the_right_of_its_own_transaction(
    olga: Person, eve: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy that is revoked between the look and the commit of a link ends it: the bytes are asked for."""
    content, theirs, mine = secret_text(), olga.bucket(), eve.bucket()
    olga.put(theirs, "shared", content)
    olga.let(theirs, eve, "s3:GetObject")
    passed = []

    def revoke(point: str) -> None:
        if point == "directory.begin.linking":
            passed.append(point)
            olga.s3.delete_bucket_policy(Bucket=theirs)

    monkeypatch.setattr(writes, "crash_point", revoke)
    assert eve.link(mine, "copy", chunk_digest(content).hex()).status == 409
    assert passed
