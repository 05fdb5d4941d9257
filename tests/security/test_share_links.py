"""What people with a share link, or without one, can do at the real door of a whole cluster."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any
from urllib.parse import quote

import pytest

from client_proxy.doors.shares.door import ShareDoor
from lockstep_store.wire.errors import Forbidden
from lockstep_store.wire.messages.files import LOOKUP, LookupItem, LookupRequest
from lockstep_store.wire.messages.shares import DAY_SECONDS, ShareProof
from tests.fakes.rate_counts import lasting_limits
from tests.fakes.wsgi import ask
from tests.s3.people import document, statement
from tests.s3.rig import S3Rig
from tests.security.people import Person
from tests.security.visitors import Visitor, share

FORM: dict[str, Any] = {"headers": {"Content-Type": "application/x-www-form-urlencoded"}}
SECRET = b"the plans " * 100


@pytest.fixture
def bucket(olga: Person) -> str:
    name = olga.bucket()
    for path, content in (("plan.txt", SECRET), ("in/a.txt", b"a"), ("in/deep/b.txt", b"bb"), ("inner.txt", b"not it")):
        assert olga.put(name, path, content).status == 201
    return name


@pytest.fixture
def visitor(rig: S3Rig) -> Visitor:
    return Visitor(rig)


def revoke(person: Person, link: dict[str, Any]) -> int:
    return person.ask("DELETE", f"/shares/{link['id']}").status


def events(rig: S3Rig, kind: str) -> list[dict[str, Any]]:
    after, found = 0, []
    while page := rig.cluster.ask("GET", f"/audit?after={after}").json["events"]:
        found += [event for event in page if event["kind"] == kind]
        after = page[-1]["id"]
    return found


# ---------------------------------------------------------------- reading


def test_a_file_is_read_without_an_account(olga: Person, bucket: str, visitor: Visitor) -> None:
    """The page shows the file; the download is an attachment that no browser runs, whole or in parts."""
    link = share(olga, bucket, "plan.txt")
    home = f"/s/{link['token']}"
    shown = visitor.get(home)
    assert shown.status == 200
    assert b"plan.txt" in shown.body
    assert "script" not in shown.body.decode().lower()
    policy = shown.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    got = visitor.get(f"{home}/f")
    assert (got.status, got.body) == (200, SECRET)
    assert got.headers["Content-Disposition"].startswith("attachment;")
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Content-Security-Policy"] == "sandbox"
    head = visitor.get(f"{home}/f", "HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(SECRET)))
    part = visitor.get(f"{home}/f", Range="bytes=4-8")
    assert (part.status, part.body) == (206, SECRET[4:9])
    assert part.headers["Content-Range"] == f"bytes 4-8/{len(SECRET)}"
    assert visitor.get(f"{home}/f", Range="bytes=99999-").status == 416


def test_a_link_shows_the_newest_version(olga: Person, bucket: str, visitor: Visitor) -> None:
    """It follows the path: every read asks the directory, and none sees what was there before."""
    link = share(olga, bucket, "plan.txt")
    for number in range(3):
        olga.put(bucket, "plan.txt", b"%d" % number)
        assert visitor.get(f"/s/{link['token']}/f").body == b"%d" % number


def test_a_folder_is_listed_and_read(olga: Person, bucket: str, visitor: Visitor) -> None:
    """Its files, its folders, and all of it as one zip file; nothing beside it, whatever the address says."""
    home = f"/s/{share(olga, bucket, 'in/')['token']}"
    top = visitor.get(home).body.decode()
    assert "a.txt" in top
    assert "deep/" in top
    assert "inner.txt" not in top
    assert "plan.txt" not in top
    assert visitor.get(f"{home}/d/deep/").status == 200
    assert visitor.get(f"{home}/f/deep/b.txt").body == b"bb"
    packed = visitor.get(f"{home}/zip")
    assert packed.status == 200
    with zipfile.ZipFile(io.BytesIO(packed.body)) as found:
        assert {name: found.read(name) for name in found.namelist()} == {"a.txt": b"a", "deep/b.txt": b"bb"}
        assert found.testzip() is None
    with zipfile.ZipFile(io.BytesIO(visitor.get(f"{home}/zip/deep/").body)) as found:
        assert found.namelist() == ["b.txt"]


@pytest.mark.parametrize(
    "rest",
    [
        *(
            "f/../plan.txt",
            "f/%2e%2e/plan.txt",
            "f/deep/../../plan.txt",
            "f//plan.txt",
            "f/..%2fplan.txt",
            "f/plan.txt",
        ),
        *("f", "f/", "f/%00", "f/ner.txt", "d/../", "d/..%2f", "d/%2e%2e/", "zip/../", "zip/..%2f", "x", "f/a.txt/"),
    ],
)
def test_no_address_leads_out_of_the_folder(olga: Person, bucket: str, visitor: Visitor, rest: str) -> None:
    """A folder link gives nothing else, and says the same about what is there and what is not."""
    home = f"/s/{share(olga, bucket, 'in/')['token']}"
    answer = visitor.get(f"{home}/{rest}")
    assert answer.status == 404
    assert SECRET not in answer.body
    assert b"not it" not in answer.body


@pytest.mark.parametrize("name", ["a*.txt", "a?b.txt", "${aws:username}.txt", "a$b.txt"])
def test_a_name_is_not_a_pattern(rig: S3Rig, olga: Person, bucket: str, visitor: Visitor, name: str) -> None:
    """A link to a file with a special name gives that file; the directory lets its bearer read no other."""
    olga.put(bucket, quote(name), b"special")
    olga.put(bucket, "a-other-b.txt", b"other")
    olga.put(bucket, "aXb.txt", b"other")
    olga.put(bucket, "olga.txt", b"other")
    link = share(olga, bucket, name)
    assert visitor.get(f"/s/{link['token']}/f").body == b"special"
    credential = ShareProof(link["token"]).encode()
    others = ["a-other-b.txt", "aXb.txt", "olga.txt", "plan.txt"]
    reply = rig.directory.call(LOOKUP, LookupRequest([LookupItem(credential, bucket, path) for path in others]))
    for outcome in reply.results:
        with pytest.raises(Forbidden):
            outcome.unwrap()


def test_names_cannot_break_a_page_or_a_header(olga: Person, bucket: str, visitor: Visitor) -> None:
    """HTML in a name is text, quotes end no header's value, and the direction of text cannot hide an ending."""
    names = ['<img src=x onerror="alert(1)">.txt', 'a"; filename=evil.exe; x="', "gpj.\u202eexe", "naïve — 文.txt"]
    for name in names:
        olga.put(bucket, f"odd/{quote(name)}", b"x")
    home = f"/s/{share(olga, bucket, 'odd/')['token']}"
    body = visitor.get(home).body.decode()
    assert "<img" not in body
    assert "&lt;img" in body
    assert "\u202e" not in body
    for name in names:
        got = visitor.get(f"{home}/f/{quote(name)}")
        assert (got.status, got.body) == (200, b"x")
        value = got.headers["Content-Disposition"]
        assert re.fullmatch(r"attachment; filename=\"[^\"\\\r\n]*\"; filename\*=UTF-8''[A-Za-z0-9%._~-]*", value), value
        assert "%E2%80%AE" not in value
        single = share(olga, bucket, f"odd/{name}")
        assert b"<img" not in visitor.get(f"/s/{single['token']}").body


