"""Object lock: retention and legal hold of versions, and a bucket's default retention.

Only the protocol is here. The directory decides whether a version may be deleted or its retention changed, in the
transaction that does it.
"""

from __future__ import annotations

import json

from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.protocol.delete_markers import check_no_marker
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.stored_settings import StoredSettings
from lockstep_store.wire.messages.s3 import LEGAL_HOLD, OBJECT_LOCK, RETENTION

MAX_DAYS = 36_500
MAX_YEARS = 100
_PERIODS = {"Days": MAX_DAYS, "Years": MAX_YEARS}
_EVENT_HOLDS = ("ObjectLockEventHold", "ObjectLockEventHoldDurationDays", "ObjectLockEventHoldDurationYears")
LOCK_MEMBERS = frozenset({"ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus", *_EVENT_HOLDS})


def lock_settings(values: Values) -> dict[str, str]:
    """The settings that a write's x-amz-object-lock- headers request, from the members in LOCK_MEMBERS."""
    _refuse_event_holds(values, _EVENT_HOLDS)
    mode, until = values.get("ObjectLockMode"), values.get("ObjectLockRetainUntilDate")
    if (mode is None) != (until is None):
        raise S3Error(
            "InvalidArgument",
            "x-amz-object-lock-mode and x-amz-object-lock-retain-until-date must be sent together",
            ArgumentName="x-amz-object-lock-mode" if mode is None else "x-amz-object-lock-retain-until-date",
        )
    settings = {}
    if mode is not None:
        settings[RETENTION] = json.dumps({"Mode": mode, "RetainUntilDate": until})
    if "ObjectLockLegalHoldStatus" in values:
        settings[LEGAL_HOLD] = json.dumps({"Status": values["ObjectLockLegalHoldStatus"]})
    return settings


def lock_members(settings: dict[str, str]) -> Values:
    """The members by which a read describes a version's lock."""
    values: Values = {}
    if RETENTION in settings:
        retention = json.loads(settings[RETENTION])
        values["ObjectLockMode"] = retention["Mode"]
        values["ObjectLockRetainUntilDate"] = retention["RetainUntilDate"]
    if LEGAL_HOLD in settings:
        values["ObjectLockLegalHoldStatus"] = json.loads(settings[LEGAL_HOLD])["Status"]
    return values


class ObjectLockHandlers:
    """A bucket's lock configuration, a version's retention and legal hold."""

    def __init__(self, settings: StoredSettings) -> None:
        self._settings = settings

    def handlers(self) -> Handlers:
        return {
            "PutObjectLockConfiguration": self.put_configuration,
            "GetObjectLockConfiguration": self.configuration,
            "PutObjectRetention": self.put_retention,
            "GetObjectRetention": self.retention,
            "PutObjectLegalHold": self.put_legal_hold,
            "GetObjectLegalHold": self.legal_hold,
        }

    # ------------------------------------------------------------ buckets

    def put_configuration(self, call: S3Call) -> Values:
        """Store the configuration. This also turns on object lock, which nothing turns off, if versions are kept."""
        wanted = _sent(call, "ObjectLockConfiguration")
        if wanted.get("ObjectLockEnabled") != "Enabled":
            raise S3Error("MalformedXML", "ObjectLockEnabled must be Enabled")
        if "Rule" in wanted:
            _check_rule(wanted["Rule"])
        self._settings.put_of_bucket(call, OBJECT_LOCK, json.dumps(wanted))
        return {}

    def configuration(self, call: S3Call) -> Values:
        value = self._settings.needed_of_bucket(
            call, OBJECT_LOCK, "ObjectLockConfigurationNotFoundError", "the bucket has no object lock"
        )
        return {"ObjectLockConfiguration": json.loads(value)}

    # ------------------------------------------------------------ versions

    def put_retention(self, call: S3Call) -> Values:
        """Change the retention. An empty one removes it, where that is allowed."""
        wanted = _sent(call, "Retention")
        _refuse_event_holds(wanted, ("EventHold", "EventHoldDuration"))
        if ("Mode" in wanted) != ("RetainUntilDate" in wanted):
            raise S3Error("MalformedXML", "Mode and RetainUntilDate must be sent together")
        self._put(call, RETENTION, json.dumps(wanted) if wanted else None)
        return {}

    def retention(self, call: S3Call) -> Values:
        return {"Retention": self._of_version(call, RETENTION)}

    def put_legal_hold(self, call: S3Call) -> Values:
        wanted = _sent(call, "LegalHold")
        if "Status" not in wanted:
            raise S3Error("MalformedXML", "the Status must be ON or OFF")
        self._put(call, LEGAL_HOLD, json.dumps(wanted))
        return {}

    def legal_hold(self, call: S3Call) -> Values:
        return {"LegalHold": self._of_version(call, LEGAL_HOLD)}

    def _put(self, call: S3Call, name: str, value: str | None) -> None:
        bypass = bool(call.get("BypassGovernanceRetention"))
        self._settings.put_of_version(call, name, value, bypass_governance=bypass)

    def _of_version(self, call: S3Call, name: str) -> Values:
        reply = self._settings.of_version(call)
        check_no_marker(call.key, reply.version, "retention or legal hold")
        if name not in reply.settings:
            if self._settings.of_bucket(call, OBJECT_LOCK) is None:
                raise S3Error("InvalidRequest", "the bucket has no object lock configuration")
            raise S3Error("NoSuchObjectLockConfiguration", f"the version has no {name}", Key=call.key)
        found: Values = json.loads(reply.settings[name])
        return found


def _sent(call: S3Call, member: str) -> Values:
    """The body, which the description calls optional, but every operation here needs."""
    wanted: Values | None = call.get(member)
    if wanted is None:
        raise S3Error("MissingRequestBodyError", f"{call.operation.name} needs an XML body")
    return wanted


def _refuse_event_holds(values: Values, names: tuple[str, ...]) -> None:
    if any(name in values for name in names):
        raise S3Error("NotImplemented", "event holds are not supported; use a legal hold")


def _check_rule(rule: Values) -> None:
    default = rule.get("DefaultRetention") or {}
    _refuse_event_holds(default, ("DefaultEventHold",))
    periods = [name for name in _PERIODS if name in default]
    if "Mode" not in default or len(periods) != 1:
        raise S3Error("MalformedXML", "DefaultRetention needs a Mode, and either Days or Years")
    period = periods[0]
    if not 1 <= default[period] <= _PERIODS[period]:
        what = f"{period} is {default[period]}: it must be 1 to {_PERIODS[period]}"
        raise S3Error("InvalidRetentionPeriod" if default[period] < 1 else "InvalidArgument", what)
