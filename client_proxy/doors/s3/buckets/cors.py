"""CORS: which web pages of other origins may read a bucket's replies.

It grants nothing: access is decided elsewhere, with or without an Origin. A browser's preflight has no signature, so
the proxy looks the rules up in its own name. It caches them for a few seconds, so another proxy's change may show
later.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.replies import Headers
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.stored_settings import StoredSettings
from lockstep_store.runtime.bounded import ExpiringMap
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire.errors import BadRequest, NotFound
from lockstep_store.wire.messages.s3 import BUCKET_CORS, BucketCorsRequest

SETTING = "cors"
KEEP_SECONDS = 3.0
MAX_KNOWN = 1000
MAX_RULES = 100
MAX_RULE_BYTES = 64 * 1024
MAX_ASKED_HEADERS = 100
"""Limit for one preflight, which anyone may send: each header is compared with each pattern of every rule."""
METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "HEAD"})
_VARY = ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")

Rule = dict[str, Any]


class Cors:
    """Stores CORS rules and applies them. Thread-safe; `monotonic` expires the cached rules."""

    def __init__(self, settings: StoredSettings, directory: Directory, monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._directory = directory
        self._monotonic = monotonic
        self._known: ExpiringMap[tuple[str, int], list[Rule]] = ExpiringMap(MAX_KNOWN, KEEP_SECONDS, monotonic)

    # ------------------------------------------------------------ the configuration

    def handlers(self) -> Handlers:
        return {
            "GetBucketCors": self.get,
            "PutBucketCors": self.put,
            "DeleteBucketCors": self.delete,
        }

    def get(self, call: S3Call) -> Values:
        values: Values = json.loads(
            self._settings.needed_of_bucket(
                call, SETTING, "NoSuchCORSConfiguration", "the bucket has no CORS configuration"
            )
        )
        return values

    def put(self, call: S3Call) -> Values:
        configuration = call.values["CORSConfiguration"]
        check_rules(configuration.get("CORSRules") or [])
        self._change(call, json.dumps(configuration))
        return {}

    def delete(self, call: S3Call) -> Values:
        self._change(call, None)
        return {}

    def _change(self, call: S3Call, value: str | None) -> None:
        self._settings.put_of_bucket(call, SETTING, value)
        self._known.forget((call.bucket, self._directory.bucket_life(call.bucket)))

    # ------------------------------------------------------------ requests of browsers

    def preflight(self, request: S3Request) -> RawReply:
        """The reply to OPTIONS. S3Error AccessForbidden unless a rule allows the page's request."""
        origin, method = request.get("Origin"), request.get("Access-Control-Request-Method")
        if not origin:
            raise S3Error("BadRequest", "insufficient information: the Origin request header is needed")
        if not method or method not in METHODS:
            raise S3Error("BadRequest", "Access-Control-Request-Method must be one of GET, PUT, POST, DELETE, HEAD")
        asked = _names(request.get("Access-Control-Request-Headers"))
        if len(asked) > MAX_ASKED_HEADERS:
            raise S3Error("BadRequest", f"Access-Control-Request-Headers names more than {MAX_ASKED_HEADERS} headers")
        rules = self._rules(request.bucket)
        rule = matching(rules, origin, method, asked)
        if rule is None:
            why = "no rule allows this origin, method and headers" if rules else "the bucket has no CORS configuration"
            raise S3Error(
                "AccessForbidden",
                f"CORSResponse: {why}",
                Method=method,
                ResourceType="OBJECT" if request.key else "BUCKET",
            )
        headers = _allowed(rule, origin)
        if asked:
            headers.append(("Access-Control-Allow-Headers", ", ".join(asked)))
        if rule.get("MaxAgeSeconds") is not None:
            headers.append(("Access-Control-Max-Age", str(rule["MaxAgeSeconds"])))
        return RawReply(200, [*headers, _VARY, ("Content-Length", "0")], [])

    def headers_for(self, request: S3Request) -> Headers:
        """The CORS headers of any reply to a request with an Origin.

        When the rules cannot be looked up there are none: the page cannot read the reply, but it is sent.
        """
        origin = request.get("Origin")
        if not origin or not request.bucket:
            return []
        try:
            rules = self._rules(request.bucket)
        except Exception:  # noqa: BLE001 - see above
            return []
        rule = matching(rules, origin, request.get("Access-Control-Request-Method") or request.method, [])
        if rule is None:
            return [_VARY] if rules else []
        return [*_allowed(rule, origin), _VARY]

    def _rules(self, bucket: str) -> list[Rule]:
        """A bucket's rules. Empty if it does not exist, so that anonymous callers do not learn which buckets exist."""
        asked = self._monotonic()
        key = (bucket, self._directory.bucket_life(bucket))
        known = self._known.get(key)
        if known is not None:
            return known
        rules: list[Rule] = []
        try:
            value = self._directory.call(BUCKET_CORS, BucketCorsRequest(bucket)).value
            rules = json.loads(value)["CORSRules"] if value is not None else []
        except (NotFound, BadRequest):
            pass
        self._known.set(key, rules, since=asked)
        return rules


