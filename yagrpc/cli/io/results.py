"""Printing results: answers, operations, and the result that an operation is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from yagrpc.cli.io.output import print_json, print_text, waiting
from yagrpc.cli.io.render import operation_json
from yagrpc.errors import IncompleteCompletionError, OperationError

if TYPE_CHECKING:
    from yagrpc import Operation
    from yagrpc.results import Completion

__all__ = ["check_answer", "print_answer", "print_operation", "wait_and_print"]


def wait_and_print(operation: Operation[Any], timeout: float | None, *, as_json: bool) -> None:
    """Wait for an operation of a text completion, and print its text or, as JSON, the whole operation.

    As JSON, the operation is also printed if it failed, before the error is raised; a result that is not a completion
    is then no error.

    Args:
        operation: The operation.
        timeout: Seconds to wait; 0 polls once, `None` is no limit.
        as_json: Whether to print JSON.

    Raises:
        OperationError: The operation failed or was cancelled, or is not done in time.
        IncompleteCompletionError: The model did not finish the answer, which is printed.
        OSError: stdout can't be written, or is closed.
    """
    from yagrpc import methods
    from yagrpc.results import Completion

    # Loaded before the wait: an interrupt in the middle of an import leaves warnings behind.
    _ = methods.OperationService.Get.request_type
    try:
        with waiting(f"waiting for operation {operation.id}"):
            result = operation.result(timeout)
    except OperationError:
        if as_json and operation.proto.done:
            print_operation(operation)
            if operation.proto.HasField("response"):
                return
        raise
    answer = result if isinstance(result, Completion) else Completion(result)
    try:
        if as_json:
            print_operation(operation)
            check_answer(answer, as_json=True)
        else:
            print_answer(answer)
    except IncompleteCompletionError as error:
        error.with_context(operation_id=operation.id)
        raise


def print_operation(operation: Operation[Any]) -> None:
    """Print an operation as JSON.

    Raises:
        OSError: stdout can't be written, or is closed.
    """
    print_json(operation_json(operation.proto))


def print_answer(answer: Completion) -> None:
    """Print the text of an answer, whole or not.

    Raises:
        IncompleteCompletionError: The model did not finish the answer.
        OSError: stdout can't be written, or is closed.
    """
    print_text(answer.text)
    check_answer(answer, as_json=False)


def check_answer(answer: Completion, *, as_json: bool) -> None:
    """Check an answer that was printed; an answer of tool calls is noted on stderr where they were not printed.

    Args:
        answer: The answer.
        as_json: Whether it was printed as JSON.

    Raises:
        IncompleteCompletionError: The model did not finish the answer: it is no success, and has its exit code.
    """
    from yagrpc.results import CompletionStatus, check_finished

    if answer.status == CompletionStatus.TOOL_CALLS and not as_json:
        click.echo("yagrpc: note: the answer is tool calls, not text; --json prints them", err=True)
    check_finished(answer)
