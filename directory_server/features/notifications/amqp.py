"""Sends messages to an AMQP 0-9-1 broker: persistent, mandatory, each confirmed.

A message that no queue takes counts as not delivered; otherwise the broker would drop it unnoticed.
"""

from __future__ import annotations

import logging
import ssl
import time
from contextlib import suppress
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorPhaseErrorBase,
    AMQPConnectorStackTimeout,
)
from pika.channel import Channel
from pika.exceptions import (
    AMQPConnectionError,
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from directory_server.features.notifications.addresses import AmqpAddress, Destination
from directory_server.features.notifications.sending import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    NotDelivered,
    Outgoing,
    is_permanent,
)
from lockstep_store.runtime.tls.trusted_cas import tls_context

_HEARTBEAT_SECONDS = 20
_KEPT_SECONDS = 10.0
"""A connection that was idle for longer may have missed heartbeats, so a new one is opened."""
_CLOSING_SECONDS = 2.0

# Failures are raised and shown to operators; the library would also write each to standard error.
logging.getLogger("pika").setLevel(logging.CRITICAL)

_REFUSED = (ProbableAccessDeniedError, AuthenticationError, ProbableAuthenticationError)
_REFUSED_CODES = frozenset({403, 404, 530})
"""AMQP 0-9-1's access-refused, not-found and not-allowed."""


class AmqpPublisher:
    """A broker's connection. For one thread; see `Sender`.

    The library's blocking connection waits for a confirmation without a time limit, so this class runs the event loop
    itself, each time until something happens or the time is up.
    """

    def __init__(self, destination: Destination, address: AmqpAddress) -> None:
        self._address = address
        tls = pika.SSLOptions(tls_context(destination.ca_pem), address.host) if address.tls else None
        self._parameters = pika.ConnectionParameters(
            host=address.host,
            port=address.port,
            virtual_host=address.virtual_host,
            credentials=pika.PlainCredentials(address.user, address.password),
            ssl_options=tls,
            heartbeat=_HEARTBEAT_SECONDS,
            socket_timeout=CONNECT_SECONDS,
            stack_timeout=ANSWER_SECONDS,
            blocked_connection_timeout=ANSWER_SECONDS,
            client_properties={"product": "Lockstep"},
        )
        self._link: _Link | None = None

    def send(self, message: Outgoing) -> None:
        try:
            if self._link is not None and not self._link.is_fresh:
                self.rest()
            if self._link is None:
                self._link = _Link(self._parameters)
            self._link.publish(self._address.exchange, self._address.routing_key, message)
        except (AMQPError, OSError) as error:
            self.rest()
            raise _not_delivered(error) from error
        except NotDelivered:
            self.rest()
            raise

    def rest(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


class _Link:
    """One connection with a confirming channel. Raises NotDelivered for every failure."""

    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        self._used = time.monotonic()
        self._loop = IOLoop()
        self._happened = False
        self._failure: NotDelivered | None = None
        self._returned = ""
        self._channel: Channel | None = None
        self._connection: pika.SelectConnection | None = None
        try:
            # The library itself gives up after the parameters' stack time-out, and closes what it opened.
            pika.SelectConnection.create_connection([parameters], self._connected, self._loop)
            self._wait(ANSWER_SECONDS + _CLOSING_SECONDS, "the broker did not accept the connection")
            assert self._connection is not None
            self._channel = self._connection.channel(on_open_callback=lambda _: self._note())
            self._channel.add_on_close_callback(lambda _, error: self._fail(error))
            self._channel.add_on_return_callback(lambda _channel, method, _properties, _body: self._give_back(method))
            self._wait(ANSWER_SECONDS, "the broker did not open a channel")
            self._channel.confirm_delivery(self._confirm, callback=lambda _: self._note())
            self._wait(ANSWER_SECONDS, "the broker does not confirm messages")
        except BaseException:
            self.close()
            raise

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self._used < _KEPT_SECONDS

    def publish(self, exchange: str, routing_key: str, message: Outgoing) -> None:
        """Return when the broker has stored the message."""
        assert self._channel is not None
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=pika.DeliveryMode.Persistent.value,
            message_id=message.id,
            app_id="lockstep",
        )
        self._returned = ""
        self._channel.basic_publish(exchange, routing_key, message.body, properties, mandatory=True)
        self._wait(ANSWER_SECONDS, "the broker did not confirm the message")
        if self._returned:
            raise NotDelivered(
                f"the broker has no queue for the message ({self._returned}): bind one to that exchange and routing key"
            )
        self._used = time.monotonic()

    def close(self) -> None:
        connection, until = self._connection, time.monotonic() + _CLOSING_SECONDS
        if connection is not None and connection.is_open:
            with suppress(AMQPError):
                connection.close()
        # Close the channel first and the socket last, so that nothing is left behind.
        while connection is not None and not connection.is_closed and time.monotonic() < until:
            self._failure, self._happened = None, False
            with suppress(AMQPError, OSError, NotDelivered):
                self._wait(until - time.monotonic(), "")
        self._loop.close()

    def _wait(self, seconds: float, overdue: str) -> None:
        """Run the loop until `_note` or `_fail` is called; NotDelivered when neither is."""
        timer = self._loop.call_later(seconds, self._loop.stop)
        if not self._happened and self._failure is None:
            self._loop.start()
        self._loop.remove_timeout(timer)
        happened, self._happened = self._happened, False
        if self._failure is not None:
            raise self._failure
        if not happened:
            raise NotDelivered(f"{overdue} within {seconds:.0f} seconds")

    def _connected(self, result: Any) -> None:
        if isinstance(result, BaseException):
            self._fail(result)
        else:
            self._connection = result
            result.add_on_close_callback(lambda _, error: self._fail(error))
            self._note()

    def _note(self) -> None:
        self._happened = True
        self._loop.stop()

    def _fail(self, error: BaseException) -> None:
        # Keep the first failure: that the connection is closed then only follows from it.
        self._failure = self._failure or (error if isinstance(error, NotDelivered) else _not_delivered(error))
        self._loop.stop()

    def _give_back(self, method: Any) -> None:
        self._returned = f"{method.reply_code} {method.reply_text}"

    def _confirm(self, frame: Any) -> None:
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self._fail(NotDelivered("the broker did not accept the message"))
        else:
            self._note()


