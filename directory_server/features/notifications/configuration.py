"""A bucket's notification configuration: which events, on which paths, go to which targets.

The S3 door explains clients' mistakes; this module checks what the directory relies on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from lockstep_store.wire.codec import decoder
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.targets import target_of_arn


class _Shape(msgspec.Struct, rename="pascal", omit_defaults=True, frozen=True):
    """Base of the setting's shapes: JSON with the names of S3's service description."""


class FilterRule(_Shape, frozen=True):
    """A filter of paths. `name` is prefix or suffix, in any case."""

    name: Annotated[str, Meta(pattern="^(?i:prefix|suffix)$")]
    value: str = ""

    def fits(self, path: str) -> bool:
        return path.startswith(self.value) if self.name.lower() == "prefix" else path.endswith(self.value)


class KeyFilter(_Shape, frozen=True):
    filter_rules: tuple[FilterRule, ...] = ()


class NotificationFilter(_Shape, frozen=True):
    key: KeyFilter = KeyFilter()


class NotificationRule(_Shape, frozen=True):
    """One rule; exactly one of the ARNs."""

    id: str
    events: tuple[str, ...]
    filter: NotificationFilter = NotificationFilter()
    topic_arn: str = ""
    queue_arn: str = ""
    lambda_function_arn: str = ""

    @property
    def arn(self) -> str:
        return self.topic_arn or self.queue_arn or self.lambda_function_arn

    @property
    def target(self) -> str:
        """The name of the target in the ARN."""
        return target_of_arn(self.arn)

    def wants(self, event: str, path: str) -> bool:
        """Whether an event (S3's name without `s3:`) on that path goes to the target."""
        family = event.partition(":")[0]
        if f"s3:{event}" not in self.events and f"s3:{family}:*" not in self.events:
            return False
        return all(rule.fits(path) for rule in self.filter.key.filter_rules)


class NotificationSetting(_Shape, frozen=True):
    topic_configurations: tuple[NotificationRule, ...] = ()
    queue_configurations: tuple[NotificationRule, ...] = ()
    lambda_function_configurations: tuple[NotificationRule, ...] = ()

    def __iter__(self) -> Iterator[NotificationRule]:
        yield from self.topic_configurations
        yield from self.queue_configurations
        yield from self.lambda_function_configurations


_settings = decoder(NotificationSetting)


@lru_cache(maxsize=256)
def read(text: str) -> tuple[NotificationRule, ...]:
    """Return the configurations in a setting. BadRequest when it is not a notification configuration."""
    try:
        return tuple(_settings.decode(text))
    except msgspec.DecodeError as error:
        raise BadRequest(f"invalid notification configuration: {error}") from error