def test_a_customers_encryption_stays_closed(olga: Person, bucket: str, visitor: Visitor) -> None:
    """Content under a key that the cluster lacks is not there for visitors, and no word names the bucket."""
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    olga.s3.put_object(Bucket=bucket, Key="sealed/x", Body=b"x", **key)
    home = f"/s/{share(olga, bucket, 'sealed/')['token']}"
    answer = visitor.get(f"{home}/f/x")
    assert answer.status == 404
    assert bucket.encode() not in answer.body
    with zipfile.ZipFile(io.BytesIO(visitor.get(f"{home}/zip").body)) as found:
        assert found.namelist() == ["NOT INCLUDED.txt"]


def test_a_zip_unpacks_below_its_folder(olga: Person, bucket: str, visitor: Visitor) -> None:
    """Names that S3 clients alone can make lead nowhere: they are left out, and the archive says so."""
    for key in ("odd/../../evil", "odd/..\\evil.txt", "odd/c:evil", "odd/A.txt", "odd/a.txt", "odd//x"):
        olga.s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    packed = visitor.get(f"/s/{share(olga, bucket, 'odd/')['token']}/zip")
    with zipfile.ZipFile(io.BytesIO(packed.body)) as found:
        names = found.namelist()
        assert "NOT INCLUDED.txt" in names
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert not name.startswith("/")
        assert not {"..", ""} & set(name.split("/"))
        assert not set("\\:") & set(name)


