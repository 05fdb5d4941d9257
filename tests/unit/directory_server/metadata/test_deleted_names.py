"""What names a deleted account in a policy, and what stands there afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from directory_server.access.policy import Question
from directory_server.access.policy_documents import check_size, parse
from directory_server.metadata.statements import deleted_names, s3_settings, uploads
from directory_server.metadata.statements.deleted_names import new_id, policy_without
from lockstep_store.wire.errors import BadName
from lockstep_store.wire.messages.uploads import UploadInfo
from lockstep_store.wire.names import check_account
from tests.fakes.metadata_engines import open_metadata

ARN = "arn:aws:iam::"
ID = "deleted:0123456789abcdef"
FORMS = (
    *("ann", f"{ARN}ann:root", f"{ARN}ann:user/ann", f"{ARN}:user/ann", f"{ARN}123:user/path/ann"),
    *(f"{ARN}ann:user/backup", f"{ARN}ann:role/deploy", f"{ARN}ann:role/path/deploy"),
)
OTHERS = (
    *("bob", "anna", f"{ARN}bob:root", f"{ARN}bob:user/ann", f"{ARN}bob:role/ann", f"{ARN}:group/ann", "group:ann"),
    *(f"{ARN}123:root", f"{ARN}bob:user/bob", "arn:aws:sts::ann:assumed-role/x/y"),
)


def document(effect: str = "Allow", who: str = "Principal", **named: Any) -> str:
    one = {"Effect": effect, who: named, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [one]})


def named_in(text: str) -> Any:
    statement = json.loads(text)["Statement"][0]
    return statement.get("Principal", statement.get("NotPrincipal"))


def verdict(text: str, account: str, principal: str = "") -> str | None:
    return parse(text, "b").verdict(Question(account, "s3:GetObject", "b/k", lambda name: None, principal))


def test_nobody_can_be_the_id() -> None:
    """It is no account's name, and it differs each time."""
    with pytest.raises(BadName):
        check_account(new_id(), in_tenant=True)
    assert new_id() != new_id()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["AWS", "CanonicalUser"])
def test_every_form_of_the_name_goes(form: str, kind: str) -> None:
    """By itself and in a list with others, in the account's name and in those of its users and roles."""
    for given in (form, ["bob", form], [form, "ann", "bob"]):
        text = policy_without(document(**{kind: given}), "ann", ID)
        named = parse(text, "b").statements[0].principals.accounts
        assert ID in named
        assert not any(name == "ann" or name.startswith("ann:") for name in named)
        assert verdict(text, "bob") == ("Allow" if "bob" in given else None)
        for principal in ("", "ann:user/backup", "ann:role/deploy"):
            assert verdict(text, "ann", principal) is None
    assert named_in(policy_without(document(**{kind: form}), "ann", ID)) == {kind: ID}


@pytest.mark.parametrize("other", OTHERS)
def test_other_names_stay(other: str) -> None:
    text = document(AWS=[other, "carl"])
    assert policy_without(text, "ann", ID) is text


def test_an_account_is_called_group() -> None:
    """Groups are named with a prefix that looks like its name; they stay, and its users go."""
    text = document(AWS=["group:editors", f"{ARN}group:user/x"])
    assert named_in(policy_without(text, "group", ID)) == {"AWS": ["group:editors", ID]}


@pytest.mark.parametrize("text", [document(Federated="ann"), document(Service="ann"), document(AWS="*")])
def test_what_is_no_account_stays(text: str) -> None:
    assert policy_without(text, "ann", ID) is text


def test_what_only_takes_access_away_keeps_the_name() -> None:
    """A Deny to it, an Allow to all others; a Deny to all others then spares nobody."""
    for kept in (document("Deny", AWS="ann"), document("Allow", "NotPrincipal", AWS="ann")):
        assert policy_without(kept, "ann", ID) is kept
    spared = document("Deny", "NotPrincipal", AWS=["ann", "bob"])
    text = policy_without(spared, "ann", ID)
    assert (verdict(spared, "ann"), verdict(text, "ann"), verdict(text, "bob")) == (None, "Deny", None)


