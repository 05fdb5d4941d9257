"""The person of a credential as one snapshot has them, without the caches, and on what that depends.

For replies that hold beyond their own moment: a cached person may be of a moment before.
"""

from __future__ import annotations

from dataclasses import replace

from directory_server.metadata.statements import s3_keys as rows
from directory_server.metadata.store import Reader
from directory_server.people.access_keys import person_of_key
from directory_server.people.accounts import credential_hash, person_of_credential
from directory_server.people.limits import makers_of
from directory_server.people.person import Person
from directory_server.read_leases.keys import NOTHING, Keys, account_key, credential_key, s3_key_key
from lockstep_store.wire.errors import NotLoggedIn
from lockstep_store.wire.messages.s3 import S3Proof
from lockstep_store.wire.messages.s3_access import S3Access
from lockstep_store.wire.messages.shares import SHARE_PROOF_PREFIX


def person_in(reader: Reader, credential: str) -> tuple[Person, Keys]:
    """Return the person of a credential that was authenticated already, and the keys of what says so.

    Raises NotLoggedIn if it has ended, and for a share link: nothing is known to last that is read through one. The
    caller compares `expires` with directory time.
    """
    access = S3Access.decode(credential)
    if access is None:
        return _known_person(reader, credential)
    if not access.credential:
        return Person("", False, "anonymous", access=access), NOTHING
    person, keys = _known_person(reader, access.credential)
    return replace(person, access=access), keys


def _known_person(reader: Reader, credential: str) -> tuple[Person, Keys]:
    if credential.startswith(SHARE_PROOF_PREFIX):
        raise NotLoggedIn("what a share link shows is looked up each time")
    proof = S3Proof.decode(credential)
    if proof is None:
        hash = credential_hash(credential)
        person = person_of_credential(reader, credential, hash)
        return person, frozenset((account_key(person.account), credential_key(hash)))
    found = rows.find_key(reader, proof.access_key_id)
    person = person_of_key(reader, proof.access_key_id, found)
    assert found is not None
    makers = makers_of(reader, found)
    accounts = (person.account, *(maker.account for maker in makers.values()))
    keys = (proof.access_key_id, *makers)
    return person, frozenset((*map(account_key, accounts), *map(s3_key_key, keys)))