def _cause(error: BaseException) -> BaseException:
    """Return the root cause in the library's report of a failed connection."""
    if isinstance(error, AMQPConnectionWorkflowFailed) and error.exceptions:
        return _cause(error.exceptions[-1])
    if isinstance(error, AMQPConnectorPhaseErrorBase):
        return _cause(error.exception)
    if isinstance(error, AMQPConnectorStackTimeout):
        return NotDelivered(f"the broker did not accept the connection within {ANSWER_SECONDS:.0f} seconds")
    if isinstance(error, AMQPConnectionError) and error.args and isinstance(error.args[0], BaseException):
        return _cause(error.args[0])
    return error


def _not_delivered(failure: BaseException) -> NotDelivered:
    """Return why a message was not delivered, and whether the target must be changed before it can be."""
    error = _cause(failure)
    if isinstance(error, NotDelivered):
        return error
    if isinstance(error, (ChannelClosedByBroker, ConnectionClosedByBroker)):
        permanent = error.reply_code in _REFUSED_CODES
    else:
        permanent = is_permanent(error) or isinstance(error, _REFUSED)
    return NotDelivered(_reason(error), permanent=permanent)


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError):
        return f"cannot connect to the broker ({error.strerror or error})"
    if isinstance(error, ProbableAccessDeniedError):
        return "the broker does not allow this user in the virtual host"
    if isinstance(error, (AuthenticationError, ProbableAuthenticationError)):
        return "the broker refused the user or the password"
    if isinstance(error, (ChannelClosedByBroker, ConnectionClosedByBroker)):
        return f"the broker refused the message ({error.reply_code} {error.reply_text})"
    return f"cannot connect to the broker ({type(error).__name__}{f': {error}' if str(error) else ''})"