def test_the_rest_of_a_document_means_what_it_meant() -> None:
    """Numbers that JSON cannot write, escapes and texts beyond ASCII included; one statement may stand by itself."""
    text = (
        '{"Statement": {"Sid": "\\u00fc", "Effect": "Allow", "Principal": {"AWS": "\\u0061nn"}, "Action": "s3:*", '
        '"Resource": "arn:aws:s3:::b", "Condition": {"NumericLessThan": {"s3:max-keys": [1e999, 2.5]}}}}'
    )
    before, after = (parse(one, "b").statements[0] for one in (text, policy_without(text, "ann", ID)))
    assert (after.actions, after.resources, after.principals.accounts) == (before.actions, before.resources, {ID})
    for most in ("2", "3"):
        asked = Question(ID, "s3:ListBucket", "b", lambda name, most=most: [most])  # type: ignore[misc]
        assert after.applies(asked) is True


def test_a_document_that_grows_beyond_the_limit_is_still_read() -> None:
    """No bucket is lost because an account with a short name is deleted."""
    statements = json.loads(document(AWS="a"))["Statement"] * 180
    text = check_size(json.dumps({"Statement": statements}, separators=(",", ":")))
    grown = policy_without(text, "a", ID)
    assert len(grown) > 20 * 1024
    assert verdict(grown, "a") is None


@pytest.mark.usefixtures("every_engine")
@pytest.mark.parametrize("name", ["ann", "\u00e4\u00f6", "acme\\ann"])
def test_uploads_under_way_lose_the_name(tmp_path: Path, name: str) -> None:
    """As grantee, as owner, and as who began them; a name that only contains it stays."""
    store = open_metadata(tmp_path / "metadata.db")
    grants = [
        {"Grantee": grantee, "Permission": "READ"}
        for grantee in ({"ID": name}, {"EmailAddress": name}, {"ID": f"{name}a"}, {"URI": "http://all"})
    ]
    asked = {"Owner": {"ID": name}, "Grants": grants}
    settings = {
        "given": {"acl": json.dumps(asked, ensure_ascii=False), "tags": json.dumps(asked)},
        "begun": {"acl": json.dumps(asked)},
        "canned": {"acl": '{"canned": "public-read"}'},
    }

    def fill(tx: Any) -> None:
        for id, given in settings.items():
            account = "bob" if id == "given" else name
            uploads.insert_upload(tx, UploadInfo(id, "b", "k", account, 1.0, settings=given))

    try:
        store.write(fill)
        store.write(lambda tx: deleted_names.replace_deleted(tx, name, ID))
        with store.read() as reader:
            found = {id: uploads.find(reader, id) for id in settings}
        assert [one.account for one in found.values() if one is not None] == ["bob", ID, ID]
        for id in ("given", "begun"):
            one = found[id]
            assert one is not None
            assert json.loads(one.settings["acl"]) == {"Grants": grants[2:]}
        assert found["canned"] is not None
        assert found["canned"].settings == settings["canned"]
        assert found["given"] is not None
        assert found["given"].settings["tags"] == settings["given"]["tags"]
    finally:
        store.close()


def test_lists_of_many_versions_are_replaced_in_several_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last few are left to the deletion; what only resembles the name stays."""
    monkeypatch.setattr(deleted_names, "MAX_AT_ONCE", 3)
    store = open_metadata(tmp_path / "metadata.db")
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": "ann", "DisplayName": "ann"}, "Permission": "READ"}
    mine = json.dumps({"Owner": {"ID": "bob", "DisplayName": "bob"}, "Grants": [grant]})
    others = mine.replace('"ann"', '"anna"')

    def fill(tx: Any) -> None:
        for number in range(10):
            s3_settings.put_version_value(tx, f"v{number}", "acl", mine)
            s3_settings.put_version_value(tx, f"v{number}", "tags", mine)
            s3_settings.put_version_value(tx, f"w{number}", "acl", others)

    def left() -> int:
        with store.read() as reader:
            found = [s3_settings.version_values(reader, f"v{number}")["acl"] for number in range(10)]
        assert set(found) <= {mine, mine.replace('"ann"', f'"{ID}"')}
        return found.count(mine)

    try:
        store.write(fill)
        deleted_names.replace_in_most_versions(store, "ann", ID)
        assert left() == 1
        store.write(lambda tx: deleted_names.replace_deleted(tx, "ann", ID))
        assert left() == 0
        with store.read() as reader:
            assert s3_settings.version_values(reader, "v1")["tags"] == mine
            assert s3_settings.version_values(reader, "w1")["acl"] == others
    finally:
        store.close()