# ---------------------------------------------------------------- rules


def check_rules(rules: list[Rule]) -> None:
    """S3Error for rules that S3 would reject."""
    if not 1 <= len(rules) <= MAX_RULES:
        raise S3Error("MalformedXML", f"a CORS configuration must have 1 to {MAX_RULES} rules, not {len(rules)}")
    if len(json.dumps(rules)) > MAX_RULE_BYTES:
        raise S3Error("MalformedXML", f"a CORS configuration may have at most {MAX_RULE_BYTES} bytes")
    for rule in rules:
        for name in ("AllowedMethods", "AllowedOrigins"):
            if not rule.get(name):
                raise S3Error("MalformedXML", f"a CORS rule needs at least one of {name}")
        for method in rule["AllowedMethods"]:
            if method not in METHODS:
                raise S3Error(
                    "InvalidRequest",
                    f"Found unsupported HTTP method in CORS config. Unsupported method is {method[:32]}",
                )
        for name, text in (("AllowedOrigin", "AllowedOrigins"), ("AllowedHeader", "AllowedHeaders")):
            for pattern in rule.get(text) or []:
                if pattern.count("*") > 1:
                    raise S3Error("InvalidRequest", f'{name} "{pattern[:128]}" can not have more than one wildcard.')
        for exposed in rule.get("ExposeHeaders") or []:
            if "*" in exposed:
                raise S3Error(
                    "InvalidRequest",
                    f'ExposeHeader "{exposed[:128]}" contains wildcard. We currently do not support it.',
                )
        if len(rule.get("ID") or "") > 255:
            raise S3Error("InvalidArgument", "a CORS rule's ID may have at most 255 characters")


def matching(rules: list[Rule], origin: str, method: str, headers: list[str]) -> Rule | None:
    """The first rule that allows a request of `method` with `headers` from `origin`."""
    for rule in rules:
        if method in rule["AllowedMethods"] and any(_fits(pattern, origin) for pattern in rule["AllowedOrigins"]):
            allowed = [pattern.lower() for pattern in rule.get("AllowedHeaders") or []]
            if all(any(_fits(pattern, name) for pattern in allowed) for name in headers):
                return rule
    return None


def _fits(pattern: str, text: str) -> bool:
    """Whether `text` matches `pattern`, in which one `*` stands for anything."""
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)


def _allowed(rule: Rule, origin: str) -> Headers:
    headers: Headers = []
    if "*" in rule["AllowedOrigins"]:
        headers.append(("Access-Control-Allow-Origin", "*"))
    else:
        headers += [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true")]
    headers.append(("Access-Control-Allow-Methods", ", ".join(rule["AllowedMethods"])))
    exposed = rule.get("ExposeHeaders")
    if exposed:
        headers.append(("Access-Control-Expose-Headers", ", ".join(exposed)))
    return headers


def _names(header: str | None) -> list[str]:
    return [name.strip().lower() for name in (header or "").split(",") if name.strip()]
