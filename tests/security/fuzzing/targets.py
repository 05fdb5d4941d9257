"""What is fuzzed: each target reads bytes as one parser's input, and lets only that parser's own errors through.

Whatever else leaves a target is a fault. The first byte often chooses among parsers of one kind.
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_to_bytes

from blake3 import blake3

from client_proxy.doors.basic_log_ins import BasicLogIns, DoorCaller
from client_proxy.doors.lfs.request import LfsRequest
from client_proxy.doors.rest.examples import EXAMPLES
from client_proxy.doors.rest.file_headers import given_content_type, given_metadata
from client_proxy.doors.rest.json_body import read_json
from client_proxy.doors.rest.request import RestRequest, canonical_path
from client_proxy.doors.s3.auth.claims import (
    ALGORITHM,
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    Claim,
    Scope,
    read_claim,
    read_form_claim,
)
from client_proxy.doors.s3.auth.gate import Gate
from client_proxy.doors.s3.auth.signature import check_all_signed, check_form_day, check_form_signature, sign
from client_proxy.doors.s3.objects.aws_chunked import ChunkedBody
from client_proxy.doors.s3.objects.copy_source import read_source
from client_proxy.doors.s3.objects.form_body import PostedForm
from client_proxy.doors.s3.objects.post_policy import read_policy
from client_proxy.doors.s3.protocol.description import S3Operation
from client_proxy.doors.s3.protocol.operations import operations
from client_proxy.doors.s3.protocol.parameters import read_body, read_parameters
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import read_amz_date
from client_proxy.doors.webdav.addresses import Address, read_address, read_destination
from client_proxy.doors.webdav.conditions import State, read_if, token_of
from client_proxy.doors.webdav.properties import PropertyChanges, Wanted, stored_form
from client_proxy.doors.webdav.xml import read_xml
from directory_server.access import acl, policy, policy_documents
from file_server.writes.ticket_check import DirectoryTime, TicketCheck
from lockstep_store.runtime.http.conditions import not_modified, parse_range, wanted_range, write_preconditions
from lockstep_store.runtime.http.request_head import RAW_HEADERS, RAW_PATH
from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.runtime.peers.proofs import ProofCheck
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.join_token import JOIN_PREFIX, JoinToken
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import LockstepError, NotLoggedIn
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.s3 import S3Proof, SigningKeyReply, SigningKeyRequest
from lockstep_store.wire.messages.s3_access import S3Access
from lockstep_store.wire.tickets import TicketSigner, unchecked_write_id

NOW = 1_764_486_000.0
"""The time of all requests in the corpus, in seconds since 1970."""
KEY = bytes(range(32))
Target = Callable[[bytes], None]


def lines_of(data: bytes) -> tuple[dict[str, str], bytes]:
    """`name: value` lines up to an empty one, by names in small letters, and what follows."""
    head, _, rest = data.partition(b"\n\n")
    pairs = (line.partition(b":") for line in head.split(b"\n"))
    named = {name.decode("latin-1").strip().lower(): value.strip() for name, _, value in pairs}
    return {name: value.decode("utf-8", "surrogateescape") for name, value in named.items()}, rest


def choice(data: bytes, count: int) -> tuple[int, bytes]:
    return (data[0] % count if data else 0), data[1:]


# ------------------------------------------------------------ signatures


def _key_of(request: SigningKeyRequest) -> SigningKeyReply:
    encode(request)  # as it goes to the directory
    return SigningKeyReply(KEY.hex(), "ann")


def _caller_of(credential: str) -> tuple[str, str]:
    encode(CredentialRequest(credential))  # as it goes to the directory
    return "ann", "hashed"


def through_the_gate(path: bytes, query: bytes, headers: Mapping[str, str]) -> None:
    sent = [(name.encode("latin-1"), value.encode("utf-8", "surrogateescape")) for name, value in headers.items()]
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": unquote_to_bytes(path).decode("latin-1"), "wsgi.input": None}
    with suppress(S3Error):
        request = S3Request({**environ, "QUERY_STRING": query.decode("latin-1"), RAW_PATH: path, RAW_HEADERS: sent})
        for now in (NOW, read_amz_date("20260131T120000Z")):
            with suppress(S3Error, NotLoggedIn):
                Gate(_key_of, _caller_of, lambda now=now: now, lambda: 0.0).identify(request)  # type: ignore[misc]
        claim = read_claim(request.argument_list, request.signed_headers)
        if claim is not None:
            with suppress(S3Error):
                check_all_signed(claim, request.amz_headers)


def signature_header(data: bytes) -> None:
    """Headers, then the address's path."""
    headers, path = lines_of(data)
    through_the_gate(path, b"", headers)


def presigned_query(data: bytes) -> None:
    """A query, then headers."""
    query, _, rest = data.partition(b"\n")
    through_the_gate(b"/b/k", query, lines_of(rest)[0])