# ---------------------------------------------------------------- the end of a link


def test_a_link_ends_at_once(rig: S3Rig, olga: Person, eve: Person, bucket: str, visitor: Visitor) -> None:
    """Revoked, and the next request gets nothing; only the maker, the bucket's owner and administrators revoke it."""
    link = share(olga, bucket, "plan.txt")
    home = f"/s/{link['token']}"
    assert revoke(eve, link) == 404
    assert visitor.get(f"{home}/f").status == 200
    assert revoke(olga, link) == 204
    for target in (home, f"{home}/f"):
        assert visitor.get(target).status == 404
    other = share(olga, bucket, "plan.txt")
    assert rig.cluster.ask("DELETE", f"/shares/{other['id']}").status == 204
    assert visitor.get(f"/s/{other['token']}").status == 404


def test_owners_see_every_link_into_their_bucket(olga: Person, eve: Person, bucket: str) -> None:
    """Others see those that they made themselves, there and everywhere."""
    olga.let(bucket, eve, "s3:GetObject")
    of_olga, of_eve = share(olga, bucket, "plan.txt")["id"], share(eve, bucket, "plan.txt")["id"]

    def listed(person: Person, query: str) -> set[str]:
        return {one["id"] for one in person.ask("GET", f"/shares{query}").json["shares"]}

    assert listed(olga, f"?bucket={bucket}") == {of_olga, of_eve}
    assert listed(eve, f"?bucket={bucket}") == {of_eve}
    assert of_eve not in listed(olga, "")
    assert of_olga in listed(olga, "")


def change(rig: S3Rig, target: str, **members: Any) -> None:
    """A PATCH by the administrator."""
    answer = rig.cluster.ask("PATCH", target, json.dumps(members).encode(), Content_Type="application/json")
    assert answer.status == 200, answer.body


def test_a_link_has_its_makers_rights_now(rig: S3Rig, olga: Person, bucket: str, visitor: Visitor) -> None:
    """Without the right it cannot be made; when the right goes, it is dead; when it comes back, it works."""
    dora = Person(rig, "dora")
    for wanted in ({"path": "plan.txt"}, {"path": "in/"}, {"path": "in/", "mode": "upload"}, {"path": "not there"}):
        body = json.dumps({"bucket": bucket, **wanted}).encode()
        assert dora.ask("POST", "/shares", body, Content_Type="application/json").status == 403
    olga.let(bucket, dora, "s3:GetObject", "s3:ListBucket")
    home = f"/s/{share(dora, bucket, 'plan.txt')['token']}"
    folder = f"/s/{share(dora, bucket, 'in/')['token']}"
    assert visitor.get(f"{home}/f").body == SECRET
    olga.s3.delete_bucket_policy(Bucket=bucket)
    assert visitor.get(home).status == visitor.get(f"{home}/f").status == visitor.get(folder).status == 404
    olga.let(bucket, dora, "s3:GetObject")
    assert visitor.get(f"{home}/f").status == 200
    change(rig, "/users/dora", disabled=True)
    assert visitor.get(f"{home}/f").status == 404
    change(rig, "/users/dora", disabled=False)
    assert visitor.get(f"{home}/f").status == 200
    olga.ask("DELETE", f"/files/{bucket}/plan.txt")
    assert visitor.get(home).status == visitor.get(f"{home}/f").status == 404


