"""How a command reports a failure: one line a problem on stderr, and an exit code."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NoReturn

import click

from yagrpc.cli.io.output import is_terminal, note, settled
from yagrpc.cli.io.wording import in_options
from yagrpc.errors import (
    ConfigError,
    DeadlineExceededError,
    JournalError,
    OperationTimeoutError,
    QuotaWaitError,
    RequestError,
    SubmitTimeoutError,
    YagrpcError,
)
from yagrpc.foreign import cleaned
from yagrpc.hiding import without_secrets

__all__ = [
    "EXIT_CODES",
    "FAILED",
    "INTERRUPTED",
    "TIMED_OUT",
    "USAGE",
    "InterruptedByUser",
    "ProblemsError",
    "interrupted_by_signals",
    "report",
    "reporting_ids",
    "still_running",
]

FAILED: Final = 1
USAGE: Final = 2
TIMED_OUT: Final = 3
INTERRUPTED: Final = 130
"""128 + the number of SIGINT, as shells report it."""


ENDING: Final = ("SIGTERM", "SIGHUP")
"""The signals that end a program as Ctrl-C does: a service manager or a time limit sends one, a terminal that closes
the other."""


class InterruptedByUser(Exception):
    """Ctrl-C, with a message that says what it means for the request."""


class ProblemsError(click.ClickException):
    """Several problems, each with a line of its own.

    Args:
        problems: The lines.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class OutputLostError(Exception):
    """The output could not be written; the message has the operation's id, which the output would have shown."""


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
"""The exit code of each exception: the first class that fits. Any other exception is a bug, and has its traceback."""


def report(error: BaseException) -> int:
    """Write to stderr why the command failed: one line, or one for each of several problems.

    A stderr that can't be written changes nothing else.

    Args:
        error: What the command raised.

    Returns:
        The exit code.

    Raises:
        BaseException: The error itself, if it is a bug: an error that `EXIT_CODES` does not have.
    """
    code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), None)
    if code is None:
        raise error
    if code == INTERRUPTED and is_terminal(sys.stderr):
        note("")  # the terminal has written ^C
    for message in _messages(error):
        note(f"yagrpc: {without_secrets(cleaned(message))}")
    if isinstance(error, (OSError, OutputLostError)):
        settled(sys.stdout)
    return code


def _messages(error: BaseException) -> Iterator[str]:
    if isinstance(error, ProblemsError):
        yield from error.problems
        return
    yield _message(error)
    if isinstance(error, JournalError):  # nothing else keeps the ids
        for operation_id in error.operation_ids:
            yield f"not in the journal: operation {operation_id}"


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[Sequence[int]]:
    """In the block, the signals of `ENDING` interrupt as Ctrl-C does, so that an operation's id is not lost with them.

    A signal that is ignored, as `nohup` does it, or that has a handler, is left alone.

    Returns:
        The signals that have come.
    """
    came: list[int] = []

    def interrupt(number: int, frame: object) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # Python sets handlers in the main thread only
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number in taken:
            if signal.getsignal(number) is interrupt:
                signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def reporting_ids(operation_ids: Collection[str]) -> Iterator[None]:
    """Report operations' ids if the block is interrupted or can't write its output: nothing else keeps the ids.

    Args:
        operation_ids: The ids of operations that the service has accepted; the block may remove those that it has
            printed.

    Raises:
        InterruptedByUser: Ctrl-C was pressed in the block.
        OutputLostError: The block could not write its output.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedByUser(f"interrupted; {still_running(operation_ids)}") from None
    except YagrpcError:
        raise  # some are also OSError, and have the id in their own message
    except OSError as error:
        raise OutputLostError(f"the output of {_named(operation_ids)} could not be written: {error}") from error


def still_running(operation_ids: Collection[str]) -> str:
    """What a message says of operations whose results are not printed: that they run, and how to get the results."""
    which, ids = _named(operation_ids), " ".join(operation_ids)
    remedy = "are still running; get their results" if len(operation_ids) > 1 else "is still running; get its result"
    return f"{which} {remedy} with: yagrpc operation wait {ids}"


def _named(operation_ids: Collection[str]) -> str:
    return f"operation{'s' if len(operation_ids) > 1 else ''} {', '.join(operation_ids)}"


def _message(error: BaseException) -> str:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.format_message().rstrip('.')} (see '{error.ctx.command_path} --help')"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return "interrupted"
    return in_options(str(error)) if isinstance(error, YagrpcError) else str(error)