def post_form(data: bytes) -> None:
    """A form's body, whose boundary is `b`."""
    with suppress(S3Error):
        body = BytesIO(data)
        form = PostedForm("multipart/form-data; boundary=b", body.read)
        pieces(iter(lambda: form.read(1000), b""))
        claim = read_form_claim(form.fields)
        with suppress(S3Error):
            check_form_day(claim, NOW)
        with suppress(S3Error):
            check_form_signature(claim, KEY, form.fields.get("policy", ""))


def form_policy(data: bytes) -> None:
    """The JSON of a form's policy."""
    with suppress(S3Error):
        read_policy(b64encode(data).decode()).check({"key": "k", "bucket": "b", "content-type": "text/plain"}, NOW)


# ------------------------------------------------------------ documents


def bucket_policy(data: bytes) -> None:
    """The text of a policy, judged for two people."""
    with suppress(policy.BadPolicy):
        found = policy_documents.parse(policy_documents.check_size(data.decode("utf-8", "replace")), "b")
        policy_documents.check_words(found, lambda name: True)
        for account, action in (("ann", "s3:GetObject"), ("", "s3:ListBucket")):
            keys = {"aws:sourceip": ["192.0.2.1"], "aws:currenttime": ["2026-11-30T00:00:00Z"], "s3:prefix": ["a/"]}
            found.verdict(policy.Question(account, action, "b/k", keys.get))


def access_list(data: bytes) -> None:
    """A list as the S3 door passes it on."""
    with suppress(acl.BadAcl):
        found = acl.settled(data.decode("utf-8", "replace"), "object", "ann", "olga", lambda name: True)
        acl.allows(found, "object", "ben", "s3:GetObject")


@cache
def with_xml() -> tuple[S3Operation, ...]:
    return tuple(one for _, one in sorted(operations().items()) if one.payload is not None and not one.streams)


def xml(data: bytes) -> None:
    """The first byte chooses the operation whose body it is."""
    number, body = choice(data, len(with_xml()))
    with suppress(S3Error):
        read_body(with_xml()[number], body)


@cache
def all_operations() -> tuple[S3Operation, ...]:
    return tuple(one for _, one in sorted(operations().items()))


def s3_parameters(data: bytes) -> None:
    """The first byte chooses the operation; lines of headers, then a query."""
    number, rest = choice(data, len(all_operations()))
    headers, query = lines_of(rest)
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/b/k",
        "QUERY_STRING": query.decode("latin-1"),
        "wsgi.input": None,
    }
    sent = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in headers.items()]
    with suppress(S3Error):
        request = S3Request({**environ, RAW_HEADERS: sent})
        request.check_text()
        operation = all_operations()[number]
        read_parameters(operation, "b", "k", request.arguments, request.headers.get, request.metadata)
    with suppress(S3Error, LockstepError):
        read_source(headers.get("x-amz-copy-source", ""))


# ------------------------------------------------------------ bodies


_PAYLOADS = (STREAMING_UNSIGNED_TRAILER, STREAMING_SIGNED, STREAMING_SIGNED_TRAILER)


def aws_chunked(data: bytes) -> None:
    """The first byte chooses what is signed. Signed trailers come after chunks that are signed rightly."""
    number, rest = choice(data, len(_PAYLOADS))
    stamp = "20251130T070000Z"
    claim = Claim("header", Scope("LSKEY", stamp[:8], "us-east-1"), stamp, ("host",), "0" * 64, _PAYLOADS[number])
    bodies = [rest]
    if claim.payload == STREAMING_SIGNED_TRAILER:
        nothing = sha256(b"").hexdigest()
        text = "\n".join((f"{ALGORITHM}-PAYLOAD", stamp, claim.scope.text, claim.signature, nothing, nothing))
        bodies.append(f"0;chunk-signature={sign(KEY, text)}\r\n".encode() + rest)
    for body in bodies:
        for length in (0, 11, 2**40):
            with suppress(S3Error):
                pieces(ChunkedBody(BytesIO(body).read, claim, KEY, length).blocks())


def chunk_stream(data: bytes) -> None:
    """The first byte chooses whether the stream is a blob's."""
    number, rest = choice(data, 2)
    with suppress(LockstepError):
        reader = StreamReader(BytesIO(rest).read, expect_blob=bool(number))
        pieces(iter(reader))
        assert reader.manifest.size >= 0


@cache
def shapes() -> tuple[Any, ...]:
    return tuple(sorted(EXAMPLES, key=lambda shape: str(shape.__name__)))