def test_a_policy_sees_the_visitors_address(olga: Person, bucket: str, rig: S3Rig) -> None:
    """A Deny for an address refuses a visitor there, although the owner made the link."""
    home = f"/s/{share(olga, bucket, 'plan.txt')['token']}"
    denied = statement(
        "Deny", "*", "s3:GetObject", f"{bucket}/*", Condition={"IpAddress": {"aws:SourceIp": "198.51.100.0/24"}}
    )
    olga.s3.put_bucket_policy(Bucket=bucket, Policy=document(denied))
    assert Visitor(rig, "198.51.100.9").get(f"{home}/f").status == 404
    assert Visitor(rig, "203.0.113.9").get(f"{home}/f").status == 200


def test_a_link_expires(rig: S3Rig, olga: Person, eve: Person, bucket: str, visitor: Visitor) -> None:
    """After years, if that was asked for; without an end only where the bucket's owner allows it."""
    home = f"/s/{share(olga, bucket, 'plan.txt', expires_in=3 * 365 * DAY_SECONDS)['token']}"
    soon = f"/s/{share(olga, bucket, 'plan.txt', expires_in=60)['token']}"
    endless = f"/s/{share(olga, bucket, 'plan.txt', expires_in=None)['token']}"
    olga.let(bucket, eve, "s3:GetObject")
    asked = json.dumps({"bucket": bucket, "path": "plan.txt", "expires_in": None}).encode()
    assert eve.ask("POST", "/shares", asked, Content_Type="application/json").status == 403
    lasting = json.dumps({"bucket": bucket, "path": "plan.txt"}).encode()
    rule = f"/share-rules/{bucket}"
    assert eve.ask("PUT", rule, b'{"links": "any"}', Content_Type="application/json").status == 403
    assert olga.ask("PUT", rule, b'{"links": "any"}', Content_Type="application/json").status == 200
    eves = f"/s/{share(eve, bucket, 'plan.txt', expires_in=None)['token']}"
    for links, allowed in (("any", 200), ("expiring", 404), ("owner", 404), ("off", 404), ("any", 200)):
        olga.ask("PUT", rule, json.dumps({"links": links}).encode(), Content_Type="application/json")
        assert visitor.get(eves).status == allowed
        status = eve.ask("POST", "/shares", lasting, Content_Type="application/json").status
        assert status == (201 if links in ("any", "expiring") else 403)
        assert visitor.get(endless).status == (404 if links == "off" else 200)
    rig.cluster.pass_time(61)
    assert visitor.get(soon).status == visitor.get(f"{soon}/f").status == 404
    assert visitor.get(home).status == 200


def test_a_remade_bucket_has_no_old_links(rig: S3Rig, olga: Person, eve: Person, visitor: Visitor) -> None:
    """Nobody's link shows what somebody else puts into a bucket, or an account, of the same name."""
    name = olga.bucket()
    olga.put(name, "f", b"olga's")
    home = f"/s/{share(olga, name, '')['token']}"
    assert visitor.get(f"{home}/f/f").status == 200
    olga.ask("DELETE", f"/files/{name}/f")
    assert olga.ask("DELETE", f"/buckets/{name}").status == 204
    eve.s3.create_bucket(Bucket=name)
    eve.put(name, "f", b"eve's")
    assert visitor.get(home).status == visitor.get(f"{home}/f/f").status == 404
    brief = Person(rig, "brief")
    eve.let(name, brief, "s3:GetObject")
    link = share(brief, name, "f")
    assert visitor.get(f"/s/{link['token']}").status == 200
    assert rig.cluster.ask("DELETE", "/users/brief").status == 204
    Person(rig, "brief")
    assert visitor.get(f"/s/{link['token']}").status == 404


