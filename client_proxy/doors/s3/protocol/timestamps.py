"""Times as S3 writes and reads them; in Lockstep a time is seconds since 1970."""

from __future__ import annotations

import calendar
import re
import time
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

from client_proxy.doors.s3.protocol.description import TimeFormat

_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):?(\d\d))")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")

ISO_FRACTIONS = [f".{number:03d}Z" for number in range(1000)]
"""What follows a second in ISO 8601, by its milliseconds."""


def write_time(seconds: float, form: TimeFormat) -> str:
    """Format a time: `2026-01-31T12:00:00.000Z`, `Sat, 31 Jan 2026 12:00:00 GMT`, or plain seconds."""
    if form == "rfc822":
        return _http_second(int(seconds))
    if form == "unixTimestamp":
        return str(int(seconds))
    whole = int(seconds // 1)
    return iso_second(whole) + ISO_FRACTIONS[int((seconds - whole) * 1000)]


@lru_cache(maxsize=4096)
def iso_second(whole: int) -> str:
    """Format a whole second, without its zone. Cached, because many lines of a listing share a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


@lru_cache(maxsize=4096)
def _http_second(whole: int) -> str:
    """Format a whole second as HTTP does. Cached, because what is read is often read again."""
    return formatdate(whole, usegmt=True)


@lru_cache(maxsize=256)
def read_amz_date(text: str) -> int:
    """Parse the form that signatures use, `20260131T120000Z`; ValueError for any other. Every request has one."""
    return calendar.timegm(time.strptime(text, "%Y%m%dT%H%M%SZ"))


def read_time(text: str) -> float:
    """Parse a time in any form that `write_time` writes; ValueError for any other."""
    text = text.strip()
    found = _ISO.fullmatch(text)
    if found:
        year, month, day, hour, minute, second = (int(found[i]) for i in range(1, 7))
        datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)  # rejects impossible dates
        seconds = float(calendar.timegm((year, month, day, hour, minute, second)))
        if found[7]:
            seconds += float(f"0.{found[7]}")
        if found[8]:
            shift = int(found[9]) * 3600 + int(found[10]) * 60
            seconds += -shift if found[8] == "+" else shift
        return seconds
    if _ISO_DATE.fullmatch(text):
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    if text.isascii() and text.isdecimal() and len(text) <= 11:
        return float(text)
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"{text[:64]!r} is not a time") from error
