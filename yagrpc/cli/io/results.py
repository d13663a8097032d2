"""Printing results: answers, operations, and the result that an operation is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yagrpc.cli.io.output import print_json, print_text, say, waiting
from yagrpc.cli.io.render import operation_json
from yagrpc.errors import OperationError

if TYPE_CHECKING:
    from yagrpc import Operation
    from yagrpc.results import Completion

__all__ = ["note_status", "print_answer", "print_operation", "wait_and_print"]


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
    if as_json:
        print_operation(operation)
    else:
        print_answer(result if isinstance(result, Completion) else Completion(result))


def print_operation(operation: Operation[Any]) -> None:
    """Print an operation as JSON.

    Raises:
        OSError: stdout can't be written, or is closed.
    """
    print_json(operation_json(operation.proto))


def print_answer(answer: Completion) -> None:
    """Print the text of an answer, and a note on stderr if the text is not the whole answer.

    Raises:
        OSError: stdout can't be written, or is closed.
    """
    print_text(answer.text)
    note_status(answer)


def note_status(answer: Completion) -> None:
    """Write a note to stderr if the text of an answer is not the whole answer."""
    from yagrpc.results import CompletionStatus

    notes = {
        CompletionStatus.TRUNCATED_FINAL: "the answer was cut off at its limit of tokens",
        CompletionStatus.CONTENT_FILTER: "the service's content filter stopped the answer",
        CompletionStatus.TOOL_CALLS: "the answer is tool calls, not text; --json prints them",
    }
    for status, note in notes.items():
        if answer.status == status:
            say(f"yagrpc: note: {note}")