def test_downloads_are_counted(rig: S3Rig, olga: Person, bucket: str, visitor: Visitor) -> None:
    """A HEAD and further parts of a begun download are free where it began; nobody gets more than was allowed."""
    link = share(olga, bucket, "plan.txt", max_uses=2)
    home = f"/s/{link['token']}"
    assert visitor.get(f"{home}/f", "HEAD").status == 200
    assert visitor.get(f"{home}/f").status == 200
    for _ in range(5):
        assert visitor.get(f"{home}/f", Range="bytes=5-").status == 206
    assert Visitor(rig, "203.0.113.99").get(f"{home}/f", Range="bytes=5-").status == 206
    stranger = Visitor(rig, "203.0.113.200")
    for target in (home, f"{home}/f"):
        assert stranger.get(target).status == 410
    assert stranger.get(f"{home}/f", Range="bytes=1-").status == 410
    assert stranger.get(f"{home}/f", "HEAD").status == 410
    assert visitor.get(f"{home}/f", Range="bytes=9-").status == 206
    (mine,) = [one for one in olga.ask("GET", f"/shares?bucket={bucket}").json["shares"] if one["id"] == link["id"]]
    assert (mine["uses"], mine["max_uses"], mine["state"]) == (2, 2, "used_up")
    assert "token" not in mine


def test_the_audit_names_link_and_maker(rig: S3Rig, olga: Person, bucket: str, visitor: Visitor) -> None:
    """Making, each use with its address and file, and the end; no event has the secret."""
    link = share(olga, bucket, "plan.txt")
    visitor.get(f"/s/{link['token']}/f")
    revoke(olga, link)
    (used,) = [event for event in events(rig, "link used") if event["account"] == f"link {link['id']}"]
    assert (used["subject"], used["address"]) == ("plan.txt", visitor.address)
    assert used["detail"] == "download, made by olga"
    for kind in ("link made", "link revoked"):
        assert [event["account"] for event in events(rig, kind) if link["id"] in event["subject"]] == ["olga"]
    assert link["token"] not in rig.cluster.ask("GET", "/audit?after=0").body.decode()


# ---------------------------------------------------------------- strangers


def test_a_token_is_long_and_kept_as_a_hash(rig: S3Rig, olga: Person, bucket: str) -> None:
    """160 random bits, which neither a list nor the metadata shows again."""
    tokens = {share(olga, bucket, "plan.txt")["token"] for _ in range(5)}
    assert len(tokens) == 5
    assert all(len(token) * 6 >= 160 for token in tokens)
    listed = olga.ask("GET", "/shares").body.decode()
    stored = b"".join(file.read_bytes() for file in rig.cluster.settings.data.rglob("*") if file.is_file())
    assert olga.name.encode() in stored
    for token in tokens:
        assert token not in listed
        assert token.encode() not in stored


def test_wrong_and_ended_tokens_look_alike(rig: S3Rig, olga: Person, bucket: str, visitor: Visitor) -> None:
    """A stranger learns nothing from the reply: not whether there was a link, and not whose."""
    link = share(olga, bucket, "plan.txt", password="correct horse")
    revoke(olga, link)
    guesses = (link["token"], "A" * 27, link["token"][:-1], link["token"] + "A")
    replies = {visitor.get(f"/s/{guess}").body for guess in guesses}
    replies |= {visitor.unlock(guess, "correct horse").body for guess in guesses}
    assert len(replies) == 1
    assert {visitor.get(f"/s/{guess}").status for guess in guesses} == {404}


def test_a_link_is_no_credential_elsewhere(rig: S3Rig, olga: Person, bucket: str) -> None:
    """Neither the token nor what the door makes of it is accepted by the API, whatever it would allow."""
    token = share(olga, bucket, "plan.txt")["token"]
    for credential in (token, ShareProof(token).encode()):
        for headers in ({"Authorization": f"Bearer {credential}"}, {"X-Api-Key": credential}):
            answer = rig.cluster.ask_with(headers, "GET", f"/files/{bucket}/plan.txt")
            assert answer.status == 401


def test_a_log_in_never_matters(rig: S3Rig, olga: Person, eve: Person, bucket: str, visitor: Visitor) -> None:
    """The owner's own token opens no link that has ended, and adds nothing to one that has not."""
    link = share(olga, bucket, "in/")
    visitor.headers = dict(olga.headers)
    assert visitor.get(f"/s/{link['token']}/f/../plan.txt").status == 404
    revoke(olga, link)
    assert visitor.get(f"/s/{link['token']}").status == 404


