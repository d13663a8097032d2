"""How a command fails: the exit code and the one line on stderr of every failure."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Final

import click

from yagrpc.errors import (
    ConfigError,
    DeadlineExceededError,
    OperationTimeoutError,
    QuotaWaitError,
    RequestError,
    SubmitTimeoutError,
    YagrpcError,
)

__all__ = ["EXIT_CODES", "FAILED", "INTERRUPTED", "TIMED_OUT", "USAGE", "about", "report", "submitting"]

FAILED: Final = 1
USAGE: Final = 2
TIMED_OUT: Final = 3
INTERRUPTED: Final = 130
"""128 and the number of SIGINT, as shells have it."""


class InterruptedByUser(Exception):
    """Ctrl-C, with what the user should know."""


class OutputLostError(Exception):
    """The output could not be written, with what it would have told."""


EXIT_CODES: Final[Mapping[type[BaseException], int]] = {
    OperationTimeoutError: TIMED_OUT,
    DeadlineExceededError: TIMED_OUT,
    SubmitTimeoutError: TIMED_OUT,
    QuotaWaitError: TIMED_OUT,
    ConfigError: USAGE,
    RequestError: USAGE,
    click.ClickException: USAGE,
    InterruptedByUser: INTERRUPTED,
    KeyboardInterrupt: INTERRUPTED,
    click.Abort: INTERRUPTED,
    YagrpcError: FAILED,
    OutputLostError: FAILED,
    OSError: FAILED,
}
"""The exit code of each exception; of several that fit, the first holds. All others are bugs, and show as such."""


def report(error: BaseException) -> int:
    """Say on stderr, in one line, how the command failed.

    Returns:
        The exit code.

    Raises:
        BaseException: The error itself, where it is none that a command may fail with.
    """
    code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), None)
    if code is None:
        raise error
    if code == INTERRUPTED and sys.stderr is not None and sys.stderr.isatty():
        click.echo(err=True)  # the terminal has written ^C
    click.echo(f"yagrpc: {' '.join(_message(error).split())}", err=True)
    if isinstance(error, (OSError, OutputLostError)):
        _forget_output()
    return code


@contextlib.contextmanager
def about(operation_id: str) -> Iterator[None]:
    """Make sure that the id is told if what follows is interrupted, or can't be written: nothing else keeps it."""
    try:
        yield
    except KeyboardInterrupt:
        remedy = f"operation {operation_id} is still running; get its result with: yagrpc operation wait {operation_id}"
        raise InterruptedByUser(f"interrupted; {remedy}") from None
    except YagrpcError:
        raise  # some are also OSError, and they tell the id themselves
    except OSError as error:
        raise OutputLostError(f"the output of operation {operation_id} could not be written: {error}") from error


@contextlib.contextmanager
def submitting() -> Iterator[None]:
    """Say what an interrupt means while a submit is on its way."""
    try:
        yield
    except KeyboardInterrupt:
        text = "interrupted; the submit may or may not have been accepted, and sending it again may be billed twice"
        raise InterruptedByUser(text) from None


def _message(error: BaseException) -> str:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.format_message().rstrip('.')} (see '{error.ctx.command_path} --help')"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OperationTimeoutError) and error.__cause__ is not None:
        return f"{error}; the last look at it failed: {error.__cause__}"
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return "interrupted"
    return str(error)


def _forget_output() -> None:
    """Drop what can't be written, so that the interpreter does not try it again, and complain, when it ends."""
    if sys.stdout is None:  # that is how Python starts where stdout is closed
        return
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
