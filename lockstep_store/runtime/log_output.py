"""Where and how a program logs: standard error or a file of bounded size, as lines of text or of JSON.

A program whose standard error is the log file itself, as under a supervisor, moves it along when it begins a new file.
So everything that the program prints is in the current file, and old files are not written any more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Literal

import click

from lockstep_store.runtime import tracing
from lockstep_store.runtime.options import Size
from lockstep_store.runtime.tracing import DIGEST, log, request_id

LogFormat = Literal["text", "json"]
DEFAULT_BYTES = 16 * 1024 * 1024
DEFAULT_KEPT = 3
MIN_BYTES = 4096


@dataclass(frozen=True)
class LogSettings:
    """How a program logs. Without a `file`: to standard error. `kept`: how many full files remain beside it."""

    level: str = "info"
    format: LogFormat = "text"
    file: Path | None = None
    bytes: int = DEFAULT_BYTES
    kept: int = DEFAULT_KEPT


DEFAULT_LOG = LogSettings()


def log_options(prefix: str) -> Callable[[Any], Any]:
    """Return a decorator with the options of logs; `prefix`, such as LOCKSTEP_PROXY_, begins their variables."""
    options = (
        click.option(
            "--log-level",
            default="info",
            type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
            help="Lowest level of log messages.",
            envvar=f"{prefix}LOG_LEVEL",
            show_envvar=True,
            show_default=True,
        ),
        click.option(
            "--log-format",
            default="text",
            type=click.Choice(["text", "json"]),
            help="One line of text for each message, or one JSON object.",
            envvar=f"{prefix}LOG_FORMAT",
            show_envvar=True,
            show_default=True,
        ),
        click.option(
            "--log-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File for log messages.",
            envvar=f"{prefix}LOG_FILE",
            show_envvar=True,
            show_default="standard error",
        ),
        click.option(
            "--log-bytes",
            default="16MiB",
            type=Size(MIN_BYTES),
            help="With --log-file: size at which a new file begins.",
            envvar=f"{prefix}LOG_BYTES",
            show_envvar=True,
            show_default=True,
        ),
        click.option(
            "--log-kept",
            default=DEFAULT_KEPT,
            type=click.IntRange(1, 1000),
            help="With --log-file: how many full files are kept, as FILE.1, FILE.2 and so on.",
            envvar=f"{prefix}LOG_KEPT",
            show_envvar=True,
            show_default=True,
        ),
    )

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def log_settings(options: dict[str, Any]) -> LogSettings:
    """Take the options of `log_options` out of `options`, and return them."""
    return LogSettings(
        level=options.pop("log_level"),
        format=options.pop("log_format"),
        file=options.pop("log_file"),
        bytes=options.pop("log_bytes"),
        kept=options.pop("log_kept"),
    )


class _Lines(logging.Formatter):
    """Formats log lines; with `hide` set, no line or traceback shows a digest."""

    hide: Callable[[str], str] | None = None

    def __init__(self, program: str, id: str) -> None:
        super().__init__(
            f"%(asctime)s.%(msecs)03d %(levelname)s {program}-{id} [%(request_id)s] %(message)s",
            datefmt="%Y-%m-%dT%H:%M:%S",
        )
        self.program, self.id = program, id

    def format(self, record: logging.LogRecord) -> str:
        line, hide = self.line(record), self.hide
        return line if hide is None else DIGEST.sub(lambda found: hide(found[0]), line)

    def line(self, record: logging.LogRecord) -> str:
        record.request_id = request_id() or "-"
        return super().format(record)


class _JsonLines(_Lines):
    """Formats each message as one JSON object on one line."""

    def line(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "program": self.program,
            "id": self.id,
            "request_id": request_id(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps({name: value for name, value in fields.items() if value}, ensure_ascii=False)


class RotatingLog(RotatingFileHandler):
    """A log file that begins anew at `settings.bytes`. Only its owner may read it.

    Raises OSError if the file cannot be opened. A message that cannot be written later is lost: the disk is full, and
    a traceback for each would not help.
    """

    def __init__(self, file: Path, settings: LogSettings) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(file, maxBytes=settings.bytes, backupCount=settings.kept, encoding="utf-8")

    def _open(self) -> Any:
        return open(
            self.baseFilename,
            self.mode,
            encoding=self.encoding,
            opener=lambda name, flags: os.open(name, flags, 0o600),
        )

    def doRollover(self) -> None:
        captured = [output for output in (1, 2) if self.is_output(output)]
        super().doRollover()
        stream = self.stream or self._open()
        self.stream = stream
        for output in captured:
            os.dup2(stream.fileno(), output)

    def is_output(self, output: int) -> bool:
        """Whether standard output (1) or standard error (2) is this file."""
        with contextlib.suppress(OSError):
            return self.stream is not None and os.path.sameopenfile(output, self.stream.fileno())
        return False

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def setup_logging(program: str, id: str, settings: LogSettings = DEFAULT_LOG) -> None:
    """Log each event as one line: time, level, program, request id, message. OSError if the file cannot be opened."""
    tracing.program = (program, id)
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if settings.file is not None:
        handler = RotatingLog(settings.file, settings)
    handler.setFormatter((_JsonLines if settings.format == "json" else _Lines)(program, id))
    for before in log.handlers:
        before.close()
    log.handlers[:] = [handler]
    log.setLevel(settings.level.upper())
    log.propagate = False


def hide_digests(hide: Callable[[str], str]) -> None:
    """From now on, replace each digest (64 hexadecimal digits) in the log by what `hide` returns for it.

    For a program whose disk must not show which content it has: its log may be on that disk. Call `setup_logging`
    first.
    """
    for handler in log.handlers:
        if isinstance(handler.formatter, _Lines):
            handler.formatter.hide = hide


def say_last(sentence: str) -> None:
    """Say why the program ends: on standard error, and in its log if that is elsewhere or in JSON."""
    handler = next((one for one in log.handlers if isinstance(one.formatter, _Lines)), None)
    in_json = handler is not None and isinstance(handler.formatter, _JsonLines)
    in_file = isinstance(handler, RotatingLog)
    on_error = not in_file or (isinstance(handler, RotatingLog) and handler.is_output(2))
    if in_json or not on_error:
        log.critical("%s", sentence)
    if not (in_json and on_error):
        click.echo(sentence, err=True)