def test_guessing_a_password_is_slow_from_everywhere(rig: S3Rig, olga: Person, bucket: str) -> None:
    """Five wrong ones from an address (IPv6: from a /64) are enough there, and a hundred everywhere."""
    link = share(olga, bucket, "plan.txt", password="correct horse")
    one = [Visitor(rig, f"2001:db8:1:1::{n:x}").unlock(link["token"], "wrong").status for n in range(1, 8)]
    assert one[:5] == [403] * 5
    assert one[5:] == [429, 429]
    assert Visitor(rig, "203.0.113.1").unlock(link["token"], "correct horse").status == 303
    everywhere = [
        Visitor(rig, f"198.51.{n // 100}.{n % 100 + 1}").unlock(link["token"], "wrong").status for n in range(100)
    ]
    assert everywhere.count(429) > 0
    assert Visitor(rig, "192.0.2.77").unlock(link["token"], "correct horse").status == 429
    assert Visitor(rig, "203.0.113.1").unlock(link["token"], "correct horse").status == 303


def test_guesses_are_rare(rig: S3Rig) -> None:
    """Whatever is asked, an address gets so many answers in a time, and an IPv6 address shares them with its /64."""
    limits, _ = lasting_limits("share=3/minute/address", "login=2/minute/address")
    proxy = rig.cluster.proxies["1"]
    door = ShareDoor(proxy.files, proxy.directory, limits=limits)

    def guess(address: str, **given: Any) -> int:
        return ask(
            door, given.get("method", "GET"), f"/s/{'A' * 27}", given.get("body", b""), **FORM, address=address
        ).status

    assert [guess(f"2001:db8::{n}") for n in range(5)] == [404, 404, 404, 429, 429]
    assert [guess("198.51.100.1", method="POST", body=b"password=x") for _ in range(3)] == [404, 404, 429]
    assert guess("198.51.100.2") == 404


# ---------------------------------------------------------------- uploads


def stored(person: Person, bucket: str) -> dict[str, bytes]:
    names = [one["path"] for one in person.ask("GET", f"/files/{bucket}").json["files"]]
    return {name: person.get(bucket, quote(name)).body for name in names}


def test_a_drop_box_takes_files_and_shows_none(olga: Person, visitor: Visitor) -> None:
    """Files arrive whole under their names; what is there can be neither listed, read nor overwritten."""
    bucket = olga.bucket()
    olga.put(bucket, "in/a.txt", b"first")
    link = share(olga, bucket, "in/", mode="upload")
    home = f"/s/{link['token']}"
    page = visitor.get(home).body
    assert b"a.txt" not in page
    assert visitor.send(link["token"], ("b.txt", b"B" * 300_000), ("ünï.txt", b"u")).status == 200
    again = visitor.send(link["token"], ("a.txt", b"second"))
    assert again.status == 200
    assert b"<bdi>a.txt</bdi>" in again.body
    found = stored(olga, bucket)
    assert found["in/a.txt"] == b"first"
    assert found["in/b.txt"] == b"B" * 300_000
    assert found["in/ünï.txt"] == b"u"
    (other,) = set(found) - {"in/a.txt", "in/b.txt", "in/ünï.txt"}
    assert re.fullmatch(r"in/a \([0-9a-f]{8}\)\.txt", other)
    assert found[other] == b"second"
    for target in (f"{home}/f/a.txt", f"{home}/f", f"{home}/zip", f"{home}/d/"):
        assert visitor.get(target).status == 404


@pytest.mark.parametrize(
    "name", ["../../plan.txt", "..", ".", "/etc/passwd", "C:\\\\x\\\\..\\\\y.txt", "a/../../b", "x" * 900 + ".txt"]
)
def test_an_uploaded_name_leads_nowhere(olga: Person, visitor: Visitor, name: str) -> None:
    """Whatever a form says, the file is in the link's folder, under a plain name."""
    bucket = olga.bucket()
    link = share(olga, bucket, "in/", mode="upload")
    assert visitor.send(link["token"], (name, b"x")).status == 200
    (path,) = stored(olga, bucket)
    assert re.fullmatch(r"in/[^/\\]{1,240}", path)
    assert path not in ("in/..", "in/.")