def json_body(data: bytes) -> None:
    """The first byte chooses the shape that the API expects."""
    number, body = choice(data, len(shapes()))
    environ = {
        **{"REQUEST_METHOD": "POST", "PATH_INFO": "/", "QUERY_STRING": "", "CONTENT_TYPE": "application/json"},
        **{"CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body)},
    }
    with suppress(LockstepError):
        read_json(DrainableRequest(environ), shapes()[number], optional=bool(number % 2))


def api_request(data: bytes) -> None:
    """The path of an address, a line of arguments, and headers, as the API reads them."""
    path, _, rest = data.partition(b"\n")
    query, _, head = rest.partition(b"\n")
    headers, _ = lines_of(head)
    environ: dict[str, Any] = {
        f"HTTP_{name.upper().replace('-', '_')}": value.encode("utf-8", "surrogateescape").decode("latin-1")
        for name, value in headers.items()
    }
    environ |= {"REQUEST_METHOD": "GET", "PATH_INFO": path.decode("latin-1"), "QUERY_STRING": query.decode("latin-1")}
    request = RestRequest(environ | {"wsgi.input": None, "REMOTE_ADDR": "192.0.2.1"}, {"path": "k"})
    for ask in (
        *(request.credential, request.version, request.check_expectation),
        *(lambda: canonical_path(environ["PATH_INFO"]), lambda: given_metadata(environ)),
        *(lambda: request.check_arguments(frozenset({"limit", "version"})), lambda: request.flag_argument("break")),
        *(lambda: request.number_argument("limit", 1, 0, 9), lambda: request.number_header("X-Lockstep-Lock")),
        *(lambda: given_content_type(headers.get("content-type", "")), lambda: write_preconditions(environ)),
        *(lambda: not_modified(environ, "0" * 64, NOW), lambda: wanted_range(environ, "0" * 64, NOW, 100)),
        lambda: parse_range(headers.get("range", ""), 100),
    ):
        with suppress(LockstepError):
            ask()


# ------------------------------------------------------------ tokens


def ticket(data: bytes) -> None:
    """As it came, and as the content of a ticket whose signature is right."""
    signer = TicketSigner(KEY)
    right = f"{encoded(data)}.{encoded(signer._mac(data))}"
    time = DirectoryTime(SimpleNamespace(monotonic=lambda: 0.0))  # type: ignore[arg-type]
    time.learn(100.0, 0.0)
    check = TicketCheck("1", time)
    check.trust(KEY)
    for text in (data.decode("latin-1"), right):
        with suppress(LockstepError):
            check.check(text, "master")
        with suppress(LockstepError):
            unchecked_write_id(text)


def tokens(data: bytes) -> None:
    """An invitation, also with its check value right, and what a program or an S3 door shows the directory."""
    text = data.decode("utf-8", "surrogateescape")
    for one in (text, JOIN_PREFIX + encoded(blake3(data).digest(8) + data)):
        with suppress(LockstepError):
            JoinToken.decode(one)
    with suppress(LockstepError):
        authority().verify_peer_token(text)
    with suppress(LockstepError):
        proof_check().verify(text)
    S3Access.decode(text)
    proof = S3Proof.decode(text)
    if proof is not None:
        proof.is_made_with(KEY)


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@cache
def authority() -> CertificateAuthority:
    return CertificateAuthority.create(Path(mkdtemp()))


@cache
def proof_check() -> ProofCheck:
    folder = Path(mkdtemp())
    (folder / "ca.pem").write_text(authority().ca_pem)
    return ProofCheck(folder / "ca.pem", "https://127.0.0.1:5060", authority().revocations())


def webdav(data: bytes) -> None:
    """The first byte chooses among what the WebDAV door reads, and the addresses and log-ins of Git LFS.

    XML that was read is written such that it is read again as the same.
    """
    kind, rest = choice(data, 6)
    text = rest.decode("latin-1")
    with suppress(LockstepError):
        if kind == 0:
            found = read_if(text, "proxy:5000")
            found.holds(Address("team", "plan", False), lambda _: State(frozenset({1}), '"tag"'))
            assert all(token_of(number).startswith("opaquelocktoken:") for number in found.numbers)
        elif kind == 1:
            written = read_xml(rest).write()
            assert read_xml(written.encode()).write() == written
        elif kind == 2:
            Wanted(read_xml(rest))
        elif kind == 3:
            changes = PropertyChanges(read_xml(rest))
            stored_form({name: xml or "" for name, xml in changes.items})
        elif kind == 4:
            read_address(text)
            read_destination(text, "proxy:5000")
        else:
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": text, "wsgi.input": BytesIO()}
            LfsRequest(environ, DoorCaller("ann", "lst_x", "key"))


def log_in_header(data: bytes) -> None:
    """An Authorization header, by somebody whom the directory does not know."""
    nobody = SimpleNamespace(call=_unknown)
    with suppress(LockstepError):
        BasicLogIns(nobody).identify(data.decode("latin-1"), "127.0.0.1")
        raise AssertionError("nobody was logged in")


def _unknown(*_: Any) -> Any:
    raise NotLoggedIn("the directory does not know it")


def pieces(found: Iterator[Any]) -> None:
    """Take what a parser yields, of which there must be an end."""
    for number, _ in enumerate(found):
        assert number < 100_000, "a parser yields for ever"


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        *(signature_header, presigned_query, post_form, form_policy, bucket_policy, access_list, xml, s3_parameters),
        *(aws_chunked, chunk_stream, json_body, api_request, ticket, tokens, webdav, log_in_header),
    )
}