def test_uploads_are_bounded(olga: Person, visitor: Visitor) -> None:
    """By size and by number; what is over is refused, stores nothing and counts for nothing."""
    bucket = olga.bucket()
    link = share(olga, bucket, "", mode="upload", max_bytes=1000, max_uses=2)
    assert visitor.send(link["token"], ("big", b"x" * 1001)).status == 413
    assert visitor.send(link["token"], ("one", b"x" * 1000)).status == 200
    three = visitor.send(link["token"], ("two", b"x"), ("three", b"x"))
    assert three.status == 410
    assert b"two" in three.body
    assert set(stored(olga, bucket)) == {"one", "two"}
    assert visitor.get(f"/s/{link['token']}").status == 410


def test_an_upload_link_to_a_file_takes_it_once(olga: Person, visitor: Visitor) -> None:
    """The name is the link's, and a second one does not replace the first."""
    bucket = olga.bucket()
    link = share(olga, bucket, "report.pdf", mode="upload")
    assert visitor.send(link["token"], ("anything.exe", b"first")).status == 200
    assert visitor.send(link["token"], ("report.pdf", b"second")).status == 409
    assert stored(olga, bucket) == {"report.pdf": b"first"}


def test_quotas_and_rules_hold_for_uploads(rig: S3Rig, olga: Person, visitor: Visitor) -> None:
    """The bytes are the maker's, so are the quota and the role; a link that reads takes nothing."""
    quentin, bucket = Person(rig, "quentin"), olga.bucket()
    reading = share(olga, bucket, "")
    assert visitor.send(reading["token"], ("x", b"x")).status == 405
    olga.let(bucket, quentin, "s3:PutObject")
    link = share(quentin, bucket, "", mode="upload")
    assert visitor.send(link["token"], ("mine", b"x")).status == 200
    (version,) = olga.ask("GET", f"/versions/{bucket}/mine").json["versions"]
    assert version["author"] == "quentin"
    change(rig, f"/quotas/buckets/{bucket}", quotas={"bytes": 10})
    assert visitor.send(link["token"], ("more", b"x" * 100)).status == 507
    change(rig, f"/quotas/buckets/{bucket}", quotas={"bytes": None})
    change(rig, "/users/quentin", role="read-only")
    assert visitor.send(link["token"], ("more", b"x")).status == 404
    body = json.dumps({"bucket": bucket, "path": "", "mode": "upload"}).encode()
    assert quentin.ask("POST", "/shares", body, Content_Type="application/json").status == 403
    assert set(stored(olga, bucket)) == {"mine"}


def test_a_password_is_needed_for_everything(rig: S3Rig, olga: Person, bucket: str, visitor: Visitor) -> None:
    """Without it nothing shows, not even the file's name; a cookie of one link opens no other."""
    link = share(olga, bucket, "plan.txt", password="correct horse")
    other = share(olga, bucket, "plan.txt", password="correct horse")
    home = f"/s/{link['token']}"
    for target in (home, f"{home}/f", f"{home}/zip"):
        answer = visitor.get(target)
        assert b"plan" not in answer.body
        assert b'type="password"' in answer.body
    assert visitor.unlock(link["token"], "wrong").status == 403
    unlocked = visitor.unlock(link["token"], "correct horse")
    assert (unlocked.status, unlocked.headers["Location"]) == (303, home)
    assert set(unlocked.headers["Set-Cookie"].split("; ")) >= {f"Path={home}", "Secure", "HttpOnly", "SameSite=Lax"}
    assert visitor.get(f"{home}/f").body == SECRET
    assert visitor.get(f"/s/{other['token']}/f").body != SECRET
    rig.cluster.pass_time(12 * 3600 + 1)
    assert visitor.get(f"{home}/f").body != SECRET
    olga.headers = rig.cluster.log_in("olga")  # the log-in has ended, too
